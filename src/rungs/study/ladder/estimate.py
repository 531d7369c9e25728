"""What a climb would run, and how long it would take, estimated from short probes of each net."""

from __future__ import annotations

import dataclasses
import statistics
import time
from dataclasses import dataclass

import torch
from msgspec.structs import replace
from torch import Tensor

from rungs import data
from rungs.data.split import Parts
from rungs.errors import UserError
from rungs.optim import slowed
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.spec import Cell
from rungs.study.ladder.workers import finished, packs
from rungs.study.processes import share_threads
from rungs.training.device import World, open_world
from rungs.training.loop import Diverged, train_together
from rungs.training.pack import join
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble, load_dataset
from rungs.training.step import WARM_UP

SCORED = 500
"""Validation images scored to measure the speed of scoring."""


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
    training, setups = replace(recipe.training, epochs=2, image_scales=()), []
    source, moved = data.load(recipe.data.source, recipe.data.image_size), dict[int, Tensor]()
    for seed in range(recipe.seed, recipe.seed + pack):
        resolved, dataset = load_dataset(replace(recipe, seed=seed, training=training), True, source)
        setups.append(assemble(resolved, dataset, world, moved))
    start_s = (time.perf_counter() - began) / pack
    images = {name: len(part) for name, part in setups[0].parts.present().items()}
    setup = join([_shortened(setup, images["train"]) for setup in setups])
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


def _shortened(setup: Setup, images: int) -> Setup:
    """Return a setup that trains one batch and scores a few images."""
    train = setup.parts.train.take(torch.arange(min(setup.recipe.training.batch_size, images)))
    judged = setup.parts.train if setup.parts.validation is None else setup.parts.validation
    judged = judged.take(torch.arange(min(SCORED, len(judged))))
    return dataclasses.replace(setup, parts=Parts(train, judged, None), steps_per_epoch=1)


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
        key = (_speed_key(cell.recipe), packed[cell])
        if key not in speeds:
            try:
                with open_world() as world:
                    load_dataset(cell.recipe, plan.options.skip_unreadable)  # raises on bad files; the probe skips them
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
            steps.append(Planned(cell, "started" if begun.holds_run() else "to do", left_s))
    return steps


def _harmless(recipe: Recipe) -> Recipe:
    """Return an equally fast recipe that cannot diverge."""
    return replace(recipe, optim=slowed(recipe.optim, 1e-6 / recipe.optim.lr))


def _speed_key(recipe: Recipe) -> object:
    """Return what affects speed and the number of images; the seed does not."""
    training = replace(recipe.training, epochs=1)
    return recipe.model, training, recipe.evaluation.batch_size, recipe.data, recipe.augment, type(recipe.optim)
