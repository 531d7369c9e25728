"""The small picture next to a finding: what its rule saw."""

from __future__ import annotations

import math
from typing import Any, cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rungs.report import format as fmt
from rungs.report.reliability import draw_bins
from rungs.report.style import BLUE, FAINT, GREEN, INK, STYLE, VERMILLION, empty, log_if_wide
from rungs.run.record import Evidence
from rungs.run.reliability import Bin

SIZE = (4.0, 2.2)
"""Inches: next to the text of a finding."""
COLOURS = {"train": BLUE, "validation": VERMILLION, "test": GREEN}
OTHERS = (BLUE, VERMILLION, GREEN, "#cc79a7")
LINES = {"train": "--", "test": "-."}
NAME = 20
"""Characters of a bar's name that can be read."""
SMALL: Any = {**STYLE, "font.size": 8.0, "axes.labelsize": 8.0, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}
MARKED = 25
"""Up to this many points, each gets a marker."""


@matplotlib.rc_context(SMALL)
def draw(evidence: Evidence) -> Figure:
    """Draw lines over numbers, or bars over names, with the threshold and the place where it happens."""
    values = [value for series in evidence.series for value in series.y if value is not None and math.isfinite(value)]
    if not values or not evidence.x:
        return empty("nothing was measured")
    named = isinstance(evidence.x[0], str)
    figure = Figure(figsize=_size(evidence) if named else SIZE, layout="constrained")
    axes = figure.subplots()
    (_bars if named else _lines)(axes, evidence)
    handles, labels = axes.get_legend_handles_labels()
    if not named or len(labels) > 1:
        look: dict[str, Any] = {"fontsize": 7.5, "handlelength": 1.5, "columnspacing": 1.1, "handletextpad": 0.5}
        figure.legend(handles, labels, loc="outside upper left", ncols=4, **look)
    return figure


def alt(evidence: Evidence) -> str:
    """Return what the picture shows, for those who cannot see it."""
    names = ", ".join(series.name for series in evidence.series)
    said = f"{evidence.y_label} ({names}) over {evidence.x_label or 'names'}"
    if evidence.level is not None:
        said += f"; {evidence.level_name or 'level'}: {evidence.level:.4g}"
    return said + (f"; {evidence.at_name or 'at'}: {evidence.at:g}" if evidence.at is not None else "")


def _size(evidence: Evidence) -> tuple[float, float]:
    """Return a height in which every bar's name can be read."""
    rows = len(evidence.x) * len(evidence.series)
    return SIZE[0], max(1.5, 0.85 + 0.16 * rows + 0.06 * len(evidence.x))


def _lines(axes: Axes, evidence: Evidence) -> None:
    x = [float(value) for value in evidence.x]
    seen = []
    for i, series in enumerate(evidence.series):
        y = [math.nan if value is None else value for value in series.y]
        if series.images:
            found = map(Bin, x, y, series.low, series.high, series.images)
            draw_bins(axes, tuple(found), {"color": VERMILLION, "markersize": 3.6, "elinewidth": 1.0}, series.name)
            continue
        seen += [value for value in y if math.isfinite(value)]
        marks: dict[str, Any] = {"marker": "o", "markersize": 2.6} if len(x) <= MARKED else {}
        style, colour = LINES.get(series.name, "-"), COLOURS.get(series.name, OTHERS[i % len(OTHERS)])
        axes.plot(x, y, style, color=colour, label=series.name, linewidth=1.5, **marks)
    if evidence.level is not None:
        axes.axhline(evidence.level, linestyle=":", color=INK, linewidth=1.2, label=evidence.level_name or "threshold")
    if evidence.at is not None:
        axes.axvline(evidence.at, color="#8b949e", linewidth=1.2, label=evidence.at_name or "here", zorder=0.5)
    log_if_wide(axes, [*seen, *([evidence.level] if evidence.level is not None else [])])
    whole = all(value == int(value) for value in x)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, min_n_ticks=1))
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(evidence.x_label)
    axes.set_ylabel(evidence.y_label)
    if len(set(x)) == 1:
        axes.set_xlim(x[0] - 0.5, x[0] + 0.5)


def _bars(axes: Axes, evidence: Evidence) -> None:
    """Draw horizontal bars, the first name on top: names are longer than numbers."""
    many = len(evidence.series)
    height = (0.8 if len(evidence.x) > 2 else 0.5) / many
    for i, series in enumerate(evidence.series):
        y = [0.0 if value is None else value for value in series.y]
        places = [row + (i - (many - 1) / 2) * height for row in range(len(y))]
        colour = COLOURS.get(series.name, OTHERS[i % len(OTHERS)])
        drawn = axes.barh(places, y, height * 0.9, color=colour, label=series.name)
        axes.bar_label(drawn, [_short(value) for value in series.y], padding=2, fontsize=7, color=INK)
    if evidence.level is not None:
        axes.axvline(evidence.level, linestyle=":", color=INK, linewidth=1.2, label=evidence.level_name or "threshold")
    axes.set_yticks(range(len(evidence.x)), [fmt.short(cast(str, name), NAME) for name in evidence.x])
    axes.set_ylim(max(len(evidence.x), 2) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    counted = all(value == int(value) for series in evidence.series for value in series.y if value is not None)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=counted, min_n_ticks=1))
    axes.set_xlabel(evidence.y_label)
    axes.set_ylabel(evidence.x_label)
    axes.margins(x=0.16)
    axes.spines["bottom"].set_color(FAINT)


def _short(value: float | None) -> str:
    if value is None:
        return fmt.NOTHING
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
