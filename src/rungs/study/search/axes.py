"""How the figures of a search scale the axis of each field: linear, logarithmic, or choices."""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, MaxNLocator, NullLocator

from rungs.report import format as fmt
from rungs.report.style import plain
from rungs.study.search.record import SearchRecord
from rungs.study.search.space import Field, Scalar

LONGEST_CHOICE = 12
"""Characters; if any choice of a field is longer, its choices are drawn as letters."""
INCH_A_CHARACTER = 0.078
"""At the size of the tick labels."""
INCH_A_SMALL_CHARACTER = 0.069
"""At the size of the legend of letters."""
INCHES_A_TICK, INCHES_A_TICK_UPRIGHT = 0.75, 0.45
"""Horizontal and vertical, so that labels do not overlap."""
FEW = 8
"""A range with at most this many distinct values is drawn as choices."""
ROOM = 0.05
"""Margin beyond both ends of a range, as a share of the axis."""


class Scale(NamedTuple):
    """The axis of a field."""

    field: str
    kind: Literal["linear", "log", "choices"]
    low: float  # of the range; of choices, 0
    high: float  # of choices, their count minus one
    whole: bool  # only whole numbers
    keys: tuple[str, ...] = ()  # of choices, to look a value up by
    texts: tuple[str, ...] = ()  # of choices, in full
    labels: tuple[str, ...] = ()  # of choices, as drawn


def scales(record: SearchRecord) -> tuple[Scale, ...]:
    """Return the axis of every field of the space, in its order."""
    return tuple(_scale(field, record) for field in record.space.fields)


def by_importance(record: SearchRecord) -> tuple[Scale, ...]:
    """Return the axes of all fields, the most important first."""
    return tuple(sorted(scales(record), key=lambda scale: -record.importance.get(scale.field, 0.0)))


def _scale(field: Field, record: SearchRecord) -> Scale:
    seen = [trial.params[field.field] for trial in record.trials if field.field in trial.params]
    numbers = [v for v in (field.low, field.high, *seen) if isinstance(v, int | float) and not isinstance(v, bool)]
    if field.choices or len(numbers) < len(seen) or not numbers:
        return _choices(field, seen)
    low, high = float(min(numbers)), float(max(numbers))
    whole = all(float(v).is_integer() for v in numbers) and isinstance(field.low, int) and isinstance(field.high, int)
    return Scale(field.field, "log" if field.log and low > 0 else "linear", low, high, whole)


def as_choices(scale: Scale, record: SearchRecord) -> Scale:
    """Return the axis with choices in place of a range if the trials used few distinct values."""
    field = next(one for one in record.space.fields if one.field == scale.field)
    seen = [trial.params[field.field] for trial in record.trials if field.field in trial.params]
    few = scale.kind != "choices" and len(seen) > len({key(value) for value in seen}) <= FEW
    return _choices(field, seen) if few else scale


def _choices(field: Field, seen: Sequence[Scalar]) -> Scale:
    found: dict[str, Any] = {}
    for choice in (*field.choices, *seen):
        found.setdefault(key(choice), choice)
    numeric = all(isinstance(c, int | float) and not isinstance(c, bool) for c in found.values())
    keys = sorted(found, key=float) if numeric else list(found)
    texts = [text(found[k]) for k in keys]
    long = any(len(words) > LONGEST_CHOICE for words in texts)
    labels = [letters(i) if long else words for i, words in enumerate(texts)]
    return Scale(
        field.field, "choices", 0.0, max(len(keys) - 1.0, 0.0), False, tuple(keys), tuple(texts), tuple(labels)
    )


def key(choice: Any) -> str:
    """Return the lookup key of a choice: 1 and 1.0 share a key, and so do a list and its JSON."""
    if isinstance(choice, str) and choice[:1] in "[{":
        try:
            choice = json.loads(choice)
        except ValueError:
            return json.dumps(choice)
    if isinstance(choice, int | float) and not isinstance(choice, bool):
        return repr(float(choice))
    return json.dumps(choice, sort_keys=True)


def text(choice: Any) -> str:
    """Format a field's value for people: numbers to three digits, lists and tables as JSON."""
    if isinstance(choice, float):
        return number(choice, 3)
    if isinstance(choice, list | tuple | dict):
        return json.dumps(choice, ensure_ascii=False)
    if isinstance(choice, bool):
        return "yes" if choice else "no"
    return str(choice)


def letters(i: int) -> str:
    """Return A for 0, Z for 25, A2 for 26."""
    rounds, place = divmod(i, 26)
    return string.ascii_uppercase[place] + (str(rounds + 1) if rounds else "")


def shown(scale: Scale, choice: Scalar | None) -> str:
    """Format a field's value for a figure: a letter for a long choice."""
    if choice is None:
        return fmt.NOTHING
    return scale.labels[scale.keys.index(key(choice))] if scale.kind == "choices" else text(choice)


def lettered(scale: Scale) -> bool:
    """Return whether a field's choices are drawn as letters."""
    return scale.labels != scale.texts


def place(scale: Scale, choice: Scalar | None) -> float | None:
    """Return the position of a value on the axis; None for a missing value."""
    if choice is None:
        return None
    return float(scale.keys.index(key(choice))) if scale.kind == "choices" else float(choice)


def unit(scale: Scale, x: float) -> float:
    """Normalise a position on the axis to 0..1; 0.5 if the axis has a single value."""
    low, high = scale.low, scale.high
    if scale.kind == "log":
        x, low, high = math.log(x), math.log(low), math.log(high)
    return (x - low) / (high - low) if high > low else 0.5


