"""Metrics of one pass: sums first, divided once."""

from __future__ import annotations

import base64
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.run.record import EvalResult, Mistake, PerImage

Z95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


def sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return float64 (3,): the summed cross-entropy, the number right, the number of images."""
    loss = F.cross_entropy(logits, labels, reduction="sum").double()
    right = (logits.argmax(1) == labels).sum().double()
    return torch.stack([loss, right, torch.tensor(float(len(labels)), dtype=torch.float64, device=logits.device)])


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    `scipy.stats` has it, too, and takes longer to import than a small training takes; a test holds the two equal.
    """
    if n == 0:
        return 0.0, 1.0
    p, z2 = right / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return counts int64 (K, K); row: the truth, column: the predicted class."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def per_image(logits: Tensor, labels: Tensor) -> PerImage:
    """Return the prediction for each image, with its confidence and its loss.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    return PerImage(
        truth=_packed(labels, "<u2"),
        predicted=_packed(predicted, "<u2"),
        confidence=_packed(confidence, "<f4"),
        loss=_packed(F.cross_entropy(logits, labels, reduction="none"), "<f4"),
    )


def _packed(values: Tensor, kind: str) -> str:
    """Return numbers as base64 of `kind`, a little-endian numpy type."""
    return base64.b64encode(values.numpy().astype(kind).tobytes()).decode()


def evaluate(
    logits: Tensor, labels: Tensor, mistakes: tuple[Mistake, ...] = (), *, keep_images: bool = False
) -> EvalResult:
    """Compute every metric of one pass.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        mistakes: The worst mistakes, with pictures, from `rungs.evaluate.mistakes`.
        keep_images: Also keep what was said of each image.
    """
    classes = logits.shape[1]
    loss, right, n = sums(logits, labels).tolist()
    table = confusion(logits.argmax(1), labels, classes)
    hits = table.diagonal().double()
    precision = hits / table.sum(0).clamp(min=1)
    recall = hits / table.sum(1).clamp(min=1)
    f1 = 2 * hits / (table.sum(0) + table.sum(1)).clamp(min=1)
    error, bins = calibration(logits, labels)
    return EvalResult(
        n=int(n),
        loss=loss / n,
        accuracy=right / n,
        accuracy_interval=wilson(int(right), int(n)),
        confusion=tuple(tuple(row) for row in table.tolist()),
        precision=tuple(precision.tolist()),
        recall=tuple(recall.tolist()),
        f1=tuple(f1.tolist()),
        calibration_error=error,
        calibration=bins,
        mistakes=mistakes,
        per_image=per_image(logits, labels) if keep_images else None,
    )


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
