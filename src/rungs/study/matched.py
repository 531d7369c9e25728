"""Two recipes on the same images: which images each classifies correctly, over pairs of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from rungs.run.predictions import Bools, Floats, Ints, Predictions
from rungs.study.differences import ImageVariance


@dataclass(frozen=True)
class Matched:
    """Pairs of nets that were scored on the same images; N images, or all images of all pairs where sets differ."""

    truth: Ints  # (N,)
    first: Floats  # (N,), share of the pairs in which the first is correct
    second: Floats
    first_loss: Floats  # (N,), mean over the pairs
    second_loss: Floats
    counts: tuple[int, int, int, int]  # images x pairs correct in: both, only the first, only the second, neither
    by_pair: tuple[float, ...]  # difference of the accuracies of each pair

    @property
    def change(self) -> Floats:
        """Second minus first in correctness, (N,), each between -1 and 1."""
        return self.second - self.first

    @property
    def loss_change(self) -> Floats:
        """Second minus first in loss, (N,)."""
        return self.second_loss - self.first_loss


def match(pairs: Sequence[tuple[Predictions, Predictions]], *, same_set: bool) -> Matched:
    """Combine pairs of nets.

    Args:
        pairs: At least one; within a pair both saw the same images in the same order.
        same_set: Whether all pairs saw the same images, so that an image's values can be averaged over them; else
            the images of all pairs are concatenated.
    """
    columns = [_columns(*pair) for pair in pairs]  # each (4, n)
    joined = np.mean(columns, axis=0) if same_set else np.concatenate(columns, axis=1)
    truth = pairs[0][0].truth if same_set else np.concatenate([first.truth for first, _ in pairs])
    both, one, other, neither = np.sum([_counts(a.correct, b.correct) for a, b in pairs], axis=0).tolist()
    return Matched(
        truth=truth,
        first=joined[0],
        second=joined[1],
        first_loss=joined[2],
        second_loss=joined[3],
        counts=(both, one, other, neither),
        by_pair=tuple(float(column[1].mean() - column[0].mean()) for column in columns),
    )


def _columns(first: Predictions, second: Predictions) -> Floats:
    return np.stack([first.correct.astype(float), second.correct.astype(float), first.loss, second.loss])


def _counts(first: Bools, second: Bools) -> tuple[int, int, int, int]:
    both, one, other = (first & second).sum(), (first & ~second).sum(), (~first & second).sum()
    return int(both), int(one), int(other), len(first) - int(both + one + other)


def exact_p(lost: int, gained: int) -> float:
    """Return p of McNemar's exact test (McNemar 1947, doi:10.1007/BF02295996).

    Of the images on which two nets differ, each net is equally likely to be correct if neither is better: two-sided
    binomial test with p = 1/2.

    Args:
        lost: Images that only the first classifies correctly.
        gained: Images that only the second classifies correctly.
    """
    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))  # scipy.stats takes a second to import


def signs(change: Floats) -> tuple[int, int]:
    """Return how many images the second lost and gained, in the mean over the pairs."""
    tiny = 1e-9  # a mean over three pairs is rounded
    return int((change < -tiny).sum()), int((change > tiny).sum())


def variance_over_images(matched: Matched, *, same_set: bool) -> ImageVariance:
    """Return what the choice of images adds to the uncertainty of the mean difference of accuracies.

    Args:
        matched: Pairs of runs, each pair on the same images.
        same_set: Whether all pairs share one set of images. Where each pair has its own, the differences of the pairs
            vary with their images already, and nothing is added for them.
    """
    change, pairs = matched.change, len(matched.by_pair)
    lost, gained = signs(change)
    images = len(change) if same_set else len(change) // pairs
    variance = float(change.var()) / max(1, images)
    shared = same_set or pairs == 1
    return ImageVariance(
        count=images,
        se=math.sqrt(variance) if shared else 0.0,
        pair_variance=0.0 if shared else variance,
        exact_p=exact_p(lost, gained),
    )
