"""The reliability diagram of a score as numbers: how often predictions of a confidence are correct."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""

FEW = 10
"""Images below which a bin says next to nothing: of 9 images with 5 correct, 27 to 81 % is the interval."""
FEW_OF_CLASS = 20
"""Images of a class below which its recall is hardly known: of 20, half correct, 30 to 70 % is the interval; all, 84 to
100 %."""


class Bin(NamedTuple):
    """Predictions of similar confidence; shares in %."""

    confidence: float  # their mean
    accuracy: float
    low: float  # of the accuracy, 95 % (Wilson)
    high: float
    images: int


def bins(calibration: Sequence[tuple[float, float, int]]) -> tuple[Bin, ...]:
    """Return the bins of `EvalResult.calibration` that hold images, with the intervals of their accuracies."""
    found = []
    for confidence, accuracy, n in calibration:
        if n:
            low, high = wilson(round(accuracy * n), n)
            found.append(Bin(100 * confidence, 100 * accuracy, 100 * low, 100 * high, n))
    return tuple(found)


def merged(
    calibrations: Sequence[Sequence[tuple[float, float, int]]],
) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """Return the expected calibration error and the bins of several scores together, from the bins of each."""
    found = []
    for same in zip(*calibrations, strict=True):
        n = sum(count for _, _, count in same)
        confidence, accuracy = (sum(row[i] * row[2] for row in same) / max(1, n) for i in (0, 1))
        found.append((confidence, accuracy, n))
    error = sum(n * abs(accuracy - confidence) for confidence, accuracy, n in found)
    return error / max(1, sum(n for *_, n in found)), tuple(found)


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    `scipy.stats` has it too, but its import takes longer than a small training; a test checks that the two agree.
    """
    if n == 0:
        return 0.0, 1.0
    p, z2 = correct / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
