"""The Python API: the same power as the command line.

from rungs import train, load
record = train("lab-003", ["optim.lr=0.005"], data="folder:photos", folder="runs/mine")
print(load("runs/mine").predict(["cat.jpg"]))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count, takewhile
from pathlib import Path

import tomli_w

from rungs import recipe as recipes
from rungs.diagnose import examine
from rungs.errors import UserError
from rungs.records import EpochRow, RunRecord
from rungs.report import html
from rungs.rundir import RunDir
from rungs.ship.bundle import load_weights
from rungs.ship.predict import Classifier
from rungs.specs import DataSpec, Recipe
from rungs.training.device import open_device, open_world
from rungs.training.run import run_recipe
from rungs.training.screen import Screen


def choose(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), *, data: str | None = None, seed: int | None = None
) -> Recipe:
    """Return a recipe with fields changed.

    With another kind of source, sizes of parts that the recipe gives as numbers of images, which fit its own
    source, are the usual ones again (see `rungs.specs.DataSpec`), unless `overrides` say otherwise.

    Args:
        recipe: A shipped recipe's name, the path of a TOML file, or a recipe.
        overrides: Assignments `dotted.field=value`, as after `--set`.
        data: Another source than the recipe's: "cifar10", "folder:PATH", …
        seed: Another seed than the recipe's.

    Raises:
        UserError: No such recipe, or a wrong field, type or value.
    """
    shortcuts = [f"data.{tomli_w.dumps({'source': data})}"] if data is not None else []
    shortcuts += [f"seed={seed}"] if seed is not None else []
    if not isinstance(recipe, Recipe):
        recipe = recipes.load(recipe)
    if data is not None and data.partition(":")[0] != recipe.data.source.partition(":")[0]:
        usual = DataSpec()
        counted = (part for part in ("train", "validation", "test") if isinstance(getattr(recipe.data, part), int))
        shortcuts += [f"data.{part}={getattr(usual, part)}" for part in counted]
    return recipes.parse(recipes.to_toml(recipe), recipe.name, [*shortcuts, *overrides])


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
) -> RunRecord:
    """Train a recipe, write its run folder and its report, and return its record.

    Args:
        recipe: See `choose`, as for `overrides`, `data` and `seed`.
        overrides: Changed fields.
        data: Another source.
        seed: Another seed.
        folder: Where; by default `runs/NAME-DIGEST`, a new one each time unless `resume`.
        resume: Go on with the run in the folder.
        skip_unreadable: Leave unreadable files out, and say so in the record.
        tensorboard: Also write events for TensorBoard.
        screen: What to show; nothing by default.
        keep_going: Asked after each epoch; answer False to stop.

    Raises:
        UserError: Anything that the caller can mend.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    chosen = choose(recipe, overrides, data=data, seed=seed)
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
        )
        if world.is_main:
            html.write(record, examine(record), place)
    return record


def load(run: str | Path) -> Classifier:
    """Load the net of a run folder (or of a weights' file) to predict with.

    Raises:
        UserError: There is none, or it is damaged.
    """
    return Classifier(load_weights(run, open_device()))


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
    first = Path("runs") / f"{recipe.name}-{recipes.digest(recipe)[:6]}"
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
