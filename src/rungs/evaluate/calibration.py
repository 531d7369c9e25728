"""Does 90 % sure mean right nine times in ten?"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15
"""As in Guo et al. 2017, arXiv:1706.04599."""


def calibration(logits: Tensor, labels: Tensor) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """Return the expected calibration error and its bins (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).

    Returns:
        sum over bins of count / N * |accuracy - confidence|, and for each bin of equal width its mean
        confidence, accuracy and count (0, 0, 0 for an empty one).
    """
    confidence, said = logits.double().softmax(1).max(1)
    right = (said == labels).double()
    which = (confidence * BINS).long().clamp(max=BINS - 1)
    zeros = torch.zeros(BINS, dtype=torch.float64)
    counts = torch.bincount(which, minlength=BINS).double()
    mean_confidence = zeros.index_add(0, which, confidence) / counts.clamp(min=1)
    accuracy = zeros.index_add(0, which, right) / counts.clamp(min=1)
    error = float((counts / len(labels) * (accuracy - mean_confidence).abs()).sum())
    rows = zip(mean_confidence.tolist(), accuracy.tolist(), counts.long().tolist(), strict=True)
    return error, tuple((c, a, int(n)) for c, a, n in rows)
