"""Two nets on the same images: McNemar's test, the paired bootstrap, classes, and how many images would decide.

Here the nets are fixed and the images are a sample of all possible ones; `rungs.study.variation` adds the variation
over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from rungs.run.predictions import Bools, Floats
from rungs.study.comparison.record import ClassChange, Interval, Table
from rungs.study.matched import Matched, exact_p, signs
from rungs.study.statistics import LEVEL, holm

RESAMPLES = 10_000
"""Of the bootstrap: the ends of a 95 % interval then vary by about 1.5 % of its width (Efron & Tibshirani, An
Introduction to the Bootstrap, 1993, section 14.2 asks for 1,000 or more)."""
CHUNK = 2_000_000
"""Draws per chunk, 16 MB."""
FEW_VALUES = 33
"""Differences in correctness take 2 m + 1 values with m pairs of runs: their counts are drawn instead of images."""
POWER = 0.8
MOST_IMAGES = 10_000_000
"""A difference that needs more images than this cannot be decided by images."""
BINS = 15  # of the calibration error, as in `rungs.evaluate.metrics`


# --- tests --------------------------------------------------------------------------------------------


def mid_p(lost: int, gained: int) -> float:
    """Return McNemar's mid-p, which halves the probability of the observed counts (Fagerland, Lydersen & Laake 2013).

    The exact test is conservative: its false positives are rarer than its level. See doi:10.1186/1471-2288-13-91.
    """
    n = lost + gained
    if n == 0 or lost == gained:
        return 1.0
    return float(exact_p(lost, gained) - binom.pmf(min(lost, gained), n, 0.5))


def table(matched: Matched) -> Table:
    """Return the four counts with their p.

    With several pairs an image counts once, for the net that is correct on it more often: the sign test over images,
    which for one pair is McNemar's.
    """
    lost, gained = signs(matched.change)
    both, first, second, neither = matched.counts
    return Table(
        both=both, first=first, second=second, neither=neither, p=exact_p(lost, gained), p_mid=mid_p(lost, gained)
    )


def class_changes(matched: Matched, classes: Sequence[str]) -> tuple[ClassChange, ...]:
    """Return what each class gained and lost, its exact p corrected after Holm for all classes."""
    found = [signs(matched.change[matched.truth == k]) for k in range(len(classes))]
    ps = [exact_p(lost, gained) for lost, gained in found]
    images = np.bincount(matched.truth, minlength=len(classes)).tolist()
    rows = zip(classes, images, found, ps, holm(ps), strict=True)
    return tuple(
        ClassChange(name=name, images=n, lost=lost, gained=gained, p=p, p_holm=p if corrected is None else corrected)
        for name, n, (lost, gained), p, corrected in rows
    )


# --- bootstrap ----------------------------------------------------------------------------------------


def bootstrap(values: Floats, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the 95 % interval of a mean: resample the images with replacement, many times.

    With paired differences this is the paired bootstrap (Efron & Tibshirani 1993, chapter 8). The interval is BCa,
    corrected for bias and for an error that grows with the value (Efron 1987, doi:10.1080/01621459.1987.10478410);
    the acceleration of a mean has the closed form sum of cubes / (6 (sum of squares)^1.5) of the centred values.

    Args:
        values: (N,), N >= 1.
        seed: Of the resampling, so that the interval is reproducible.
        resamples: How many.
    """
    n, centre = len(values), float(values.mean())
    centred = values - centre
    squares = float((centred**2).sum())
    if squares <= 1e-12 * n:
        return centre, centre
    means = _resampled(values, np.random.default_rng(seed), resamples)
    near = 1e-9
    below = ((means < centre - near).sum() + 0.5 * (np.abs(means - centre) <= near).sum()) / resamples
    z0 = float(ndtri(min(max(below, 1 / resamples), 1 - 1 / resamples)))
    acceleration = float((centred**3).sum()) / (6 * squares**1.5)
    ends = (z0 + float(ndtri(share)) for share in (LEVEL / 2, 1 - LEVEL / 2))
    shares = [float(ndtr(z0 + end / (1 - acceleration * end))) for end in ends]
    low, high = np.quantile(means, shares)
    return float(low), float(high)


def _resampled(values: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    """Return the means of `resamples` drawings, (resamples,)."""
    n = len(values)
    distinct, counts = np.unique(np.round(values, 9), return_counts=True)
    if len(distinct) <= FEW_VALUES:
        drawn = generator.multinomial(n, counts / n, size=resamples)  # (resamples, distinct)
        return np.asarray(drawn @ distinct / n)
    at_once = max(1, CHUNK // n)
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    pieces = [values[generator.integers(0, n, (size, n), dtype=np.int32)].mean(axis=1) for size in sizes]
    return np.concatenate(pieces)


def calibration_interval(confidence: Floats, correct: Bools, seed: int = 0, resamples: int = 1000) -> Interval:
    """Return the 95 % interval of the expected calibration error over images.

    It is the basic bootstrap interval (Davison & Hinkley, Bootstrap Methods, 1997, section 5.2): resampling
    inflates the error, as it is a sum of absolute values, and reflecting at the estimate undoes this.

    Args:
        confidence: (N,), probability of the predicted class.
        correct: (N,).
        seed: Of the resampling.
        resamples: How many.
    """
    n, generator = len(confidence), np.random.default_rng(seed)
    which = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = correct - confidence  # (N,)
    found = float(np.abs(np.bincount(which, gap, BINS)).sum() / n)
    errors = np.empty(resamples)
    for i in range(resamples):
        drawn = generator.integers(0, n, n, dtype=np.int32)
        errors[i] = np.abs(np.bincount(which[drawn], gap[drawn], BINS)).sum() / n
    low, high = np.quantile(errors, (LEVEL / 2, 1 - LEVEL / 2))
    return max(0.0, 2 * found - float(high)), min(1.0, max(0.0, 2 * found - float(low)))


# --- sample size --------------------------------------------------------------------------------------

Z_LEVEL, Z_POWER = float(ndtri(1 - LEVEL / 2)), float(ndtri(POWER))


def images_needed(difference: float, discordant: float) -> int | None:
    """Return how many images let McNemar's test detect a difference with 80 % power at 5 % (Connor 1987).

    N = (z(97.5 %) sqrt(psi) + z(80 %) sqrt(psi - delta^2))^2 / delta^2, doi:10.2307/2531961; delta is the difference of
    the accuracies, psi the share of images on which the two differ.

    Args:
        difference: delta.
        discordant: psi; with several pairs of runs the mean square of an image's difference.

    Returns:
        None where it is more than `MOST_IMAGES`.
    """
    if difference**2 * MOST_IMAGES < discordant or discordant == 0:
        return None
    spread = math.sqrt(max(0.0, discordant - difference**2))
    needed = math.ceil((Z_LEVEL * math.sqrt(discordant) + Z_POWER * spread) ** 2 / difference**2)
    return needed if needed <= MOST_IMAGES else None
