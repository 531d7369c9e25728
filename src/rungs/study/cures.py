"""Diagnosis as the Python API has it: what a run shows, and what its cures buy when they are tried.

from rungs.study.cures import diagnose, try_cures
for finding in diagnose("runs/mine").findings:
    print(finding.title, finding.cure)

if __name__ == "__main__":  # its worker processes read this file again
    print(try_cures("runs/mine", seeds=3).record)
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli_w
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.errors import UserError, did_you_mean
from rungs.recipe import shorten
from rungs.recipe import toml as recipes
from rungs.recipe.own import Own, called
from rungs.recipe.roles import has_role
from rungs.recipe.shorten import digest
from rungs.recipe.spec import Recipe
from rungs.run import looks
from rungs.run.folder import RunDir, write_whole
from rungs.run.looks import Look
from rungs.run.record import Finding, RunRecord
from rungs.study.bench.record import BenchDir
from rungs.study.ladder import climb, options
from rungs.study.ladder import workers as study
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.ladder.spec import Ladder, Rung
from rungs.study.search.record import SearchDir

BASE = "as-it-was"
"""The rung of the run's own recipe."""
ASKED = "the recipe asks for it"
"""What a record says of a setting that was not left to the machine."""
SEEDS = 3
"""Fewer pairs than these tell no gain from luck."""
OF_NO_ACCURACY = {
    "calibration": "it mends probabilities, which accuracy does not see",
    "small-validation": "it changes what judges, not the net",
    "no-validation": "it changes what judges, not the net",
    "test-selection": "it is about how the net is judged",
    "augmented-test": "it is about how the net is judged; what it costs is measured already",
    "interrupted": "the run is not finished: go on with it first",
}


