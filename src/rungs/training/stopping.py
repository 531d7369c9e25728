"""The best epoch, and early stopping: pure functions of the rows."""

from __future__ import annotations

from collections.abc import Sequence

from rungs.recipe.spec import StoppingSpec
from rungs.run.record import EpochRow


def cost(row: EpochRow, monitor: str) -> float | None:
    """Return the monitored value, negated if larger is better; None without a validation set."""
    return row.validation_loss if monitor == "validation_loss" else _negative(row.validation_accuracy)


def best_epoch(rows: Sequence[EpochRow], spec: StoppingSpec) -> int | None:
    """Return the epoch whose weights are kept: with the best monitored value, or the last.

    It is the last where the recipe says so, and without a validation set. Ties go to the smaller validation loss, then
    to the earlier epoch.
    """
    if not rows:
        return None
    if spec.keep == "last":
        return rows[-1].epoch
    values = [(value, row.validation_loss, row.epoch) for row in rows if (value := cost(row, spec.monitor)) is not None]
    return min(values)[-1] if values else rows[-1].epoch


def should_stop(rows: Sequence[EpochRow], spec: StoppingSpec) -> bool:
    """Return whether `patience` epochs have passed without an improvement of more than `min_delta`."""
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
