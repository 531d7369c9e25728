"""What a climb would run, and how long it would take, learnt from short probes of each net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungs.errors import UserError
from rungs.ladder import Cell
from rungs.rundir import RunDir
from rungs.specs import Recipe
from rungs.study.climb import finished, share_threads
from rungs.training.device import open_world
from rungs.training.probe import Speed, probe


@dataclass(frozen=True)
class Step:
    """A cell, whether it is done, and how long it takes if nothing stops it early."""

    cell: Cell
    state: str  # "finished", "begun", "to do", or what is wrong with it
    estimate_s: float  # 0 for a finished one


def plan(cells: Sequence[Cell], root: Path, jobs: int) -> list[Step]:
    """Return a step for every cell; those that are not finished are probed, each net with each batch once."""
    share_threads(jobs)
    speeds: dict[object, tuple[Speed, dict[str, int]] | UserError] = {}
    steps = []
    for cell in cells:
        if finished(cell, root) is not None:
            steps.append(Step(cell, "finished", 0.0))
            continue
        key = _speed_key(cell.recipe)
        if key not in speeds:
            try:
                with open_world() as world:
                    speeds[key] = probe(cell.recipe, world)
            except UserError as error:
                speeds[key] = error
        known = speeds[key]
        if isinstance(known, UserError):
            steps.append(Step(cell, f"cannot run: {known.what}", 0.0))
        else:
            speed, images = known
            state = "begun" if RunDir(root / cell.folder).holds_run() else "to do"
            steps.append(Step(cell, state, speed.estimate_s(cell.recipe, images)))
    return steps


def _speed_key(recipe: Recipe) -> object:
    """Return what decides how fast an image is trained and how many there are; the seed does not."""
    return recipe.model, recipe.training.batch_size, recipe.data, recipe.augment, type(recipe.optim)
