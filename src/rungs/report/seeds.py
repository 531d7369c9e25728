"""How much an accuracy moves with the seed, where that was not measured."""

from __future__ import annotations

import math

from rungs.run.record import EvalResult

SEED_SD = 0.02
"""Sd of an accuracy p over seeds, divided by sqrt(p (1 - p)). Of ten rungs of this project's ladders, each measured
with 3 to 5 seeds on the 10,000 test images of CIFAR-10, the median was 0.012 (smallest 0.006: speedrun-94 at 93.3 %, sd
0.17 points; largest 0.033: a first net at 51.8 %, sd 1.66 points; `results/*.json`). With 0.02 and `PRIOR_DF` two equal
recipes with the seed variation of any of these rungs are called different in 2.1 % of comparisons of single runs at
most; with the median and four degrees of freedom it was 29 % (`bench/statistics.md`). At 94 % it is 0.47 points, at
70 % 0.92."""
PRIOR_DF = 2.0
"""Two more runs of a recipe than one weigh as much as `SEED_SD`."""
T_PRIOR = 4.302652729911275
"""The 97.5 % point of Student's t with `PRIOR_DF` degrees of freedom."""


def prior_sd(accuracy: float) -> float:
    """Return the sd over seeds that is assumed of a recipe with such an accuracy; see `SEED_SD`."""
    return SEED_SD * math.sqrt(max(0.0, accuracy * (1 - accuracy)))


def next_run(result: EvalResult, *, same_images: bool, runs: int = 1) -> tuple[float, float]:
    """Return where the accuracy of another run is expected, after one, with 95 % probability.

    Args:
        result: Of the one run.
        same_images: Whether the other run is scored on the same images.
        runs: How many others there are, of which the mean is expected there.
    """
    p = result.accuracy
    variance = prior_sd(p) ** 2 + (0.0 if same_images else p * (1 - p) / max(1, result.n))
    half = T_PRIOR * math.sqrt(variance * (1 + 1 / runs))
    return max(0.0, p - half), min(1.0, p + half)