def at(scale: Scale, share: float) -> float:
    """Return the position at a share of the axis: the inverse of `unit`."""
    if scale.kind == "log":
        return float(scale.low * (scale.high / scale.low) ** share)
    return scale.low + share * (scale.high - scale.low)


def ends(scale: Scale) -> tuple[float, float]:
    """Return the limits of the drawn axis: slightly beyond the range."""
    if scale.kind == "choices":
        return -0.5, scale.high + 0.5
    if scale.high == scale.low:
        reach = abs(scale.low) * 0.5 or 0.5
        return scale.low - reach, scale.high + reach
    low, high = at(scale, -ROOM), at(scale, 1 + ROOM)
    return (min(low, scale.low - 0.5), max(high, scale.high + 0.5)) if few_whole(scale) else (low, high)


def few_whole(scale: Scale) -> bool:
    """Return whether a range has few enough whole numbers to give each its own cell."""
    return scale.whole and scale.kind == "linear" and scale.high - scale.low <= 6


def ticks(scale: Scale, most: int) -> list[tuple[float, str]]:
    """Return at most `most` round tick positions inside a range, with labels; for choices, all of them."""
    if scale.kind == "choices":
        return [(float(i), plain(label, LONGEST_CHOICE)) for i, label in enumerate(scale.labels)]
    inside = [v for v in _round(scale, most) if scale.low <= v <= scale.high]
    ends = sorted({scale.low, scale.high})
    return [(v, number(v)) for v in (inside if len(inside) >= 2 else ends)]


def _round(scale: Scale, most: int) -> list[float]:
    """Return round values along a range; some may lie outside it."""
    decades = math.log10(scale.high / scale.low) if scale.kind == "log" else 0.0
    if decades > 1:
        steps = next((one for one in ((1, 2, 5), (1, 3)) if decades * len(one) < most), (1,))
        values = LogLocator(subs=steps, numticks=most).tick_values(scale.low, scale.high)
    else:
        values = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10], integer=scale.whole).tick_values(scale.low, scale.high)
    return [float(f"{v:.12g}") for v in values]  # 0.15000000000000002 would lie outside a range that ends at 0.15


def number(v: float, digits: int = 6) -> str:
    """Format a number as briefly as possible: 4096, 0.0003, 1e-6."""
    words = f"{v:.0f}" if v.is_integer() and abs(v) < 1e6 else f"{v:.{digits}g}"
    return re.sub(r"e([-+])0*", lambda found: "e" + found[1].replace("+", ""), words)


def format_axis(axes: Axes, which: Literal["x", "y"], scale: Scale, inches: float, *, label: bool = True) -> None:
    """Set the scale, ticks and label of an axis for a field.

    Args:
        axes: To format.
        which: The horizontal or the vertical axis.
        scale: Of the field.
        inches: Length of the axis, so that labels do not overlap.
        label: Whether to name the field.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    if scale.kind == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    (axes.set_xlim if which == "x" else axes.set_ylim)(*ends(scale))
    found = ticks(scale, max(3, int(inches / (INCHES_A_TICK if which == "x" else INCHES_A_TICK_UPRIGHT))))
    axis.set_major_locator(FixedLocator([at_ for at_, _ in found]))
    axis.set_major_formatter(FixedFormatter([words for _, words in found]))
    axis.set_minor_locator(NullLocator())
    if (
        which == "x"
        and scale.kind == "choices"
        and sum(len(words) + 1.5 for _, words in found) > inches / INCH_A_CHARACTER
    ):
        axes.tick_params(axis="x", labelrotation=90)
    if label:
        axis.set_label_text(wrapped(scale.field, max(12, int(inches / INCH_A_CHARACTER))))


def wrapped(name: str, width: int) -> str:
    """Break a dotted name at its dots into lines of at most `width` characters."""
    lines: list[str] = []
    parts = name.split(".")
    for part in [f"{part}." for part in parts[:-1]] + parts[-1:]:
        if lines and len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(plain(line, width) for line in lines[:3])


def legend_of_choices(record: SearchRecord, inches: float, fields: Sequence[str] | None = None) -> str:
    """Return the legend of letters for a figure of this width; "" if no field needs one."""
    width, lines = int(inches / INCH_A_SMALL_CHARACTER), []
    for scale in scales(record):
        if lettered(scale) and (fields is None or scale.field in fields):
            lines.append(f"{fmt.short(scale.field, width // 2)}:")
            for label, words in zip(scale.labels, scale.texts, strict=True):
                choice = f"  {label} = {words}"
                if len(lines[-1]) + len(choice) > width:
                    lines.append(" ")
                lines[-1] += choice
    return "\n".join(plain(line, width) for line in lines)


def edges(scale: Scale, bins: int) -> np.ndarray[Any, Any]:
    """Return the bin edges of an axis: one bin per choice or whole number, else `bins`."""
    if scale.kind == "choices":
        return np.arange(-0.5, len(scale.keys), dtype=np.float64)
    if few_whole(scale):
        return np.arange(scale.low - 0.5, scale.high + 1, dtype=np.float64)
    return np.array([at(scale, i / bins) for i in range(bins + 1)], dtype=np.float64)


def middle(scale: Scale, low: float, high: float) -> float:
    """Return the middle of a bin on the axis's scale."""
    return math.sqrt(low * high) if scale.kind == "log" else (low + high) / 2
