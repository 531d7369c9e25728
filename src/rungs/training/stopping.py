"""Which epoch is the best and when to stop: pure functions of the rows."""

from __future__ import annotations

from collections.abc import Sequence

from rungs.recipe.spec import StoppingSpec
from rungs.run.record import EpochRow


def cost(row: EpochRow, monitor: str) -> float | None:
    """Return the monitored value with the sign that makes smaller better; None without a validation set."""
    return row.validation_loss if monitor == "validation_loss" else _negative(row.validation_accuracy)


def best_epoch(rows: Sequence[EpochRow], monitor: str) -> int | None:
    """Return the epoch with the best monitored value; the last epoch without a validation set.

    Of equals it is the one with the smaller validation loss, then the first.
    """
    if not rows:
        return None
    judged = [(value, row.validation_loss, row.epoch) for row in rows if (value := cost(row, monitor)) is not None]
    return min(judged)[-1] if judged else rows[-1].epoch


def should_stop(rows: Sequence[EpochRow], spec: StoppingSpec) -> bool:
    """Tell whether `patience` epochs have passed without a gain of more than `min_delta`."""
    if spec.patience is None:
        return False
    best, waited = float("inf"), 0
    for row in rows:
        value = cost(row, spec.monitor)
        if value is not None and value < best - spec.min_delta:
            best, waited = value, 0
        else:
            waited += 1
    return waited >= spec.patience


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
