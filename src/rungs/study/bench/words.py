"""Formatting of a bench's rates and times, and the names of its levers."""

from __future__ import annotations

from rungs.report import format as fmt
from rungs.study.bench.record import Lever

WAYS = {
    "winograd": "Winograd",
    "fast": "fastest convolution",
    "direct": "direct convolution",
    "kept": "freed memory kept",
    "returned": "freed memory returned",
    "yes": "compiled",
    "no": "not compiled",
}


def rate(flops_per_s: float) -> str:
    """Return 5.72e10 as "57.2 GFLOP/s"."""
    return f"{fmt.flops(round(flops_per_s))}/s"


def seconds(value: float) -> str:
    """Return a short time, 0.0123, as "12.3 ms"."""
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.2f} s" if value < 10 else fmt.seconds(value)


def way(value: str) -> str:
    """Return a side of a lever: "winograd" as "Winograd", "no" as "not compiled"; fp32 and bf16 stay."""
    return WAYS.get(value, value)


def ways(lever: Lever) -> str:
    """Return what a lever compares: "Winograd / direct convolution", "freed memory kept / returned"."""
    return f"{way(lever.used)} / {way(lever.other).removeprefix('freed memory ')}"
