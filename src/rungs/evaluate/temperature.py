"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599): one number that makes confidences honest.

Logits are divided by it: the predicted classes stay, and probabilities become milder (above 1) or sharper (below 1).
"""

from __future__ import annotations

import math

from torch import Tensor

FEWEST = 100
"""Validation images from which it is fitted: log T varies by 0.1 to 0.2 (sd) with 100, half as much with 500."""
BOUNDS = 0.05, 20.0
"""No net needs a temperature beyond these."""
PRIOR_SD = 0.5
"""Of the temperature's logarithm before any image is seen: within a factor of 2.7 of 1 in 95 % of nets."""
HALVINGS = 40
"""Of the range of its logarithm: to within a rounding error."""


def fit(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T, within `BOUNDS`, at which the summed cross-entropy of logits z / T is smallest.

    Its slope over log T, the sum over images of (z_label - E_p[z]) / T, is zero there, which is found by halving an
    interval. Where no image is classified wrongly the best T would be 0, so the weak prior N(0, `PRIOR_SD`) of log T
    counts along; it weighs as much as a few images.

    Args:
        logits: float32 (N, K), of images that the net was not trained on.
        labels: int64 (N,).
    """
    z = logits.double()
    of_labels = z.gather(1, labels[:, None]).sum()
    low, high = (math.log(bound) for bound in BOUNDS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        scaled = z / math.exp(middle)
        slope = (of_labels - (scaled.softmax(1) * z).sum()) / math.exp(middle) + middle / PRIOR_SD**2
        low, high = (middle, high) if slope < 0 else (low, middle)
    return math.exp((low + high) / 2)
