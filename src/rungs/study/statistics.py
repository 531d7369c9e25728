"""Statistics over a few seeds: intervals over runs, differences paired by seed, Holm's correction.

Runs that differ in the seed alone are taken as draws from a normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TypeAlias

from scipy.special import stdtrit

from rungs.run.record import Estimate

LEVEL = 0.05
"""Chance of a false verdict, of all tests of a study together; intervals are of 1 - LEVEL."""

Interval: TypeAlias = tuple[float, float]


def estimate(values: Sequence[float], interval_of_one: Interval | None = None, ratio: float = 0.0) -> Estimate:
    """Return mean, sd and the 95 % interval of the mean over seeds (Student 1908, doi:10.1093/biomet/6.1.1).

    Args:
        values: One per seed, at least one.
        interval_of_one: For a single seed, which has no spread: Wilson's interval over its images.
        ratio: n_test / n_train, if the values are of folds of one set, which are not independent: see `of_folds`.
    """
    n, centre = len(values), float(mean(values))
    if n == 1:
        low, high = interval_of_one or (None, None)
        return Estimate(n=1, mean=centre, sd=None, low=low, high=high)
    sd = float(stdev(values))
    half = _quantile(n) * sd * math.sqrt(mean_variance(n, ratio))
    return Estimate(n=n, mean=centre, sd=sd, low=centre - half, high=centre + half)


def of_folds(accuracies: Sequence[float], accuracy: float, over_images: Interval, ratio: float) -> Interval:
    """Return the 95 % interval of a cross-validated accuracy.

    The folds' nets share most of their training images, so their accuracies are not independent: the variance of the
    mean is (1/k + n_test/n_train) s^2, with Student's t of k - 1 degrees of freedom (Nadeau and Bengio 2003,
    doi:10.1023/A:1024068626366); validation images are not in n_train. Where the interval over images
    reaches further, it counts: folds of few images may agree by chance.

    Args:
        accuracies: Of each fold, two or more.
        accuracy: Over all images.
        over_images: Wilson's interval over all images.
        ratio: n_test / n_train, the mean over folds.
    """
    folds = len(accuracies)
    half = _quantile(folds) * float(stdev(accuracies)) * math.sqrt(mean_variance(folds, ratio))
    low, high = min(accuracy - half, over_images[0]), max(accuracy + half, over_images[1])
    return max(0.0, low), min(1.0, high)


def mean_variance(n: int, ratio: float = 0.0) -> float:
    """Return the variance of the mean of n values with a variance of 1, independent or of n folds of one set.

    Args:
        n: How many.
        ratio: n_test / n_train of the folds, by which the variance is larger (see `of_folds`); 0: independent.
    """
    return 1 / n + ratio


def paired(rung: Mapping[int, float], base: Mapping[int, float]) -> tuple[float, ...]:
    """Return rung - base of the seeds that both have, in order of seed."""
    return tuple(rung[seed] - base[seed] for seed in sorted(rung.keys() & base.keys()))


def holm(ps: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p values corrected for all of these tests (Holm 1979, Scand. J. Statist. 6, 65-70); None does not count.

    The i-th smallest of m (from 0) is multiplied by m - i, and is never below a smaller one's.
    """
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    ranked = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    for rank, (p, place) in enumerate(ranked):
        highest = max(highest, min(1.0, (len(ranked) - rank) * p))
        corrected[place] = highest
    return tuple(corrected)


def _quantile(n: int) -> float:
    """Return the two-sided 95 % quantile of Student's t for n values."""
    return float(stdtrit(n - 1, 1 - LEVEL / 2))
