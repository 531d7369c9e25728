"""Train one recipe: `rungs.train`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path

from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door
from rungs.recipe.spec import Recipe
from rungs.report import run_page
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord
from rungs.training.device import open_world
from rungs.training.options import TrainOptions
from rungs.training.run import run_recipe


@dataclass(frozen=True)
class TrainPlan:
    """A training as it will be run."""

    options: TrainOptions
    recipe: Recipe
    folder: RunDir


def prepare(options: TrainOptions) -> TrainPlan:
    """Read the recipe and decide where it is trained; nothing is written.

    Raises:
        UserError: No such recipe, or a wrong field, type or value; nothing to resume.
    """
    recipe = recipes.choose(options.recipe, options.overrides, data=options.data, seed=options.seed)
    return TrainPlan(options, recipe, RunDir(options.folder or default_folder(recipe, resume=options.resume)))


def run(plan: TrainPlan) -> RunRecord:
    """Train, write the run folder and its report, and return the record.

    Raises:
        UserError: Bad data, a net that does not fit, a folder that holds another run.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    options, place = plan.options, plan.folder
    with open_world() as world:
        record = run_recipe(
            plan.recipe,
            place,
            world,
            resume=options.resume,
            skip_unreadable=options.skip_unreadable,
            tensorboard=options.tensorboard,
            screen=options.screen if world.is_main else None,
            keep_going=options.keep_going,
        )
        if world.is_main:
            seen = looks.read(place.looks)
            run_page.write(record, examine(record, seen), place, interpretation(record), seen)
    return record


def train_recipe(options: TrainOptions) -> RunRecord:
    """Train a recipe, write its run folder and its report, and return its record.

    The arguments are the fields of `TrainOptions`.

    Raises:
        UserError: Anything that the caller can fix.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    return run(prepare(options))


train = door(TrainOptions, train_recipe)


def require_run(folder: str | Path) -> None:
    """Refuse to resume where there is nothing: a mistyped folder would start a whole training.

    Raises:
        UserError: The folder holds no run.
    """
    if not RunDir(folder).holds_run():
        raise UserError("no run to resume here", where=folder, do="check --out, or leave --resume out to start")


def default_folder(recipe: Recipe, *, resume: bool = False) -> Path:
    """Return `runs/NAME-DIGEST`; where that is taken the next number behind it, or with `resume` the last taken.

    Raises:
        UserError: With `resume`, there are runs of this recipe's name and all have other settings.
    """
    first = Path("runs") / f"{recipe.name}-{identity.digest(recipe)[:6]}"
    candidates = chain([first], (first.with_name(f"{first.name}-{n}") for n in count(2)))
    taken = list(takewhile(Path.exists, candidates))
    runs = [path for path in taken if RunDir(path).holds_run()]
    if resume and runs:
        return runs[-1]
    others = sorted(str(path) for path in first.parent.glob(f"{recipe.name}-*") if RunDir(path).holds_run())
    if resume and others:
        do = f"give the same --set, --data and --seed as then, or its folder: --out {' or '.join(others[-3:])}"
        raise UserError(f"no run of {recipe.name} with these settings to resume", where=first.parent, do=do)
    return first.with_name(f"{first.name}-{len(taken) + 1}") if taken else first
