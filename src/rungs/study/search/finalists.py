"""The figure of a search's optimism: each finalist's value in the search and on fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rungs.report import metric
from rungs.report.metric import clipped
from rungs.report.style import BLUE, INK, QUIET, STYLE, VERMILLION, empty, plain
from rungs.study.ladder.staircase import bar
from rungs.study.search import words as search_words
from rungs.study.search.history import format_metric_axis
from rungs.study.search.record import Finalist, SearchRecord

ROOM_FOR_INTERVALS = 0.35
"""Intervals are clipped this far beyond the outermost marks, as a share of the marks' span."""
MOST_ROWS = 20


@matplotlib.rc_context(STYLE)
def finalists(record: SearchRecord) -> Figure:
    """A row for each finalist: its value in the search and on fresh seeds; the gap is its optimism.

    The interval of the winner, and its optimism, are those of its corrected value.
    """
    rows = record.finalists[:MOST_ROWS]
    if not rows:
        return empty("no trial was retrained yet")
    figure = Figure(figsize=(9.2, 1.7 + 0.55 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    ends = _finalist_limits(record, rows)
    for i in range(0, len(rows), 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#f6f8fa", linewidth=0, zorder=0)
    for i, one in enumerate(rows):
        _row(axes, record, one, i, ends)
    base = next((one for one in rows if one.name == search_words.RECIPE), None)
    if base is not None:
        axes.axvline(base.rerun.mean, color="#8b949e", linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    names = [plain(one.name, 30) + ("\n(winner)" if one.name == record.winner else "") for one in rows]
    axes.set_yticks(range(len(rows)), names, linespacing=1.05)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(False, axis="y")
    axes.set(xlim=ends, ylim=(len(rows) - 0.5, -0.5))
    format_metric_axis(axes, record, vertical=False)
    head = "optimism" + ("" if metric.is_loss(record.metric) else ",\npoints")
    axes.text(1.015, -0.62, head, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, color=QUIET)
    figure.legend(handles=_finalist_legend(record, rows), loc="outside upper left", ncols=3, columnspacing=1.4)
    return figure


def _finalist_limits(record: SearchRecord, rows: Sequence[Finalist]) -> tuple[float, float]:
    marks = [one.rerun.mean for one in rows] + [one.searched for one in rows if one.searched is not None]
    marks += [v for one in rows for v in search_words.by_seed(record, one.name).values()]
    measured = [search_words.corrected(record, one) or one.rerun for one in rows]
    marks += [value.mean for value in measured]
    bars = [end for value in measured if value.low is not None and value.high is not None
            for end in clipped(record.metric, value.low, value.high)]  # fmt: skip
    span = max(marks) - min(marks)
    room = max(ROOM_FOR_INTERVALS * span, 0.004)
    low, high = max(min(marks) - room, min([*marks, *bars])), min(max(marks) + room, max([*marks, *bars]))
    margin = max(search_words.MARGIN * (high - low), 0.001)
    return low - margin, high + margin


def _row(axes: Axes, record: SearchRecord, one: Finalist, i: int, ends: tuple[float, float]) -> None:
    corrected = search_words.corrected(record, one)
    value = corrected or one.rerun
    if one.searched is not None:
        axes.plot([one.searched, value.mean], [i - 0.22, i + 0.12], color=VERMILLION, linewidth=1.1, zorder=2,
                  gid="optimism")  # fmt: skip
        axes.plot(one.searched, i - 0.22, "D", color=VERMILLION, markerfacecolor="white", markersize=7,
                  markeredgewidth=1.6, zorder=4, gid="searched")  # fmt: skip
    if value.low is not None and value.high is not None:
        bar(axes, clipped(record.metric, value.low, value.high), i + 0.12, BLUE, ends)
    seeds = list(search_words.by_seed(record, one.name).values())
    if len(seeds) > 1:
        axes.plot(seeds, [i + 0.32] * len(seeds), "o", color=BLUE, alpha=0.6, markersize=4, markeredgewidth=0,
                  gid="seed", zorder=3.5)  # fmt: skip
    axes.plot(one.rerun.mean, i + 0.12, "o", color=BLUE, markersize=7, zorder=4, gid="rerun")
    if corrected is not None:
        axes.plot(corrected.mean, i + 0.12, "s", color=BLUE, markerfacecolor="white", markersize=7,
                  markeredgewidth=1.6, zorder=4.5, gid="corrected")  # fmt: skip
    optimism = search_words.optimism(record, one)
    if optimism is not None:
        text = metric.signed(record.metric, optimism.mean)
        axes.annotate(text, (1, i), (52, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                      ha="right", va="center", color=VERMILLION if optimism.mean > 0 else QUIET)  # fmt: skip


def _finalist_legend(record: SearchRecord, rows: Sequence[Finalist]) -> list[Line2D]:
    found = []
    if any(one.searched is not None for one in rows):
        found.append(Line2D([], [], marker="D", color=VERMILLION, markerfacecolor="white", markersize=7, linewidth=1.1,
                            markeredgewidth=1.6, label="in the search, one seed"))  # fmt: skip
    many = any(one.rerun.n > 1 for one in rows)
    words = "retrained: mean over seeds, 95 % interval" if many else "retrained, one seed"
    found.append(Line2D([], [], marker="o", color=BLUE, markersize=7, linewidth=1.6, label=words))
    if many and any(len(search_words.by_seed(record, one.name).values()) > 1 for one in rows):
        found.append(Line2D([], [], marker="o", linestyle="", color=BLUE, alpha=0.5, markersize=4, label="one seed"))
    if any(search_words.corrected(record, one) for one in rows):
        found.append(Line2D([], [], marker="s", color=BLUE, markerfacecolor="white", markersize=7, linewidth=1.6,
                            markeredgewidth=1.6, label="the winner, corrected"))  # fmt: skip
    if any(one.name == search_words.RECIPE for one in rows):
        line: Any = {"color": "#8b949e", "linewidth": 1.1, "linestyle": (0, (4, 3))}
        found.append(Line2D([], [], **line, label="the unchanged recipe"))
    return found
