"""Colours and style of every figure, and how a figure is saved.

Colours are those of Okabe and Ito 2008 (https://jfly.uni-koeln.de/color/), distinguishable for every kind
of colour vision; line styles and labels carry the same meaning, so that they also print in grey.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rungs.report import format as fmt
from rungs.run.folder import write_whole

BLUE, VERMILLION, GREEN, INK, FAINT = "#0072b2", "#d55e00", "#009e73", "#1f2328", "#c9ced6"

STYLE: Any = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8b949e",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: small, and drawn with whatever sans-serif there is
    "svg.hashsalt": "rungs",
    "figure.facecolor": "white",
}

LOG_SPAN = 30
"""Values that span more than this factor get a logarithmic axis."""

NUMBERED_CLASSES = 20
"""Up to this many classes, the cells of a confusion matrix hold their numbers."""


@matplotlib.rc_context(STYLE)
def save(figure: Figure, stem: Path) -> bytes:
    """Write `stem`.svg and `stem`.png, byte for byte the same for the same figure; return the SVG."""
    drawn = {"svg": svg(figure), "png": _drawn(figure, "png", {"Software": None})}
    for kind, data in drawn.items():
        write_whole(stem.with_name(f"{stem.name}.{kind}"), data)
    return drawn["svg"]


@matplotlib.rc_context(STYLE)
def svg(figure: Figure) -> bytes:
    """Return a figure as SVG."""
    return _drawn(figure, "svg", {"Date": None, "Creator": None})


def _drawn(figure: Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the SVG holds the text, whatever fonts are here
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    figure.set_layout_engine("none")  # it is laid out: a second kind keeps the places of the first
    return buffer.getvalue()


def log_if_wide(axes: Axes, values: Iterable[float]) -> None:
    """Make the vertical axis logarithmic where its values span more than `LOG_SPAN`."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > LOG_SPAN * min(positive):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())


def empty(text: str) -> Figure:
    """Return a figure that says why there is nothing to draw."""
    figure = Figure(figsize=(5.6, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#57606a")
    return figure


def class_ticks(axes: Axes, classes: Sequence[str], side_inches: float) -> None:
    """Name the classes along both axes, as many of them as fit."""
    every = math.ceil(len(classes) * 12 / (72 * side_inches))  # a label needs 12 points
    shown = range(0, len(classes), every)
    names = [fmt.short(fmt.named(classes[i]), 16).replace("$", r"\$") for i in shown]
    straight = len(classes) > NUMBERED_CLASSES
    turn = 90 if straight else 45
    axes.set_xticks(shown, names, rotation=turn, ha="right", va="center" if straight else "top", rotation_mode="anchor")
    axes.set_yticks(shown, names)
    axes.tick_params(length=0, pad=3, colors=INK)


QUIET, PURPLE = "#57606a", "#a8326d"

PARTS = {"validation_accuracy": ("o", VERMILLION, -0.19), "test_accuracy": ("D", GREEN, 0.19)}
"""Mark, colour, and how far from the middle of its row."""


def plain(text: str, width: int) -> str:
    """Return a text cut to `width`, with nothing in it that matplotlib takes for mathematics."""
    return fmt.short(text, width).replace("$", r"\$")
