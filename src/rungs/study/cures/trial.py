"""Try the cures of a run: climb a ladder of the unchanged run and each cure, with several seeds.

from rungs.study.cures.trial import try_cures

if __name__ == "__main__":  # its worker processes import this file
    print(try_cures("runs/mine", seeds=3).record)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli_w
from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe import shorten
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door
from rungs.recipe.own import Own, called
from rungs.recipe.shorten import digest
from rungs.recipe.spec import Recipe
from rungs.run.folder import write_whole
from rungs.run.record import RunRecord
from rungs.study.cures.diagnosis import Cures, Diagnosis, cures, diagnose
from rungs.study.cures.options import CureOptions
from rungs.study.ladder import climb
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.ladder.spec import Ladder, Rung

BASE = "as-it-was"
"""The rung of the run's own recipe."""

BASE_FILE, LADDER = "base.toml", "cures.toml"
"""The files of a run's own recipe and of the ladder, which can be climbed by hand as well."""

ASKED = "the recipe asks for it"
"""The reason that a record gives for a setting fixed by the recipe."""

SEEDS = 3
"""By default; fewer pairs cannot separate a gain from chance."""


@dataclass(frozen=True)
class Tried:
    """What the cures of a run gained."""

    record: LadderRecord
    folder: LadderDir
    cures: Cures


@dataclass(frozen=True)
class CureClimb:
    """The climb of cures, and the recipe that its ladder names as its base."""

    base: Recipe
    plan: ClimbPlan


@dataclass(frozen=True)
class CurePlan:
    """The plan of trying cures: those wanted, and their climb; None where none can be tried."""

    cures: Cures
    climb: CureClimb | None


def prepare(options: CureOptions) -> CurePlan:
    """Diagnose a run and plan the climb of its cures in RUN-cures; nothing is written.

    Raises:
        UserError: No such run or finding, or anything that a climb refuses.
    """
    run = Path(options.run)
    found = diagnose(run)
    every, chosen = cures(found), cures(found, options.only)
    if not chosen.to_try:
        return CurePlan(chosen, None)
    base = base_recipe(found.record)
    if isinstance(base.model, Own):
        what = f"this run's net is your own code, {called(base.model)}, which the record does not contain"
        raise UserError(what, where=run, do="climb a ladder of your own, whose base recipe names the file")
    folder = _folder(run, recipes.choose(base, data=options.data), base, options.epochs, options.images)
    asked = ClimbOptions(
        folder / LADDER,
        data=options.data,
        seeds=SEEDS if options.seeds is None else options.seeds,
        only=(BASE, *chosen.to_try) if options.only else (),
        epochs=options.epochs,
        images=options.images,
        jobs=options.jobs,
        folder=folder,
        tell=options.tell,
    )
    return CurePlan(chosen, CureClimb(base, climb.plan_of(asked, _ladder(found, every), base)))


def run(plan: CurePlan) -> Tried | Cures:
    """Write the ladder of a run's cures and climb it; where none can be tried, return the cures and why."""
    if plan.climb is None:
        return plan.cures
    base, climbed = plan.climb.base, plan.climb.plan
    folder = climbed.folder
    write_whole(folder.path / BASE_FILE, recipes.to_toml(base).encode())
    write_whole(folder.path / LADDER, tomli_w.dumps(_plain(climbed.ladder)).encode())
    return Tried(climb.run(climbed), folder, plan.cures)


try_cures = door("try_cures", CureOptions, prepare, run)


def base_recipe(record: RunRecord) -> Recipe:
    """Return the recipe of a run as a ladder's base: what the machine chose is "auto" again, the test set closed."""
    recipe, machine = record.recipe, record.environment
    training = replace(
        recipe.training,
        precision=recipe.training.precision if machine.precision_reason == ASKED else "auto",
        compile=recipe.training.compile if machine.compile_reason == ASKED else "auto",
        convolution="direct" if recipe.training.convolution == "direct" else "auto",
    )
    data = replace(recipe.data, folds=None, fold=None)  # cures are compared on validation, with several seeds
    return replace(shorten.closed(recipe), data=data, training=training, claims=())


def _folder(run: Path, asked: Recipe, base: Recipe, epochs: int | None, images: float | None) -> Path:
    """Return RUN-cures, plus a digest if the study differs from the run's own."""
    name = run.name or run.resolve().name
    other = epochs is not None or images is not None or asked != base
    return run.resolve().parent / f"{name}-cures{f'-{digest(asked, epochs, images)}' if other else ''}"


def _ladder(found: Diagnosis, every: Cures) -> Ladder:
    titles = {finding.rule: finding.title for finding in found.findings}
    return Ladder(
        name=f"cures-{found.record.recipe.name}"[:80].rstrip(),
        about=f"The fixes suggested for a run of {found.record.recipe.name}, each tried on its own.",
        base=BASE_FILE,
        builds_on="base",
        seeds=SEEDS,
        rungs=(
            Rung(name=BASE, about="The run's own recipe."),
            *(Rung(name=rule, about=titles[rule], set=one) for rule, one in every.to_try.items()),
        ),
    )


def _plain(ladder: Ladder) -> dict[str, object]:
    """Return a ladder as TOML can hold it, without empty fields."""
    table: dict[str, object] = msgspec.to_builtins(ladder)
    rungs = msgspec.to_builtins(ladder.rungs)
    table["rungs"] = [{key: value for key, value in rung.items() if value not in (None, (), [])} for rung in rungs]
    return table
