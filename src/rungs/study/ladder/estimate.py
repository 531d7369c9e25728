"""What a climb would run, and how long it would take: at the pace of its trained cells, else from short probes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.pace import Net, Pace, Trained, measure, net_of, read, square_scales
from rungs.study.ladder.probe import harmless, shortened
from rungs.study.ladder.spec import Cell
from rungs.study.ladder.workers import packs
from rungs.study.processes import share_threads
from rungs.training.dataset import load_dataset
from rungs.training.device import World, device_name, open_world
from rungs.training.loop import Diverged, train_together
from rungs.training.screen import Screen
from rungs.training.step import WARM_UP


@dataclass(frozen=True)
class Speed:
    """Measured durations, in seconds."""

    start_s: float  # to load the data and build the net
    train_image_s: float  # per training image, all work of a step included
    score_image_s: float

    def estimate_s(self, recipe: Recipe, images: Mapping[str, int]) -> float:
        """Return the time that a run takes if nothing stops it early.

        Args:
            recipe: May differ from the probed one in length and data, not in the net.
            images: How many "train", "validation" and "test" images there are.
        """
        train, validation, test = (images.get(part, 0) for part in ("train", "validation", "test"))
        scored = train * recipe.evaluation.score_train + validation + test
        if recipe.training.head_epochs:
            scored += train + validation  # their features, once; the head's own epochs take next to nothing
        return self.start_s + recipe.training.epochs * self.epoch_s(recipe, images) + scored * self.score_image_s

    def epoch_s(self, recipe: Recipe, images: Mapping[str, int]) -> float:
        """Return the time of an epoch; the arguments are those of `estimate_s`."""
        train, validation, test = (images.get(part, 0) for part in ("train", "validation", "test"))
        watched = validation + test * recipe.evaluation.watch_test
        return train * self.train_image_s + watched * self.score_image_s


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


@dataclass(frozen=True)
class Planned:
    """A cell, its state, and how long it takes if nothing stops it early."""

    cell: Cell
    state: str  # "finished", "started", "to do", or what is wrong with it
    estimate_s: float  # 0 for a finished one
    measured: bool = False  # the estimate rests on the pace of trained cells, not on a probe


@dataclass(frozen=True)
class Forecast:
    """Every cell of a climb, and what the estimates of those that were not measured were multiplied by."""

    steps: tuple[Planned, ...]
    correction: float | None  # measured pace : probe, of cells that have both; None: there are none


@dataclass
class Probes:
    """Probes of nets, each made once."""

    plan: ClimbPlan
    made: dict[Net, tuple[Speed, dict[str, int]] | UserError] = field(default_factory=dict)

    def of(self, recipe: Recipe, packed: int) -> tuple[Speed, dict[str, int]] | UserError:
        """Return the speed of a net and the number of images in each part, or why it cannot be trained."""
        net = net_of(recipe, packed)
        if net not in self.made:
            try:
                with open_world() as world:
                    load_dataset(recipe, self.plan.options.skip_unreadable)  # raises on bad files; the probe skips them
                    self.made[net] = probe(harmless(recipe), world, packed)
            except UserError as error:
                self.made[net] = error
        return self.made[net]


def estimate(plan: ClimbPlan) -> Forecast:
    """Return the state and estimated time of every cell.

    A net of which this climb has trained an epoch on this machine is not probed: its pace is known. The others are
    probed, each net and batch size once, packed cells in a pack of the same size; the estimate of a packed cell is its
    share.
    """
    root = plan.folder.path
    seen = {cell: read(cell, root) for cell in (*plan.cells, *plan.others)}
    groups = packs([cell for cell in plan.to_train if not seen[cell].ended], plan.pack)
    packed = {cell: len(group) for group in groups for cell in group}
    share_threads(min(plan.jobs, max(1, len(groups))))
    with open_world() as world:
        paces = measure(seen.values(), device_name(world.device))
    probes = Probes(plan)
    new = any(net_of(cell.recipe, size) not in paces for cell, size in packed.items())
    correction = _correction(packed, tuple(seen.values()), paces, probes) if new else None
    steps = []
    for cell in plan.cells:
        if cell not in packed:
            steps.append(Planned(cell, "finished", 0.0))
        elif (pace := paces.get(net_of(cell.recipe, packed[cell]))) is not None:
            left_s = pace.left_s(cell.recipe, len(seen[cell].rows))
            steps.append(Planned(cell, _state(cell, root), left_s, measured=True))
        elif isinstance(known := probes.of(cell.recipe, packed[cell]), UserError):
            steps.append(Planned(cell, f"cannot run: {known.what}", 0.0))
        else:
            speed, images = known
            whole = speed.estimate_s(cell.recipe, images) * (correction or 1.0)
            left_s = whole * max(0.0, 1 - len(seen[cell].rows) / cell.recipe.training.epochs)
            steps.append(Planned(cell, _state(cell, root), left_s))
    return Forecast(tuple(steps), correction)


def _state(cell: Cell, root: Path) -> str:
    return "started" if RunDir(root / cell.folder).holds_run() else "to do"


def _correction(
    packed: Mapping[Cell, int], seen: Sequence[Trained], paces: Mapping[Net, Pace], probes: Probes
) -> float | None:
    """Return the median ratio of the measured pace to that of a probe: single cold batches are slower than an epoch.

    Args:
        packed: The cells to train, with the sizes of their packs. Those that are measured are probed, too.
        seen: All cells; where none of `packed` is measured, one of these is probed.
        paces: What was measured.
        probes: Makes the probes.
    """
    candidates = [(cell.recipe, size) for cell, size in packed.items() if net_of(cell.recipe, size) in paces]
    if not candidates:
        trained = ((one.cell.recipe, one.rows[-1].packed) for one in seen if one.rows)
        candidates = [(recipe, size) for recipe, size in trained if net_of(recipe, size) in paces][:1]
    ratios = []
    for recipe, size in {net_of(*candidate): candidate for candidate in candidates}.values():
        known = probes.of(recipe, size)
        if not isinstance(known, UserError):
            speed, images = known
            ratios.append(paces[net_of(recipe, size)].mean_epoch_s(recipe) / speed.epoch_s(recipe, images))
    return statistics.median(ratios) if ratios else None
