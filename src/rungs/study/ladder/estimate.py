"""What a climb would run, and how long it would take, estimated from short probes of each net."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.probe import harmless, shortened, speed_key
from rungs.study.ladder.spec import Cell
from rungs.study.ladder.workers import finished, packs
from rungs.study.processes import share_threads
from rungs.training.device import World, open_world
from rungs.training.loop import Diverged, train_together
from rungs.training.screen import Screen
from rungs.training.setup import load_dataset
from rungs.training.step import WARM_UP


@dataclass(frozen=True)
class Speed:
    """Measured durations, in seconds."""

    start_s: float  # to load the data and build the net
    train_image_s: float  # per training image, all work of a step included
    score_image_s: float

    def estimate_s(self, recipe: Recipe, images: dict[str, int]) -> float:
        """Return the time that a run takes if nothing stops it early.

        Args:
            recipe: May differ from the probed one in length and data, not in the net.
            images: How many "train", "validation" and "test" images there are.
        """
        train, validation, test = (images.get(part, 0) for part in ("train", "validation", "test"))
        watched = validation + test * recipe.evaluation.watch_test
        epoch_s = train * self.train_image_s + watched * self.score_image_s
        scored = train * recipe.evaluation.score_train + validation + test
        return self.start_s + recipe.training.epochs * epoch_s + scored * self.score_image_s


def probe(recipe: Recipe, world: World, pack: int = 1) -> tuple[Speed, dict[str, int]]:
    """Train two epochs of a single batch (more where steps are recorded) and time the last.

    Returns:
        The speed, and the number of images in each part.

    Args:
        recipe: What will be trained.
        world: Where.
        pack: How many seeds are trained together; the speed is one run's share.

    Raises:
        UserError: Bad data, or a net that does not fit it.
    """
    began = time.perf_counter()
    short = replace(recipe, training=replace(recipe.training, epochs=2))
    setup, images = shortened(short, world, pack)
    start_s = (time.perf_counter() - began) / pack
    if setup.records:
        setup.recipe = replace(setup.recipe, training=replace(setup.recipe.training, epochs=WARM_UP + 1))
    *_, (row, *_) = train_together(setup, [], Screen())
    if isinstance(row, Diverged):
        raise UserError(f"cannot be timed: {row}", where=recipe.name, do="use a smaller optim.lr")
    scored = len(setup.parts.present()["validation"])
    scale = statistics.mean(square_scales(recipe))
    return Speed(start_s, scale / row.images_per_s, row.validation_s / scored), images


def square_scales(recipe: Recipe) -> tuple[float, ...]:
    """Return the pixel counts of training images relative to the full size: compute grows with them."""
    return tuple(scale**2 for scale in recipe.training.image_scales) or (1.0,)


@dataclass(frozen=True)
class Planned:
    """A cell, its state, and how long it takes if nothing stops it early."""

    cell: Cell
    state: str  # "finished", "started", "to do", or what is wrong with it
    estimate_s: float  # 0 for a finished one


def estimate(plan: ClimbPlan) -> list[Planned]:
    """Return the state and estimated time of every cell; unfinished ones are probed, each net and batch size once.

    Packed cells are probed in a pack of the same size; an estimate is the cell's share of it.
    """
    cells, root = plan.cells, plan.folder.path
    left = [cell for cell in cells if finished(cell, root) is None]
    groups = packs(left, plan.pack)
    packed = {cell: len(group) for group in groups for cell in group}
    share_threads(min(plan.jobs, max(1, len(groups))))
    speeds: dict[object, tuple[Speed, dict[str, int]] | UserError] = {}
    steps = []
    for cell in cells:
        if cell not in left:
            steps.append(Planned(cell, "finished", 0.0))
            continue
        key = (speed_key(cell.recipe), packed[cell])
        if key not in speeds:
            try:
                with open_world() as world:
                    load_dataset(cell.recipe, plan.options.skip_unreadable)  # raises on bad files; the probe skips them
                    speeds[key] = probe(harmless(cell.recipe), world, packed[cell])
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
            steps.append(Planned(cell, "started" if begun.holds_run() else "to do", left_s))
    return steps
