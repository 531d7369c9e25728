"""Deal images to the parts of a split, or to folds: stratified by class, groups kept whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


def sizes(groups: Index) -> Index:
    """Return the number of images of each group that has any, by its number."""
    return np.unique(groups, return_counts=True)[1].astype(np.int64)


def in_folds(labels: Index, folds: int, generator: np.random.Generator) -> Index:
    """Return a fold for each image, int64 (N,): in every class, and in all, folds differ by at most one image."""
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class after class, shuffled in each
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[by_class] = np.arange(len(labels)) % folds
    return fold_of


def deal(labels: Index, groups: Index, shares: Sequence[float], generator: np.random.Generator) -> Index:
    """Return a part for each image, int64 (N,), no group divided.

    The largest groups come first, each to the part that lacks most of its classes: that has the smallest share so far
    of the images dealt of them (as in the stratified group folds of scikit-learn, with parts of any size). A part that
    would exceed its share of all images dealt by the largest group does not get it. The groups are shuffled before, so
    that those of one size come by chance.

    Args:
        labels: int64 (N,).
        groups: int64 (N,), the number of each image's group.
        shares: Of each part in the images; they add up to 1.
        generator: Of the shuffle.
    """
    _, group_of, each = np.unique(groups, return_inverse=True, return_counts=True)
    kinds = int(labels.max()) + 1
    counts = np.zeros((len(each), kinds + 1))  # images of each group by class; the last column: all of them
    np.add.at(counts, (group_of, labels), 1)
    counts[:, kinds] = each
    weights = 1 / np.maximum(1, counts.sum(0))  # a rare class weighs as much as a frequent one
    part, surplus = np.array(shares), np.zeros((len(shares), kinds + 1))
    shuffled = generator.permutation(len(each))
    chosen = np.empty(len(each), dtype=np.int64)
    for group in shuffled[np.argsort(-each[shuffled], kind="stable")]:
        after = surplus - np.outer(part, counts[group])  # of each part, if another one gets the group
        cost = (after * weights) @ counts[group]
        cost[after[:, kinds] + each[group] >= each.max()] = np.inf
        chosen[group] = best = int(cost.argmin())
        surplus = after
        surplus[best] += counts[group]
    return np.asarray(chosen[group_of])
