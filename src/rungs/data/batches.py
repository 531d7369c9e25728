"""From a set on its device to batches: a permutation from (seed, epoch), this rank's share, uint8 (B, 3, H, W)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.recipe.seeds import derive


def order(n: int, seed: int, epoch: int) -> Tensor:
    """Return the permutation int64 (n,) of an epoch; the same on every rank."""
    return torch.from_numpy(np.random.default_rng(derive(seed, "order", epoch)).permutation(n))


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Return the positions int64 (n,) that an epoch visits so that all classes are equally frequent.

    As class-aware sampling (Shen et al. 2016, arXiv:1512.05830), but without chance in how often an image comes: a
    class is repeated in ever new permutations until it fills its share of the n places, so that within an epoch its
    images differ by at most one visit. The shares of the classes differ by at most one image, too.

    Args:
        labels: int64 (n,), the class of each image; classes without images get no share.
        seed: Of the run.
        epoch: Counted from 0.
    """
    rng = np.random.default_rng(derive(seed, "order", epoch))
    truth = labels.cpu().numpy()
    classes = rng.permutation(np.unique(truth))  # which of them get one image more changes with the epoch
    places = [len(truth) * (k + 1) // len(classes) - len(truth) * k // len(classes) for k in range(len(classes))]
    chosen = []
    for label, share in zip(classes, places, strict=True):
        own = np.flatnonzero(truth == label)
        rounds = [rng.permutation(own) for _ in range(-(-share // len(own)))]
        chosen.append(np.concatenate(rounds)[:share] if rounds else own[:0])
    return torch.from_numpy(rng.permutation(np.concatenate(chosen)))


def spans(n: int, batch_size: int, ranks: int = 1) -> list[tuple[int, int]]:
    """Cut n images into batches (start, stop), every image in exactly one.

    A last batch of fewer than two images per rank is merged into the one before it, because BatchNorm needs two.
    """
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and n - starts[-1] < 2 * ranks:
        del starts[-1]
    return list(zip(starts, [*starts[1:], n], strict=True))


def share(start: int, stop: int, rank: int, ranks: int) -> tuple[int, int]:
    """Return the part of a span that a rank takes; the parts differ by at most one image."""
    size = stop - start
    return start + size * rank // ranks, start + size * (rank + 1) // ranks


def batches(
    part: ImageSet, index: Tensor, batch_size: int, *, rank: int = 0, ranks: int = 1
) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
    """Yield this rank's share of each batch.

    Args:
        part: The images, on any device or mapped from a file.
        index: int64 (n,), those to visit, in order, on the same device.
        batch_size: Images per batch, of all ranks together.
        rank: This rank.
        ranks: How many there are.

    Yields:
        images uint8 (b, 3, H, W), labels int64 (b,), their positions int64 (b,), the batch's size over all ranks.
    """
    for start, stop in spans(len(index), batch_size, ranks):
        first, last = share(start, stop, rank, ranks)
        chosen = index[first:last]
        yield part.at(chosen), part.labels.index_select(0, chosen), chosen, stop - start


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 (B, 3, H, W) into float32 in [0, 1], channels last in memory, which is fastest for convolutions.

    Features, float (B, F), are returned unchanged.
    """
    if images.is_floating_point():
        return images
    return images.contiguous(memory_format=torch.channels_last).to(torch.float32).div_(255)
