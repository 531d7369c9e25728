"""The pace of a climb as its own cells measured it: what an epoch of each net took, from histories and records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low
from typing import TypeAlias

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.study.ladder.spec import Cell

Net: TypeAlias = tuple[object, ...]
"""What decides how long an epoch takes: equal for cells that train equally fast."""


def speed_key(recipe: Recipe) -> Net:
    """Return what affects speed and the number of images; the seed does not."""
    training = replace(recipe.training, epochs=1)
    return recipe.model, training, recipe.evaluation.batch_size, recipe.data, recipe.augment, type(recipe.optim)


def net_of(recipe: Recipe, packed: int) -> Net:
    """Return the key of a net, one of `packed` that a process trains together."""
    return (*speed_key(recipe), packed)


def square_scales(recipe: Recipe) -> tuple[float, ...]:
    """Return the pixel counts of training images relative to the full size: compute grows with them."""
    return tuple(scale**2 for scale in recipe.training.image_scales) or (1.0,)


@dataclass(frozen=True)
class Trained:
    """What the files of a cell say of its training so far."""

    cell: Cell
    rows: tuple[EpochRow, ...]  # one per finished epoch
    record: RunRecord | None  # of its last session; None: none has ended

    @property
    def ended(self) -> bool:
        """Whether nothing is left to train. A diverged run would diverge again."""
        return self.record is not None and self.record.status != "interrupted"


def read(cell: Cell, root: Path) -> Trained:
    """Read the files of a cell in the folder of its climb; a damaged one counts as absent."""
    folder, record = RunDir(root / cell.folder), None
    with suppress(UserError):
        record = folder.read_record()
    if record is not None and record.status != "interrupted":
        return Trained(cell, record.history, record)
    return Trained(cell, folder.read_history(), record)


@dataclass(frozen=True)
class Pace:
    """How long a net trains, in seconds of a run's own: its share if it was packed."""

    epoch_s: float  # training and validation, at the full image size
    other_s: float  # of a run: to load, save and score; 0 where no cell has ended yet

    def mean_epoch_s(self, recipe: Recipe) -> float:
        """Return the mean over a recipe's epochs, which may be at smaller image sizes."""
        return self.epoch_s * fmean(square_scales(recipe))

    def left_s(self, recipe: Recipe, epochs: int, part: float = 0.0) -> float:
        """Return the time that a run of this net still takes, if nothing stops it early.

        Args:
            recipe: Whose later epochs may be at larger images than its earlier ones.
            epochs: Number of epochs that are done.
            part: Share of the next one that is done.
        """
        shares = [_share_of_pixels(recipe, epoch + 1) for epoch in range(epochs, recipe.training.epochs)]
        done = part * shares[0] if shares else 0.0
        return (sum(shares) - done) * self.epoch_s + self.other_s


def measure(trained: Iterable[Trained], device: str) -> dict[Net, Pace]:
    """Return the pace of each net of which an epoch was trained.

    It is the median over the epochs of all its cells, of two the shorter, so that an epoch in which the machine slept
    does not count; the steps that compile a net do not, either.

    Args:
        trained: The cells of a climb.
        device: Name of the chip. Cells whose records name another one are left out; a cell without a record is taken
            to have been trained on this one.
    """
    epochs, others = defaultdict[Net, list[float]](list), defaultdict[Net, list[float]](list)
    for one in trained:
        if not one.rows or (one.record is not None and one.record.environment.device != device):
            continue
        recipe, key = one.cell.recipe, speed_key(one.cell.recipe)
        for row in one.rows:
            seconds = (row.train_s - row.warm_up_s) / _share_of_pixels(recipe, row.epoch) + row.validation_s
            epochs[*key, row.packed].append(seconds)
        if one.record is not None and one.ended:
            packed, in_epochs = one.rows[-1].packed, sum(row.train_s + row.validation_s for row in one.rows)
            others[*key, packed].append(max(0.0, one.record.wall_s / packed - in_epochs))
    return {net: Pace(median_low(seconds), median_low(others[net] or [0.0])) for net, seconds in epochs.items()}


def mean_pace(paces: Iterable[Pace]) -> Pace:
    """Return the mean of some paces, at least one: a guess for a net that was not measured."""
    several = list(paces)
    return Pace(fmean(one.epoch_s for one in several), fmean(one.other_s for one in several))


def _share_of_pixels(recipe: Recipe, epoch: int) -> float:
    """Return the pixel count of an epoch's images, counted from 1, relative to the full size."""
    scales = square_scales(recipe)
    return scales[-(-epoch * len(scales) // recipe.training.epochs) - 1]
