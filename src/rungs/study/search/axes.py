"""How the fields of a search are laid along the axes of its figures: ranges, logarithms, choices."""

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
"""Characters of a choice; where a field has a longer one, its choices are drawn as letters."""
INCH_A_CHARACTER = 0.078
"""At the size of the tick labels."""
INCH_A_SMALL_CHARACTER = 0.069
"""At the size of what explains the letters."""
INCHES_A_TICK, INCHES_A_TICK_UPRIGHT = 0.75, 0.45
"""Of a horizontal and of a vertical axis, so that labels do not touch."""
FEW = 8
"""Values of a range that are drawn one by one."""
ROOM = 0.05
"""Of an axis, free beyond both ends of a range."""


class Scale(NamedTuple):
    """The axis of a field."""

    field: str
    kind: Literal["linear", "log", "choices"]
    low: float  # of the range; of choices, 0
    high: float  # of choices, their number less one
    whole: bool  # only whole numbers
    keys: tuple[str, ...] = ()  # of choices, by which a value is found
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


def settled(scale: Scale, record: SearchRecord) -> Scale:
    """Return the axis of a range as one of choices where the trials took few of its values."""
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
    """Return by what a choice is found, however it was written: 1 and 1.0 are one, a list is equal to its JSON."""
    if isinstance(choice, str) and choice[:1] in "[{":
        try:
            choice = json.loads(choice)
        except ValueError:
            return json.dumps(choice)
    if isinstance(choice, int | float) and not isinstance(choice, bool):
        return repr(float(choice))
    return json.dumps(choice, sort_keys=True)


def text(choice: Any) -> str:
    """Return a value of a field as a person reads it: three digits of a number, a list or a table as JSON."""
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
    """Return a value of a field as the figures write it: a letter for a long choice."""
    if choice is None:
        return fmt.NOTHING
    return scale.labels[scale.keys.index(key(choice))] if scale.kind == "choices" else text(choice)


def lettered(scale: Scale) -> bool:
    """Tell whether the choices of a field are drawn as letters."""
    return scale.labels != scale.texts


def place(scale: Scale, choice: Scalar | None) -> float | None:
    """Return where a value lies on the axis; None where a trial has none."""
    if choice is None:
        return None
    return float(scale.keys.index(key(choice))) if scale.kind == "choices" else float(choice)


def unit(scale: Scale, x: float) -> float:
    """Return a place on the axis as a share of it, from 0 to 1; the middle where there is one value."""
    low, high = scale.low, scale.high
    if scale.kind == "log":
        x, low, high = math.log(x), math.log(low), math.log(high)
    return (x - low) / (high - low) if high > low else 0.5


def at(scale: Scale, share: float) -> float:
    """Return the place on the axis at a share of it: the inverse of `unit`."""
    if scale.kind == "log":
        return float(scale.low * (scale.high / scale.low) ** share)
    return scale.low + share * (scale.high - scale.low)


def ends(scale: Scale) -> tuple[float, float]:
    """Return where the drawn axis begins and ends: a little beyond the range."""
    if scale.kind == "choices":
        return -0.5, scale.high + 0.5
    if scale.high == scale.low:
        reach = abs(scale.low) * 0.5 or 0.5
        return scale.low - reach, scale.high + reach
    low, high = at(scale, -ROOM), at(scale, 1 + ROOM)
    return (min(low, scale.low - 0.5), max(high, scale.high + 0.5)) if few_whole(scale) else (low, high)


def few_whole(scale: Scale) -> bool:
    """Tell whether a range has so few whole numbers that each can have a cell of its own."""
    return scale.whole and scale.kind == "linear" and scale.high - scale.low <= 6


def ticks(scale: Scale, most: int) -> list[tuple[float, str]]:
    """Return round places inside a range with their labels, at most `most` of them; of choices all."""
    if scale.kind == "choices":
        return [(float(i), plain(label, LONGEST_CHOICE)) for i, label in enumerate(scale.labels)]
    inside = [v for v in _round(scale, most) if scale.low <= v <= scale.high]
    ends = sorted({scale.low, scale.high})
    return [(v, number(v)) for v in (inside if len(inside) >= 2 else ends)]


def _round(scale: Scale, most: int) -> list[float]:
    """Return round values along a range, some of them perhaps beyond it."""
    decades = math.log10(scale.high / scale.low) if scale.kind == "log" else 0.0
    if decades > 1:
        steps = next((one for one in ((1, 2, 5), (1, 3)) if decades * len(one) < most), (1,))
        values = LogLocator(subs=steps, numticks=most).tick_values(scale.low, scale.high)
    else:
        values = MaxNLocator(most - 1, steps=[1, 2, 2.5, 5, 10], integer=scale.whole).tick_values(scale.low, scale.high)
    return [float(f"{v:.12g}") for v in values]  # 0.15 for 0.15000000000000002, which lies beyond a range to 0.15


def number(v: float, digits: int = 6) -> str:
    """Return a number as short as it can be: 4096, 0.0003, 1e-6."""
    words = f"{v:.0f}" if v.is_integer() and abs(v) < 1e6 else f"{v:.{digits}g}"
    return re.sub(r"e([-+])0*", lambda found: "e" + found[1].replace("+", ""), words)


def dress(axes: Axes, which: Literal["x", "y"], scale: Scale, inches: float, *, label: bool = True) -> None:
    """Give an axis the scale, ticks and name of a field.

    Args:
        axes: What to dress.
        which: Its horizontal or its vertical axis.
        scale: Of the field.
        inches: How long the axis is, so that labels do not touch.
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
    """Return what the letters stand for, for below a figure of this width; "" where there are none."""
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
    """Return the edges of the cells into which an axis is cut: a cell a choice or a whole number, else `bins`."""
    if scale.kind == "choices":
        return np.arange(-0.5, len(scale.keys), dtype=np.float64)
    if few_whole(scale):
        return np.arange(scale.low - 0.5, scale.high + 1, dtype=np.float64)
    return np.array([at(scale, i / bins) for i in range(bins + 1)], dtype=np.float64)


def middle(scale: Scale, low: float, high: float) -> float:
    """Return the middle of a cell as the axis shows it."""
    return math.sqrt(low * high) if scale.kind == "log" else (low + high) / 2
