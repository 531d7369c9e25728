"""Turn the parts of a dataset into the net's input: batches on the device, float, augmented."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.data import augment
from rungs.data.batches import balanced_order, batches, order, spans, to_float
from rungs.data.imageset import ImageSet
from rungs.recipe.augments import AnyAugment
from rungs.recipe.seeds import Stream, derive
from rungs.training.setup import Setup


def generator(device: torch.device, seed: int, stream: Stream, *key: int) -> torch.Generator:
    """Return a generator on `device` for one purpose: see `rungs.recipe.seeds.derive`."""
    return torch.Generator(device).manual_seed(derive(seed, stream, *key))


def salt(seed: int) -> int:
    """Return the 31 bits of `rungs.data.augment.Draw.salt`, the same in every epoch and on every rank."""
    return derive(seed, "augment") & 0x7FFFFFFF


def training_batches(setup: Setup, epoch: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield this rank's share of each batch of an epoch, counted from 0.

    Yields:
        float (b, 3, H, W) in [0, 1], or features (b, F); labels int64 (b,) or class probabilities (b, K); the batch's
        size over all ranks.
    """
    part, recipe, world = setup.parts.train, setup.recipe, setup.world
    rng = generator(world.device, recipe.seed, "augment", epoch, world.rank)
    index = epoch_order(setup, epoch)
    size = recipe.training.batch_size
    for images, labels, chosen, whole in batches(part, index, size, rank=world.rank, ranks=world.size):
        draw = augment.Draw(rng, epoch, chosen.to(world.device), len(part.classes), salt(recipe.seed))
        x, y = prepare(images, labels, recipe.augment.train, draw)
        yield x if x.ndim == 2 else resized(x, setup.image_size(epoch)), y, whole


def epoch_order(setup: Setup, epoch: int) -> Tensor:
    """Return the positions int64 (n,) of the training images that an epoch visits, in order, on their device."""
    part, recipe = setup.parts.train, setup.recipe
    if recipe.data.balance == "sampling":
        index = balanced_order(part.labels, recipe.seed, epoch)
    else:
        index = order(len(part), recipe.seed, epoch)
    return index.to(part.labels.device)


def batches_of_members(setup: Setup, epoch: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield the training batches of a setup's members side by side, see `together`; a single member's unchanged.

    Without augmentation, which draws per member, the images of all are gathered at once from the shared source: on a
    GPU a pack of small nets would otherwise wait for Python to gather each member's.
    """
    parts = [one.parts.train for one in setup.members]
    pixels, recipe = parts[0].pixels, setup.recipe
    if len(parts) == 1 or recipe.augment.train or any(part.pixels.data_ptr() != pixels.data_ptr() for part in parts):
        yield from together([training_batches(one, epoch) for one in setup.members])
        return
    orders = [epoch_order(one, epoch).to(pixels.device) for one in setup.members]
    rows = torch.stack([index if p.rows is None else p.rows[index] for p, index in zip(parts, orders, strict=True)], 1)
    labels = torch.stack([p.labels[index] for p, index in zip(parts, orders, strict=True)], 1)  # (n, S), like the rows
    for start, stop in spans(len(rows), recipe.training.batch_size):
        images = pixels.index_select(0, rows[start:stop].flatten()).to(setup.world.device, non_blocking=True)
        x = to_float(images.view(stop - start, -1, *images.shape[2:]))  # (b, 3 S, H, W)
        y = labels[start:stop].to(setup.world.device, non_blocking=True)
        yield x, y, stop - start


def scoring_batches(
    setup: Setup,
    part: ImageSet,
    augments: Sequence[AnyAugment] = (),
    epoch: int = 0,
    *,
    shared: bool = False,
    only: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a set in its order: float (b, 3, H, W) in [0, 1] and labels (b,).

    Args:
        setup: The run's.
        part: What to score.
        augments: For recipes that augment validation.
        epoch: Their seed.
        shared: Yield only this rank's share, if there are enough images for every rank.
        only: Positions int64 (M,) of the images to yield; all by default.
    """
    world = setup.world
    rank, ranks = (world.rank, world.size) if shared and len(part) >= world.size else (0, 1)
    rng = generator(world.device, setup.recipe.seed, "validation", epoch, rank)
    index = torch.arange(rank, len(part), ranks) if only is None else only
    index = index.to(part.labels.device)
    for images, labels, chosen, _ in batches(part, index, setup.recipe.evaluation.batch_size):
        draw = augment.Draw(rng, epoch, chosen.to(world.device), len(part.classes))
        yield prepare(images, labels, augments, draw)


def resized(x: Tensor, size: int) -> Tensor:
    """Return float (b, 3, size, size); shrinking is antialiased."""
    if x.shape[2:] == (size, size):
        return x
    return F.interpolate(x, size, mode="bilinear", antialias=True)


def prepare(
    images: Tensor, labels: Tensor, augments: Sequence[AnyAugment], draw: augment.Draw
) -> tuple[Tensor, Tensor]:
    """Turn uint8 (b, 3, H, W) and labels (b,) into the net's input, on the device of `draw`."""
    device = draw.index.device
    x, y = to_float(images.to(device, non_blocking=True)), labels.to(device, non_blocking=True)
    return augment.apply(augments, x, y, draw)


def together(streams: Sequence[Iterator[tuple[Any, ...]]]) -> Iterator[tuple[Any, ...]]:
    """Yield the batches of S runs as one, their images side by side in the channels; one run's unchanged.

    Yields:
        float (b, 3 S, H, W); labels int64 (b, S) or class probabilities (b, S, K); the first run's other values.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    for batch in zip(*streams, strict=True):
        x, y, *others = zip(*batch, strict=True)
        yield torch.cat(x, 1), torch.stack(y, 1), *(other[0] for other in others)
