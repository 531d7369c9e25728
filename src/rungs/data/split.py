"""Split a source into training, validation and test parts, or into folds: stratified, by seed, groups kept whole."""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, replace

import numpy as np
import torch

from rungs.data.dealing import Index, deal, in_folds, sizes
from rungs.data.groups import group_ids
from rungs.data.imageset import ImageSet, Source, joined
from rungs.errors import UserError
from rungs.recipe.spec import DataSpec


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
    than its proportional share. With groups (`spec.groups`), each of them lies wholly in test, in validation or
    among the rest, and the size of test and of validation differs by less than the largest group.

    The same seed gives the same parts. Test comes first, then validation, then train, each with its own
    random stream: so validation does not change with `train`, and a smaller `train` is a subset of a
    larger one.

    With `spec.folds` the test part is fold `spec.fold` of all images (see `fold_of_each`), and validation and train
    are cut from the others as above. Without `spec.fold` there is no test part: the net is trained on all.

    Raises:
        UserError: A size does not fit, a class would keep no training image, or there are too many folds.
    """
    if spec.folds is not None:
        source = pooled(source)
    labels, groups = source.train.labels.numpy(), group_ids(source, spec)
    pool = np.arange(len(labels))
    for_test, for_validation, for_train = _generators(seed)
    validation, test = source.validation, source.test
    if spec.folds is not None:
        if spec.fold is not None:
            fold_of = _fold_of(labels, groups, spec.folds, for_test)
            test, pool = _take(source.train, np.flatnonzero(fold_of == spec.fold)), np.flatnonzero(fold_of != spec.fold)
    elif test is None and spec.test:
        size = _size(spec.test, len(labels), len(pool), "test")
        index, pool = _cut_groups(pool, labels, groups, size, for_test, "test")
        test = _take(source.train, index)
    if validation is None and spec.validation:
        size = _size(spec.validation, len(labels), len(pool), "validation")
        index, pool = _cut_groups(pool, labels, groups, size, for_validation, "validation")
        validation = _take(source.train, index)
    if spec.train is not None:  # what is left out is not scored, so it may hold a part of a group
        pool, _ = _cut(pool, labels, _size(spec.train, len(pool), len(pool), "train"), for_train)
    _require_every_class(source.train, labels[pool])
    return Parts(source.train if len(pool) == len(labels) else _take(source.train, pool), validation, test)


def pooled(source: Source) -> Source:
    """Return what folds are made of: the training images and a validation set of the source's own, without test.

    A source's own test set stays untouched and unused: it can still judge what the folds have chosen.

    Raises:
        UserError: There is a validation set, and a table's column groups the training images alone.
    """
    if source.validation is None:
        return replace(source, test=None)
    if source.groups is not None:
        what = "the images of its validation set have no group, so it cannot join the folds"
        raise UserError(what, where=source.name, do="make one table of both, or leave data.groups out")
    return replace(source, train=joined(source.train, source.validation), validation=None, test=None)


def fold_of_each(source: Source, spec: DataSpec, seed: int) -> Index:
    """Return the fold of each image of `pooled(source)`, int64 (N,), counted from 0.

    In every class, the folds differ by at most one image; with groups, which stay whole, their sizes differ from
    equal ones by less than the largest group, and in a class by about that.

    Raises:
        UserError: A class has fewer groups than there are folds.
    """
    assert spec.folds is not None
    source = pooled(source)
    for_test, *_ = _generators(seed)
    return _fold_of(source.train.labels.numpy(), group_ids(source, spec), spec.folds, for_test)


def _generators(seed: int) -> list[np.random.Generator]:
    """Return a random stream each for test, validation and train."""
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(3)]


def _fold_of(labels: Index, groups: Index | None, folds: int, generator: np.random.Generator) -> Index:
    _require_fewer_folds(labels, groups, folds)
    if groups is None or sizes(groups).max() == 1:
        return in_folds(labels, folds, generator)
    return deal(labels, groups, (1 / folds,) * folds, generator)


def _require_fewer_folds(labels: Index, groups: Index | None, folds: int) -> None:
    """Refuse more folds than a class has groups: some folds would be tested without it."""
    units = np.arange(len(labels)) if groups is None else groups
    each = {int(k): len(np.unique(units[labels == k])) for k in np.unique(labels)}
    fewest = min(each.values(), default=0)
    if fewest < folds:
        one, several = ("image", "images") if groups is None else ("group of images", "groups of images")
        kind = one if fewest == 1 else several
        what = f"{folds} folds, but the smallest class has {fewest} {kind}, and each fold needs one of them"
        most = (
            f"at most {fewest} folds: --folds {fewest}"
            if fewest > 1
            else "more images of that class, or leave folds out"
        )
        raise UserError(what, where="data.folds", do=f"give {most}")


def _size(share: float | int, whole: int, left: int, part: str) -> int:
    """Return the number of images that `share` of `whole` means."""
    size = share if isinstance(share, int) else round(share * whole)
    if not 0 < size <= left:
        what = f"{part} = {share} means {_images(size)}, but {left or 'none'} {'is' if left == 1 else 'are'} available"
        raise UserError(what, where=f"data.{part}", do=_other_size(size, left, part))
    return size


def _images(number: int) -> str:
    return f"{number} image{'s' * (number != 1)}"


def _other_size(size: int, left: int, part: str) -> str:
    """Return which sizes would fit instead of one that does not."""
    if not left:
        return "make the parts before it smaller: they take all images"
    do = f"give a smaller fraction or at most {_images(left)}" if size > left else "give a larger fraction or 1 image"
    every = "; for all the rest: --set data.train=none" if part == "train" else f"; for none: --set data.{part}=0"
    return do + every


def _cut_groups(
    pool: Index, labels: Index, groups: Index | None, size: int, generator: np.random.Generator, part: str
) -> tuple[Index, Index]:
    """Return about `size` of the positions in `pool`, no group divided, and the rest; exactly as `_cut` without groups.

    Raises:
        UserError: All groups of the pool are too large for a part of this size, or for the rest.
    """
    if groups is None or sizes(groups[pool]).max() == 1:
        return _cut(pool, labels, size, generator)
    share = size / len(pool)
    taken = deal(labels[pool], groups[pool], (share, 1 - share), generator) == 0
    if not taken.any():
        what = f"{part} means {_images(size)}, but each group of images is too large for that"
        raise UserError(what, where=f"data.{part}", do=f"give a larger data.{part}, or smaller groups (data.groups)")
    return pool[taken], pool[~taken]


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