@dataclass(frozen=True)
class Diagnosis:
    """What a run shows."""

    record: RunRecord
    looks: tuple[Look, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Cures:
    """The cures of a run: those that can be tried, by the rule that offers each, and why others cannot."""

    to_try: dict[str, tuple[str, ...]]  # rule -> assignments
    left: dict[str, str]  # rule -> why not


@dataclass(frozen=True)
class Tried:
    """What the cures of a run bought."""

    record: LadderRecord
    folder: LadderDir
    cures: Cures


def diagnose(run: str | Path) -> Diagnosis:
    """Read a run's record and its log of looks, and ask every rule.

    Raises:
        UserError: This is no folder of a run that has ended.
    """
    folder = Path(run)
    if LadderDir(folder).record.is_file():
        cell = next(folder.glob("*/run.json"), folder / "CELL" / "run.json").parent
        raise UserError("this is a climb, not a run", where=folder, do=f"give one of its cells: rungs diagnose {cell}")
    if SearchDir(folder).record.is_file():
        one = next(folder.glob("*/*/run.json"), folder / "finals" / "RUN" / "run.json").parent
        raise UserError("this is a search, not a run", where=folder, do=f"give one of its runs: rungs diagnose {one}")
    if BenchDir(folder).record.is_file():
        do = f"its advice is in its report: rungs report {folder}"
        raise UserError("this is a bench, not a run", where=folder, do=do)
    place = RunDir(folder)
    if not place.record.is_file():
        do = "give the folder of a run that has ended, runs/NAME"
        raise UserError("no run.json here", where=folder, do=do)
    record, seen = place.read_record(), looks.read(place.looks)
    return Diagnosis(record, seen, examine(record, seen))


def cures(found: Diagnosis, only: Sequence[str] = ()) -> Cures:
    """Decide which cures can be tried; cures that two findings share are tried once.

    Args:
        found: What the run shows.
        only: Rules whose cures are wanted; all by default. A cure has the name of the first finding that offers it,
            wanted or not, so that it is the same rung whatever is wanted.

    Raises:
        UserError: A rule of `only` that found nothing.
    """
    names = [finding.rule for finding in found.findings]
    for rule in only:
        if rule not in names:
            raise UserError(f"no finding {rule!r} in this run", where="--only", do=did_you_mean(rule, names))
    to_try: dict[str, tuple[str, ...]] = {}
    left: dict[str, str] = {}
    same: dict[str, str] = {}  # rule -> the first rule with its cure
    for finding in found.findings:
        if finding.cure is None:
            continue
        words = shlex.split(finding.cure)
        assignments = tuple(words[1::2]) if set(words[::2]) == {"--set"} else ()
        if why := _why_not(finding.rule, finding.cure, assignments, found.record):
            left[finding.rule] = why
        elif assignments in to_try.values():
            same[finding.rule] = next(rule for rule, one in to_try.items() if one == assignments)
            left[finding.rule] = f"it is tried for {same[finding.rule]}"
        else:
            to_try[finding.rule] = assignments
    if only:
        rungs = {same.get(rule, rule) for rule in only}
        to_try = {rule: one for rule, one in to_try.items() if rule in rungs}
        left = {rule: why for rule, why in left.items() if rule in only}
    return Cures(to_try, left)


def _why_not(rule: str, cure: str, assignments: tuple[str, ...], record: RunRecord) -> str:
    """Return why a cure is not tried; "" where it can be."""
    if why := OF_NO_ACCURACY.get(rule):
        return why
    if not assignments:
        return f"it trains nothing: {cure}"
    if any(has_role(one.partition("=")[0].strip(), "judge") for one in assignments):
        return "it changes what judges, not the net"
    if not sum(record.data.counts.get("validation", ())):
        return "there are no validation images to judge by, and the test set stays closed"
    return ""


def try_cures(
    run: str | Path,
    *,
    seeds: int = SEEDS,
    epochs: int | None = None,
    images: float | None = None,
    jobs: int | None = None,
    only: Sequence[str] = (),
    data: str | None = None,
    tell: study.Tell = lambda outcome, done, of: None,
) -> Tried | Cures:
    """Climb a ladder of the run as it was and each of its cures, and return what they bought.

    Validation judges; the test set stays closed. Each cure is a rung on the run's own recipe, compared with it in pairs
    of equal seeds. The ladder lies in RUN-cures, and the same call goes on where one was stopped.

    Args:
        run: Folder of a run that has ended.
        seeds: How many, from 0.
        epochs: Of the run's recipe; cures and schedules change in proportion.
        images: Share of the training images, above 0, at most 1.
        jobs: Cells at once; by default as a climb does.
        only: Rules whose cures are tried; all by default.
        data: Another source of images.
        tell: Called with each outcome.

    Returns:
        What was tried; where no cure can be, the cures and why.

    Raises:
        UserError: No such run or finding, or anything that a climb refuses.
    """
    options.require_something(seeds, epochs, images)
    found = diagnose(run)
    every, chosen = cures(found), cures(found, only)
    if not chosen.to_try:
        return chosen
    base = base_recipe(found.record)
    if isinstance(base.model, Own):
        what = f"this run's net is your own, {called(base.model)}, and a record alone brings no code"
        raise UserError(what, where=run, do="try the cures by a ladder of your own, whose base recipe names the file")
    folder = _folder(Path(run), recipes.choose(base, data=data), base, epochs, images)
    write_whole(folder / "base.toml", recipes.to_toml(base).encode())
    ladder = _ladder(found, every)
    write_whole(folder / "cures.toml", tomli_w.dumps(_plain(ladder)).encode())
    record = climb.climb(
        folder / "cures.toml",
        data=data,
        seeds=seeds,
        only=(BASE, *chosen.to_try) if only else (),
        epochs=epochs,
        images=images,
        jobs=jobs,
        folder=folder,
        tell=tell,
    )
    return Tried(record, LadderDir(folder), chosen)


def base_recipe(record: RunRecord) -> Recipe:
    """Return the recipe of a run as a ladder's base: open again what the machine chose, the test set closed."""
    recipe, machine = record.recipe, record.environment
    training = replace(
        recipe.training,
        precision=recipe.training.precision if machine.precision_reason == ASKED else "auto",
        compile=recipe.training.compile if machine.compile_reason == ASKED else "auto",
        convolution="direct" if recipe.training.convolution == "direct" else "auto",
    )
    return replace(shorten.closed(recipe), training=training, claims=())


def _folder(run: Path, asked: Recipe, base: Recipe, epochs: int | None, images: float | None) -> Path:
    """Return RUN-cures, with a digest behind it where the study is another than the run's own."""
    name = run.name or run.resolve().name
    other = epochs is not None or images is not None or asked != base
    return run.resolve().parent / f"{name}-cures{f'-{digest(asked, epochs, images)}' if other else ''}"


def _ladder(found: Diagnosis, every: Cures) -> Ladder:
    titles = {finding.rule: finding.title for finding in found.findings}
    return Ladder(
        name=f"cures-{found.record.recipe.name}"[:80].rstrip(),
        about=f"What the diagnosis of a run of {found.record.recipe.name} offers as cures, each tried on its own.",
        base="base.toml",
        builds_on="base",
        seeds=SEEDS,
        rungs=(
            Rung(name=BASE, about="The run's own recipe."),
            *(Rung(name=rule, about=titles[rule], set=one) for rule, one in every.to_try.items()),
        ),
    )


def _plain(ladder: Ladder) -> dict[str, object]:
    """Return a ladder as TOML can hold it, without what is empty."""
    table: dict[str, object] = msgspec.to_builtins(ladder)
    rungs = msgspec.to_builtins(ladder.rungs)
    table["rungs"] = [{key: value for key, value in rung.items() if value not in (None, (), [])} for rung in rungs]
    return table
