"""Formatting of a bench's rates and times."""

from __future__ import annotations

from rungs.report import format as fmt


def rate(flops_per_s: float) -> str:
    """Return 5.72e10 as "57.2 GFLOP/s"."""
    return f"{fmt.flops(round(flops_per_s))}/s"


def seconds(value: float) -> str:
    """Return a short time, 0.0123, as "12.3 ms"."""
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.2f} s" if value < 10 else fmt.seconds(value)
