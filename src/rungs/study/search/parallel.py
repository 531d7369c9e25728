"""Parallel coordinates (Inselberg 1985, doi:10.1007/BF01898350): each trial a line through the values of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rungs.report import metric
from rungs.report.style import INK, QUIET, STYLE, VERMILLION, empty
from rungs.study.search import axes as search_axes
from rungs.study.search import words as search_words
from rungs.study.search.axes import Scale
from rungs.study.search.history import PRUNED, metric_label
from rungs.study.search.record import SearchRecord, TrialRecord
from rungs.study.search.slices import colours

MOST_TICKS = 6
"""More would be hard to read among the lines."""
NAMED = 5
"""Number of finalists named at the end of their lines."""
LABEL_GAP = 0.05
"""Least distance between two names at the right end, as a share of the height."""
FADES_ABOVE = 60
"""With more lines than this, they are thinner and more transparent."""


@matplotlib.rc_context(STYLE)
def parallel(record: SearchRecord) -> Figure:
    """A vertical axis for each field and, last, the metric; a line for each trial, darker is better."""
    trials = search_words.of_state(record, "complete", "pruned")
    if not trials:
        return empty("no trial has a value yet")
    shown = search_axes.scales(record)
    wide = max(6.4, 2.4 + 1.55 * len(shown))
    words = search_axes.legend_of_choices(record, wide)
    figure = Figure(figsize=(wide, 4.9 + 0.16 * words.count("\n") + 0.2 * bool(words)), layout="constrained")
    axes = figure.add_subplot()
    ends = search_words.limits(record.metric, [trial.value for trial in trials if trial.value is not None])
    _lines(axes, record, trials, shown, ends)
    for i, scale in enumerate(shown):
        _axis(axes, i, [(search_axes.unit(scale, at), text) for at, text in search_axes.ticks(scale, MOST_TICKS)])
        _name(axes, i, search_axes.wrapped(scale.field, 19))
    _axis(axes, len(shown), _metric_ticks(record, ends))
    _name(axes, len(shown), metric_label(record).replace("validation ", "validation\n"))
    axes.set(xlim=(-0.55, len(shown) + 0.62), ylim=(-0.06, 1.06))
    axes.axis("off")
    figure.legend(handles=_legend(record), loc="outside upper left", ncols=3, columnspacing=1.4)
    if words:
        figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=QUIET)
    return figure


def _lines(
    axes: Axes, record: SearchRecord, trials: Sequence[TrialRecord], shown: Sequence[Scale], ends: tuple[float, float]
) -> None:
    complete = [trial.value for trial in trials if trial.state == "complete" and trial.value is not None]
    colour = colours(record, complete)
    finalists = list(search_words.finalist_trials(record))
    many = len(trials) > FADES_ABOVE
    worst_first = [trial for trial in reversed(search_words.ranked(record)) if trial in trials]
    names = []
    for rank, trial in enumerate(worst_first):
        assert trial.value is not None
        y = [search_axes.unit(scale, at) if (at := search_axes.place(scale, trial.params.get(scale.field))) is not None
             else float("nan") for scale in shown]  # fmt: skip
        y.append(min(1.0, max(0.0, (trial.value - ends[0]) / (ends[1] - ends[0]))))
        x = range(len(y))
        if trial.number in finalists:
            axes.plot(x, y, color=VERMILLION, linewidth=2.4, zorder=5, gid="finalist", marker="o", markersize=4)
            if trial.number in finalists[:NAMED]:
                names.append((y[-1], f"trial {trial.number}"))
        elif trial.state == "pruned":
            look: Any = {"color": PRUNED, "linestyle": (0, (2, 2)), "alpha": 0.25 if many else 0.5}
            axes.plot(x, y, linewidth=0.8, zorder=1.5, gid="pruned", **look)
        else:
            look = {"linewidth": 0.8, "alpha": 0.7} if many else {"linewidth": 1.4, "alpha": 0.9}
            depth = 2 + rank / len(worst_first)
            axes.plot(x, y, color=colour(trial.value), zorder=depth, gid="complete", **look)
    _names(axes, sorted(names), len(shown))


def _names(axes: Axes, names: list[tuple[float, str]], right: int) -> None:
    """Name the finalists right of the last axis, spread out where they would overlap."""
    heights = [y for y, _ in names]
    for _ in range(60):
        for i in range(len(heights) - 1):
            lack = LABEL_GAP - (heights[i + 1] - heights[i])
            if lack > 1e-6:
                heights[i], heights[i + 1] = heights[i] - lack / 2, heights[i + 1] + lack / 2
    for (y, text), height in zip(names, heights, strict=True):
        axes.annotate(text, (right, y), (right + 0.1, height), va="center", color=VERMILLION, fontsize=9, gid="name",
                      arrowprops={"arrowstyle": "-", "color": VERMILLION, "linewidth": 0.7, "shrinkB": 2})  # fmt: skip


def _axis(axes: Axes, x: float, ticks: Sequence[tuple[float, str]]) -> None:
    """Draw a vertical axis with its values on the left."""
    axes.plot([x, x], [0, 1], color=INK, linewidth=1.0, zorder=4, gid="axis")
    for y, text in ticks:
        axes.plot([x - 0.025, x], [y, y], color=INK, linewidth=0.9, zorder=4)
        axes.text(x - 0.045, y, text, ha="right", va="center", fontsize=8, zorder=6, gid="tick",
                  bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8})  # fmt: skip


def _name(axes: Axes, x: float, text: str) -> None:
    axes.text(x, 1.05, text, ha="center", va="bottom", fontsize=9, fontweight="bold", linespacing=1.05, gid="field")


def _metric_ticks(record: SearchRecord, ends: tuple[float, float]) -> list[tuple[float, str]]:
    found = [v for v in MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(*ends) if ends[0] <= v <= ends[1]]
    factor = 1 if metric.is_loss(record.metric) else 100
    return [((v - ends[0]) / (ends[1] - ends[0]), f"{factor * v:g}") for v in found]


def _legend(record: SearchRecord) -> list[Line2D]:
    handles = []
    if search_words.of_state(record, "complete"):
        handles.append(Line2D([], [], color="#2f77b4", linewidth=1.6, label="complete: darker is better"))
    if search_words.of_state(record, "pruned"):
        handles.append(Line2D([], [], color=PRUNED, linestyle=(0, (2, 2)), linewidth=1, label="pruned"))
    if search_words.finalist_trials(record):
        handles.append(Line2D([], [], color=VERMILLION, linewidth=2.4, marker="o", markersize=4, label="finalist"))
    return handles
