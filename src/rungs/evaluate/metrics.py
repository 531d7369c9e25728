"""Metrics of one pass over a dataset."""

from __future__ import annotations

import base64

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.run.record import EvalResult, Mistake, PerImage, Scaled
from rungs.run.reliability import wilson


def sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Return float64 (3,): the summed cross-entropy, the number correct, the number of images."""
    loss = F.cross_entropy(logits, labels, reduction="sum").double()
    correct = (logits.argmax(1) == labels).sum().double()
    return torch.stack([loss, correct, torch.tensor(float(len(labels)), dtype=torch.float64, device=logits.device)])


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return counts int64 (K, K); rows: the true class, columns: the predicted class."""
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
    logits: Tensor,
    labels: Tensor,
    mistakes: tuple[Mistake, ...] = (),
    *,
    keep_images: bool = False,
    temperature: float = 1.0,
) -> EvalResult:
    """Compute every metric of one pass.

    Precision, recall and F1 are None for a class without images; as in scikit-learn with `zero_division=0`, the
    precision of a class that has images and is never predicted is 0.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        mistakes: The worst mistakes, with pictures, from `rungs.evaluate.mistakes`.
        keep_images: Also keep the prediction for each image.
        temperature: Of the run; the loss and calibration with it are added, where it is not 1.
    """
    classes = logits.shape[1]
    top5 = logits.topk(5, 1).indices.eq(labels[:, None]).any(1).double().mean() if classes > MANY_CLASSES else None
    loss, correct, n = sums(logits, labels).tolist()
    table = confusion(logits.argmax(1), labels, classes)
    hits = table.diagonal().double()
    predicted, images = table.sum(0), table.sum(1)  # (K,)
    present = (images > 0).tolist()
    error, bins = calibration(logits, labels)
    return EvalResult(
        n=int(n),
        loss=loss / n,
        accuracy=correct / n,
        accuracy_interval=wilson(int(correct), int(n)),
        confusion=tuple(tuple(row) for row in table.tolist()),
        top5_accuracy=None if top5 is None else float(top5),
        precision=_of_present(hits / predicted.clamp(min=1), present),
        recall=_of_present(hits / images.clamp(min=1), present),
        f1=_of_present(2 * hits / (predicted + images).clamp(min=1), present),
        calibration_error=error,
        calibration=bins,
        scaled=None if temperature == 1 else scaled(logits, labels, temperature),
        mistakes=mistakes,
        per_image=per_image(logits, labels) if keep_images else None,
    )


def _of_present(shares: Tensor, present: list[bool]) -> tuple[float | None, ...]:
    return tuple(share if there else None for share, there in zip(shares.tolist(), present, strict=True))


def scaled(logits: Tensor, labels: Tensor, temperature: float) -> Scaled:
    """Return the loss and the calibration of logits (N, K) divided by a temperature."""
    error, bins = calibration(logits / temperature, labels)
    loss = float(F.cross_entropy(logits.double() / temperature, labels))
    return Scaled(temperature=temperature, loss=loss, calibration_error=error, calibration=bins)


MANY_CLASSES = 10
"""With more classes, the share of images whose class is among the five most probable is told as well."""
BINS = 15
"""As in Guo et al. 2017, arXiv:1706.04599."""


def calibration(logits: Tensor, labels: Tensor) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """Return the expected calibration error and its bins (Guo et al. 2017, arXiv:1706.04599, equation 3).

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).

    Returns:
        sum over bins of count / N * |accuracy - confidence|, and for each bin of equal width its mean
        confidence, accuracy and count (0, 0, 0 for an empty bin).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    correct = (predicted == labels).double()
    which = (confidence * BINS).long().clamp(max=BINS - 1)
    zeros = torch.zeros(BINS, dtype=torch.float64)
    counts = torch.bincount(which, minlength=BINS).double()
    mean_confidence = zeros.index_add(0, which, confidence) / counts.clamp(min=1)
    accuracy = zeros.index_add(0, which, correct) / counts.clamp(min=1)
    error = float((counts / len(labels) * (accuracy - mean_confidence).abs()).sum())
    rows = zip(mean_confidence.tolist(), accuracy.tolist(), counts.long().tolist(), strict=True)
    return error, tuple((c, a, int(n)) for c, a, n in rows)
