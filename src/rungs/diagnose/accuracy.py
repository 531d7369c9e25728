"""Accuracies that rules compare: of guessing, of the kept weights, and of these as a balanced training counts."""

from __future__ import annotations

import math

from rungs.diagnose.cures import Z95
from rungs.run.record import EvalResult, RunRecord


def largest_class(result: EvalResult) -> float:
    """Return the accuracy of always predicting the most frequent class."""
    return max(map(sum, result.confusion)) / max(1, result.n)


def kept_accuracy(record: RunRecord) -> float:
    """Return the training accuracy of the kept weights, or where that was not scored, of their epoch as it ran."""
    if record.train is not None:
        return record.train.accuracy
    kept = min(record.best_epoch or len(record.history), len(record.history))
    return record.history[kept - 1].train_accuracy if kept else 0.0


def as_visited(record: RunRecord, result: EvalResult) -> tuple[float, tuple[float, float], float]:
    """Return an accuracy with each class as frequent as training visits it, to compare with a running one.

    Balanced sampling visits all classes equally often. The accuracy then is the mean recall of the classes.

    Returns:
        The accuracy; its 95 % interval; the accuracy of always predicting the class that is visited most often.
    """
    if record.recipe.data.balance != "sampling":
        return result.accuracy, result.accuracy_interval, largest_class(result)
    images = [sum(row) for row in result.confusion if sum(row)]
    shares = [share for share in result.recall if share is not None]
    middles = [(share * n + 2) / (n + 4) for share, n in zip(shares, images, strict=True)]  # Agresti & Coull 1998
    variance = sum(p * (1 - p) / (n + 4) for p, n in zip(middles, images, strict=True)) / len(images) ** 2
    half, accuracy = Z95 * math.sqrt(variance), result.balanced_accuracy
    return accuracy, (max(0.0, accuracy - half), min(1.0, accuracy + half)), 1 / len(images)
