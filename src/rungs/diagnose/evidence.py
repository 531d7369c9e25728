"""Small plots that show what a rule saw, as plain records."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rungs.run.record import Evidence, RunRecord, Series

MOST_BARS = 12
"""More bars than these cannot be read in a small picture."""


def curves(
    record: RunRecord,
    names: Sequence[str] = ("train_loss", "validation_loss"),
    *,
    y_label: str = "loss",
    level: float | None = None,
    level_name: str = "",
    at: float | None = None,
    at_name: str = "",
) -> Evidence | None:
    """Return values of the history over the epochs; None where there is none of them.

    Args:
        record: The run.
        names: Fields of `EpochRow`; those that were not measured are left out.
        y_label: What they are.
        level: A value to draw a horizontal line at.
        level_name: What it is.
        at: An epoch to draw a vertical line at.
        at_name: What it is.
    """
    rows = record.history
    series = []
    for name in names:
        values = tuple(finite(getattr(row, name)) for row in rows)
        if any(value is not None for value in values):
            series.append(Series(name=name.rpartition("_")[0].replace("_", " ") or name, y=values))
    if not series:
        return None
    return Evidence(
        x_label="epoch",
        y_label=y_label,
        x=tuple(float(row.epoch) for row in rows),
        series=tuple(series),
        level=finite(level),
        level_name=level_name,
        at=at,
        at_name=at_name,
    )


def bars(
    x: Sequence[str],
    y_label: str,
    values: Sequence[tuple[str, Sequence[float]]],
    *,
    x_label: str = "",
    level: float | None = None,
    level_name: str = "",
) -> Evidence:
    """Return a bar for each name and series, at most `MOST_BARS` names; () or no finite value draws nothing.

    Args:
        x: A name for each bar.
        y_label: What the bars measure.
        values: The name of each series and its values.
        x_label: What the names are.
        level: A value to draw a horizontal line at.
        level_name: What it is.
    """
    kept = range(min(len(x), MOST_BARS))
    return Evidence(
        x_label=x_label,
        y_label=y_label,
        x=tuple(x[i] for i in kept),
        series=tuple(Series(name=name, y=tuple(finite(y[i]) for i in kept)) for name, y in values),
        level=finite(level),
        level_name=level_name,
    )


def finite(value: float | None) -> float | None:
    """Return a value that JSON can hold; None where it is not finite."""
    return float(value) if value is not None and math.isfinite(value) else None
