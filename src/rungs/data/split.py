"""Split a source into training, validation and test parts: stratified, by seed, of exact size."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rungs.data.imageset import ImageSet, Source
from rungs.errors import UserError
from rungs.recipe.spec import DataSpec

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """A source after the split. A part that the recipe leaves out is None."""

    train: ImageSet
    validation: ImageSet | None
    test: ImageSet | None

    def present(self) -> dict[str, ImageSet]:
        """Return the parts that are not None, by name, train first."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over the parts' hashes: it changes with any image and any split."""
        lines = (f"{name}:{part.hash}\n" for name, part in self.present().items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def split_source(source: Source, spec: DataSpec, seed: int) -> Parts:
    """Split off the parts that the source does not have from its training images.

    An integer size is a number of images. A fraction is of the source's training images for `test` and
    `validation`, of those that remain after these for `train`. A source's own validation and test sets are
    used unchanged. Each split has exactly its size and, in every class, less than one image more or fewer
    than its proportional share.

    The same seed gives the same parts. Test comes first, then validation, then train, each with its own
    random stream: so validation does not change with `train`, and a smaller `train` is a subset of a
    larger one.

    Raises:
        UserError: A size does not fit, or a class would keep no training image.
    """
    labels = source.train.labels.numpy()
    pool = np.arange(len(labels))
    for_test, for_validation, for_train = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    validation, test = source.validation, source.test
    if test is None and spec.test:
        index, pool = _cut(pool, labels, _size(spec.test, len(labels), len(pool), "test"), for_test)
        test = _take(source.train, index)
    if validation is None and spec.validation:
        index, pool = _cut(pool, labels, _size(spec.validation, len(labels), len(pool), "validation"), for_validation)
        validation = _take(source.train, index)
    if spec.train is not None:
        pool, _ = _cut(pool, labels, _size(spec.train, len(pool), len(pool), "train"), for_train)
    _require_every_class(source.train, labels[pool])
    return Parts(source.train if len(pool) == len(labels) else _take(source.train, pool), validation, test)


def _size(share: float | int, whole: int, left: int, part: str) -> int:
    """Return the number of images that `share` of `whole` means."""
    size = share if isinstance(share, int) else round(share * whole)
    if not 0 < size <= left:
        what = f"{part} = {share} means {size} images, but {left} are available"
        raise UserError(what, where=f"data.{part}", do=_other_size(size, left, part))
    return size


def _other_size(size: int, left: int, part: str) -> str:
    """Return which sizes would fit instead of one that does not."""
    if not left:
        return "make the parts before it smaller: they take all images"
    do = f"give a smaller fraction or at most {left} images" if size > left else "give a larger fraction or 1 image"
    every = "; for all the rest: --set data.train=none" if part == "train" else f"; for none: --set data.{part}=0"
    return do + every


def _cut(pool: Index, labels: Index, size: int, generator: np.random.Generator) -> tuple[Index, Index]:
    """Return `size` of the positions in `pool`, stratified by their labels, and the rest; both sorted.

    With the same state of the generator, a larger size includes what a smaller one takes.
    """
    shuffled = generator.permutation(pool)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # (n,) class after class, shuffled in each
    counts = np.bincount(labels[pool])  # (K,)
    turns = _turns(counts.tolist())  # (n,) which class comes next
    order = np.empty_like(by_class)
    order[np.argsort(turns, kind="stable")] = by_class
    return np.sort(order[:size]), np.sort(order[size:])


def _turns(counts: list[int]) -> Index:
    """Order the classes so that every prefix holds each in proportion, to less than one image.

    Rounding each size alone (largest remainder) can take an image from a class when the size grows; a fair
    order cannot. The r-th image of a class with n of N images gets the window [floor(r N / n),
    ceil((r + 1) N / n)) of positions; earliest end first among the open windows satisfies all of them
    (proportionate fairness: S. Baruah, N. Cohen, C. Plaxton, D. Varvel, Algorithmica 15, 1996).
    """
    total = sum(counts)
    closed = [(0, kind, 0) for kind, count in enumerate(counts) if count]  # (opens at, class, r)
    ready: list[tuple[int, int, int]] = []  # (ends at, class, r)
    turns = np.empty(total, dtype=np.int64)
    for position in range(total):
        while closed and closed[0][0] <= position:
            _, kind, r = heapq.heappop(closed)
            heapq.heappush(ready, (-(-(r + 1) * total // counts[kind]), kind, r))
        _, kind, r = heapq.heappop(ready)
        turns[position] = kind
        if r + 1 < counts[kind]:
            heapq.heappush(closed, ((r + 1) * total // counts[kind], kind, r + 1))
    return turns


def _take(images: ImageSet, index: Index) -> ImageSet:
    return images.take(torch.from_numpy(index))


def _require_every_class(images: ImageSet, kept: Index) -> None:
    """Fail where a class that has images has none left to train on."""
    count = np.bincount(kept, minlength=len(images.classes))
    lost = [name for name, before, n in zip(images.classes, images.counts(), count, strict=True) if before and not n]
    if lost:
        what = f"{len(kept)} training images, but none of {len(lost)} classes: {', '.join(lost[:5])}"
        raise UserError(what, where="data", do="give a larger data.train, or a smaller data.validation and data.test")
