"""The learning-rate range test, and the short runs that check what it suggests.

A net is trained for some steps while the rate grows from far too small to far too large: where the loss falls fastest,
the rate is large enough, and where the loss rises, it is too large (Smith 2017, arXiv:1506.01186, section 3.3).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from msgspec.structs import replace
from torch import Tensor

from rungs.data.batches import order
from rungs.data.split import Parts
from rungs.recipe.seeds import derive
from rungs.recipe.spec import Recipe
from rungs.run.record import EpochRow
from rungs.training.dataset import Dataset
from rungs.training.device import World
from rungs.training.features import on_features
from rungs.training.feed import batches_of_members
from rungs.training.head_first import train_head
from rungs.training.loop import Diverged, train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble
from rungs.training.step import Stepper

LOST = 4.0
"""The sweep ends when the smoothed loss exceeds this multiple of its minimum."""
SMOOTHED_DECADES = 0.25
"""Width of the smoothing window over the rates, in powers of ten."""


@dataclass(frozen=True)
class Sweep:
    """The result of one sweep: one value per step, from the lowest rate up."""

    losses: tuple[float, ...]  # mean of the batch, before the step
    smoothed: tuple[float, ...]
    diverged_at: float | None  # the rate at which it ended early


def growing_rates(low: float, high: float, steps: int) -> tuple[float, ...]:
    """Return `steps` rates from `low` to `high`, geometrically spaced."""
    return tuple(low * (high / low) ** (step / (steps - 1)) for step in range(steps))


def smoothing(rates: Sequence[float]) -> float:
    """Return the decay, 1 - 1 / steps, of an exponential mean that looks back over `SMOOTHED_DECADES` of the rates."""
    return 1 - 1 / max(1.0, (len(rates) - 1) * SMOOTHED_DECADES / math.log10(rates[-1] / rates[0]))


def sweep(recipe: Recipe, dataset: Dataset, world: World, rates: Sequence[float], moved: dict[int, Tensor]) -> Sweep:
    """Train one step at each of the rates, otherwise as the recipe does; nothing is scored or saved.

    Args:
        recipe: With its image size resolved; its own rate, schedule and length are ignored, but for those of its
            `head_epochs`, which come first.
        dataset: Its data.
        world: One process.
        rates: Of `optim.lr`, ascending; the other rates are scaled in proportion.
        moved: See `rungs.training.setup.assemble`.
    """
    training = replace(recipe.training, image_scales=(), compile="no", cuda_graphs=False, ema_decay=None)
    setup = on_features(assemble(replace(recipe, training=training), dataset, world, moved))
    train_head(setup, Screen())
    take, decay = Stepper(setup), smoothing(rates)
    setup.begin_epoch(0)
    losses, smoothed, mean = list[float](), list[float](), 0.0
    for rate, (batch, labels, whole) in zip(rates, _endless(setup), strict=False):
        for group in setup.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        loss, _, images = take(batch, labels, whole).tolist()
        if not math.isfinite(loss):
            return Sweep(tuple(losses), tuple(smoothed), rate)
        losses.append(loss / images)
        mean = decay * mean + (1 - decay) * losses[-1]
        smoothed.append(mean / (1 - decay ** len(losses)))  # bias correction (Kingma & Ba 2015, arXiv:1412.6980, 3)
        if smoothed[-1] > LOST * min(smoothed):
            return Sweep(tuple(losses), tuple(smoothed), rate)
    return Sweep(tuple(losses), tuple(smoothed), None)


def _endless(setup: Setup) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield training batches without end, epoch after epoch."""
    for epoch in count():
        setup.seed_dropout([derive(setup.recipe.seed, "dropout", epoch, setup.world.rank)])
        yield from batches_of_members(setup, epoch)


def short_run(recipe: Recipe, dataset: Dataset, world: World, moved: dict[int, Tensor]) -> EpochRow | None:
    """Train a recipe with the normal loop, without a folder, and return its last epoch; None if it diverged."""
    training = replace(recipe.training, compile="no")
    setup = on_features(assemble(replace(recipe, training=training), dataset, world, moved))
    try:
        train_head(setup, Screen())
        *_, row = train_epochs(setup, [], Screen())
    except Diverged:
        return None
    return row


def shortened(dataset: Dataset, images: int, seed: int) -> Dataset:
    """Return a dataset with at most `images` training images, the first of the first epoch, and no test set."""
    parts, train = dataset.parts, dataset.parts.train
    if images < len(train):
        train = train.take(order(len(train), seed, 0)[:images])
    return dataclasses.replace(dataset, parts=Parts(train, parts.validation, None))
