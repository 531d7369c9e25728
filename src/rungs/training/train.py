"""Train one recipe: `rungs.train`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from msgspec.structs import replace

from rungs.data import require_known
from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError
from rungs.models.own import spec_of
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door
from rungs.recipe.spec import Recipe
from rungs.report import run_page
from rungs.run import looks
from rungs.run.folder import RunDir, numbered, numbers
from rungs.run.record import RunRecord
from rungs.training.device import open_world
from rungs.training.options import RunOptions, TrainOptions, assignments
from rungs.training.run import run_recipe


@dataclass(frozen=True)
class TrainPlan:
    """A training, ready to run."""

    options: TrainOptions
    recipe: Recipe
    folder: RunDir


def prepare(options: TrainOptions) -> TrainPlan:
    """Read the recipe and choose the run folder; nothing is written.

    Raises:
        UserError: No such recipe, or a wrong field, type or value; nothing to resume.
    """
    recipe = recipes.choose(options.recipe, assignments(options), data=options.data, seed=options.seed)
    require_known(recipe.data.source)
    if options.model is not None:
        model = spec_of(options.model)
        recipe = replace(recipe, model=model)
        if options.resume and not model.sha256:
            what = "the source of this net cannot be read, so it cannot be checked against this run"
            raise UserError(what, where="model", do="define it in a file to resume its runs, or retrain")
    return TrainPlan(options, recipe, RunDir(options.folder or default_folder(recipe, resume=options.resume)))


def run(plan: TrainPlan) -> RunRecord:
    """Train, write the run folder and its report, and return the record.

    Raises:
        UserError: Bad data, a net that does not fit, a folder that holds another run.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    options, place = plan.options, plan.folder
    with open_world() as world:
        how = RunOptions(
            resume=options.resume,
            skip_unreadable=options.skip_unreadable,
            tensorboard=options.tensorboard,
            screen=options.screen if world.is_main else None,
            keep_going=options.keep_going,
            model=options.model,
        )
        record = run_recipe(plan.recipe, place, world, how)
        if world.is_main:
            seen = looks.read(place.looks)
            run_page.write(record, examine(record, seen), place, interpretation(record), seen)
    return record


train = door("train", TrainOptions, prepare, run)


def require_run(folder: str | Path) -> None:
    """Refuse to resume a folder without a run: a typo would start a whole training.

    Raises:
        UserError: The folder holds no run.
    """
    if not RunDir(folder).holds_run():
        raise UserError("no run to resume here", where=folder, do="check --out, or leave --resume out to start")


def default_folder(recipe: Recipe, *, resume: bool = False) -> Path:
    """Return `runs/NAME-DIGEST`; if that is taken with the next number appended, or with `resume` the last taken.

    Raises:
        UserError: With `resume`, if all runs of this recipe's name have other settings.
    """
    first = Path("runs") / f"{recipe.name}-{identity.digest(recipe)[:6]}"
    if not resume:
        return numbered(first)
    runs = [path for path in takewhile(Path.exists, numbers(first)) if RunDir(path).holds_run()]
    if runs:
        return runs[-1]
    others = sorted(str(path) for path in first.parent.glob(f"{recipe.name}-*") if RunDir(path).holds_run())
    if others:
        do = f"give the same --set, --data and --seed as before, or its folder: --out {' or '.join(others[-3:])}"
        raise UserError(f"no run of {recipe.name} with these settings to resume", where=first.parent, do=do)
    return numbered(first)
