"""What a climb would run, and how long it would take, learnt from short probes of each net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.ladder import Cell
from rungs.optim import slowed
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.study.climb import finished, packs, share_threads
from rungs.training.device import open_world
from rungs.training.probe import Speed, probe
from rungs.training.setup import gather


@dataclass(frozen=True)
class Planned:
    """A cell, whether it is done, and how long it takes if nothing stops it early."""

    cell: Cell
    state: str  # "finished", "begun", "to do", or what is wrong with it
    estimate_s: float  # 0 for a finished one


def plan(cells: Sequence[Cell], root: Path, jobs: int, *, skip_unreadable: bool, pack: int = 1) -> list[Planned]:
    """Return what becomes of every cell; those that are not finished are probed, each net with each batch once.

    Cells that are trained in a pack are probed in one of its size; their estimates are their shares of it.
    """
    left = [cell for cell in cells if finished(cell, root) is None]
    groups = packs(left, pack)
    packed = {cell: len(group) for group in groups for cell in group}
    share_threads(min(jobs, max(1, len(groups))))
    speeds: dict[object, tuple[Speed, dict[str, int]] | UserError] = {}
    steps = []
    for cell in cells:
        if cell not in left:
            steps.append(Planned(cell, "finished", 0.0))
            continue
        key = (_speed_key(cell.recipe), packed[cell])
        if key not in speeds:
            try:
                with open_world() as world:
                    gather(cell.recipe, skip_unreadable)  # the probe itself takes what it finds
                    speeds[key] = probe(_harmless(cell.recipe), world, packed[cell])
            except UserError as error:
                speeds[key] = error
        known = speeds[key]
        if isinstance(known, UserError):
            steps.append(Planned(cell, f"cannot run: {known.what}", 0.0))
        else:
            speed, images = known
            begun = RunDir(root / cell.folder)
            whole = speed.estimate_s(cell.recipe, images)
            done = len(begun.history.read_text().splitlines()) if begun.history.is_file() else 0
            left_s = whole * max(0.0, 1 - done / cell.recipe.training.epochs)
            steps.append(Planned(cell, "begun" if begun.holds_run() else "to do", left_s))
    return steps


def _harmless(recipe: Recipe) -> Recipe:
    """Return a recipe that is as fast and cannot diverge."""
    return replace(recipe, optim=slowed(recipe.optim, 1e-6 / recipe.optim.lr))


def _speed_key(recipe: Recipe) -> object:
    """Return what decides how fast an image is trained and how many there are; the seed does not."""
    training = replace(recipe.training, epochs=1)
    return recipe.model, training, recipe.evaluation.batch_size, recipe.data, recipe.augment, type(recipe.optim)
