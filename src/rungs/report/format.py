"""How numbers look, in one place: for the terminal, the figures and the page."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "–"  # noqa: RUF001


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return 0.8294 as "82.94 %"."""
    return NOTHING if fraction is None else f"{100 * fraction:.{digits}f} %"


def interval(bounds: tuple[float, float], digits: int = 2) -> str:
    """Return (0.8219, 0.8366) as "82.19 – 83.66 %"."""
    return f"{100 * bounds[0]:.{digits}f} {NOTHING} {100 * bounds[1]:.{digits}f} %"


def points(difference: float) -> str:
    """Return a difference of two accuracies, 0.0112, as "+1.12 points"."""
    return f"{100 * difference:+z.2f} points"


def count(number: int) -> str:
    """Return 1234567 as "1,234,567"."""
    return f"{number:,}"


def loss(value: float | None) -> str:
    """Return a loss with four digits behind the point."""
    return NOTHING if value is None else f"{value:.4f}"


def seconds(value: float) -> str:
    """Return 1083.2 as "18 min 3 s": the two largest units, or a fraction of a second below ten."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def flops(number: int) -> str:
    """Return 268435456 as "268 MFLOP": three digits of the largest unit that gives one or more."""
    for factor, unit in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        value = number / factor
        if value >= 0.9995:
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{number} FLOP"


def confidence(probability: float) -> str:
    """Return 0.974 as "97 %"; none is rounded up to "100 %"."""
    return "> 99 %" if probability >= 0.995 else percent(probability, 0)


def many(number: int, what: str, several: str = "") -> str:
    """Return (1, "core") as "1 core" and (2, "core") as "2 cores"; `several` is a plural that takes more than an s."""
    return f"{count(number)} {what if number == 1 else several or f'{what}s'}"


def named(name: str) -> str:
    """Return the name of a class, in quotes if it starts or ends with a space: "cat " looks like "cat"."""
    return name if name == name.strip() else f"'{name}'"


def listed(items: Sequence[object]) -> str:
    """Return "3, 5 and 8"."""
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last


def size(number: int) -> str:
    """Return bytes, 1234567890, as "1.2 GB" (decimal units)."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def shape(output: tuple[int, ...]) -> str:
    """Return (64, 32, 32) as "64 × 32 × 32"."""
    return " × ".join(map(str, output))  # noqa: RUF001


def short(text: str, width: int) -> str:
    """Return `text` in at most `width` characters that can be drawn, the end replaced by an ellipsis."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"
