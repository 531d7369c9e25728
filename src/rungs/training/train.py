"""Train one recipe: `rungs.train`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count, takewhile
from pathlib import Path

from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError
from rungs.models.own import OwnNet, spec_of
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.spec import Recipe
from rungs.report import run_page
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.training.device import open_world
from rungs.training.run import run_recipe
from rungs.training.screen import Screen


def train(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    screen: Screen | None = None,
    keep_going: Callable[[EpochRow], bool] = lambda row: True,
    model: OwnNet | None = None,
) -> RunRecord:
    """Train a recipe, write its run folder and its report, and return its record.

    Args:
        recipe: See `rungs.recipe.toml.choose`, as for `overrides`, `data` and `seed`.
        overrides: Changed fields.
        data: Another source.
        seed: Another seed.
        folder: Where; by default `runs/NAME-DIGEST`, a new one each time unless `resume`.
        resume: Go on with the run in the folder.
        skip_unreadable: Leave unreadable files out, and say so in the record.
        tensorboard: Also write events for TensorBoard.
        screen: What to show; nothing by default.
        keep_going: Asked after each epoch; answer False to stop.
        model: A net of your own in place of the recipe's: a class or a function that takes the keyword arguments
            `image_size` and `classes`, or a net, of which a copy is trained. A class or a function must make the same
            net at each call; to go on with such a run, or to load it, give it again.

    Raises:
        UserError: Anything that the caller can mend.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    if model is not None:
        described = spec_of(model)
        chosen = replace(chosen, model=described)
        if resume and not described.sha256:
            what = "the source of this net cannot be read, so nothing tells whether it is the one of this run"
            raise UserError(what, where="model", do="define it in a file to resume its runs, or train anew")
    place = RunDir(folder or default_folder(chosen, resume=resume))
    with open_world() as world:
        record = run_recipe(
            chosen,
            place,
            world,
            resume=resume,
            skip_unreadable=skip_unreadable,
            tensorboard=tensorboard,
            screen=screen if world.is_main else None,
            keep_going=keep_going,
            given=model,
        )
        if world.is_main:
            seen = looks.read(place.looks)
            run_page.write(record, examine(record, seen), place, interpretation(record), seen)
    return record


def require_run(folder: Path) -> None:
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
