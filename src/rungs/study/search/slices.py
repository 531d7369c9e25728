"""A search's values across its space: a panel for each field, and one for each pair of fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rungs.report import metric
from rungs.report.style import FAINT, INK, QUIET, STYLE, VERMILLION, empty
from rungs.study.search import axes as search_axes
from rungs.study.search import words as search_words
from rungs.study.search.axes import Scale
from rungs.study.search.history import format_metric_axis, legend, metric_label, points
from rungs.study.search.record import SearchRecord, TrialRecord

MOST_PAIRED = 3
"""Number of fields that are paired, the most important ones."""
CROWD = 100
"""With more points than this, they are drawn smaller."""
BINS = 5
"""Bins of a range that is paired with choices."""
MOST_NUMBERED = 8
"""With more cells along an axis, they hold no numbers."""
STACK_HEIGHT, STACK_STEP, MOST_STACKS = 0.035, 0.11, 20
"""Marks of one choice (or number) closer than this share of the axis are drawn side by side; their spacing, as a share
of the distance to the next choice; and the most distinct numbers for which this is done."""

GOODNESS = LinearSegmentedColormap.from_list("goodness", ["#d3e2f0", "#9ecae1", "#4292c6", "#08519c", "#06294f"])
"""Darker is better; it prints in grey."""


class Colours(NamedTuple):
    """Maps values of the metric to colours: darker is better."""

    norm: Normalize
    map: Colormap

    def __call__(self, value: float) -> tuple[float, float, float, float]:
        """Return the colour of a value."""
        red, green, blue, alpha = self.map(float(np.asarray(self.norm(value))))
        return float(red), float(green), float(blue), float(alpha)

    def dark(self, value: float) -> bool:
        """Return whether text on this colour has to be white."""
        red, green, blue, _ = self(value)
        return 0.3 * red + 0.59 * green + 0.11 * blue < 0.5  # luma (ITU-R BT.601)


def colours(record: SearchRecord, values: Sequence[float]) -> Colours:
    """Return the colour map of values; bad outliers get the end colour."""
    low, high = search_words.limits(record.metric, values)
    margin = (high - low) * search_words.MARGIN / (1 + 2 * search_words.MARGIN)
    map_ = GOODNESS.reversed() if metric.is_loss(record.metric) else GOODNESS
    return Colours(Normalize(low + margin, high - margin, clip=True), map_)


# --- slices -------------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def slices(record: SearchRecord) -> Figure:
    """A panel for each field: the value of every trial over the field's value."""
    valued = search_words.of_state(record, "complete", "pruned")
    if not valued:
        return empty("no trial has a value yet")
    all_scales = search_axes.by_importance(record)
    columns = {1: 1, 2: 2, 4: 2}.get(len(all_scales), 3)
    rows = math.ceil(len(all_scales) / columns)
    wide = 6.4 if columns == 1 else 10.4
    words = search_axes.legend_of_choices(record, wide)
    figure = Figure(figsize=(6.4 if columns == 1 else 10.4, 0.8 + 3.0 * rows + 0.16 * words.count("\n")),
                    layout="constrained")  # fmt: skip
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    ends = search_words.limits(record.metric, [trial.value for trial in valued if trial.value is not None])
    beyond = 0
    for i, (axes, scale) in enumerate(itertools.zip_longest(grid.flat, all_scales)):
        if scale is None:
            axes.remove()
            continue
        beyond = max(beyond, points(axes, record, _stacked(valued, scale, ends), ends))
        inches = wide / columns - 0.75
        search_axes.format_axis(axes, "x", scale, inches)
        format_metric_axis(axes, record)
        if i % columns:
            axes.set_ylabel("")
    legend(figure, record, beyond)
    if words:
        figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=QUIET)
    return figure


def _stacked(trials: Sequence[TrialRecord], scale: Scale, ends: tuple[float, float]) -> list[tuple[float, TrialRecord]]:
    """Return the x position of each trial; trials of one choice or number with close values are set side by side."""
    placed = [
        (x, trial) for trial in trials if (x := search_axes.place(scale, trial.params.get(scale.field))) is not None
    ]
    distinct = sorted({x for x, _ in placed})
    if scale.kind == "log" or len(distinct) > MOST_STACKS:
        return placed
    gap = 1.0 if scale.kind == "choices" else min((b - a for a, b in itertools.pairwise(distinct)), default=0.0)
    found: list[tuple[float, TrialRecord]] = []
    height = STACK_HEIGHT * (ends[1] - ends[0])

    def level(one: tuple[float, TrialRecord]) -> tuple[float, int]:
        return one[0], math.floor((one[1].value or 0.0) / height)

    for (x, _), group in itertools.groupby(sorted(placed, key=lambda one: (level(one), one[1].number)), key=level):
        row = list(group)
        step = gap * min(STACK_STEP, 0.84 / len(row))
        found += [(x + step * (i - (len(row) - 1) / 2), trial) for i, (_, trial) in enumerate(row)]
    return found


# --- pairs --------------------------------------------------------------------------------------------


def pairs(record: SearchRecord) -> list[tuple[Scale, Scale]]:
    """Return the pairs of the most important fields; none if the search varied a single field.

    Paired with choices, a range with few distinct values, as in a grid, is drawn as choices.
    """
    found = itertools.combinations(search_axes.by_importance(record)[:MOST_PAIRED], 2)
    return [
        (search_axes.as_choices(a, record), search_axes.as_choices(b, record))
        if "choices" in (a.kind, b.kind)
        else (a, b)
        for a, b in found
    ]


def pairable(record: SearchRecord) -> tuple[TrialRecord, ...]:
    """Return the trials for the pairs: complete ones, which all ran for the same number of epochs."""
    return search_words.of_state(record, "complete")


@matplotlib.rc_context(STYLE)
def over_pairs(record: SearchRecord) -> Figure:
    """A panel for each pair: complete trials as coloured dots, or a cell for each pair of choices."""
    shown, trials = pairs(record), pairable(record)
    if not shown or len(trials) < 2:
        return empty("a pair needs two fields and some complete trials")
    fields = [scale.field for pair in shown for scale in pair]
    wide = 6.0 if len(shown) == 1 else 10.8
    words = search_axes.legend_of_choices(record, wide, fields)
    figure = Figure(figsize=(wide, 4.1 + 0.16 * words.count("\n") + 0.15 * bool(words)), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    mapped = colours(record, [trial.value for trial in trials if trial.value is not None])
    inches = wide / len(shown) - 1.0
    for axes, (a, b) in zip(panels, shown, strict=True):
        _pair(axes, record, a, b, mapped)
        search_axes.format_axis(axes, "x", a, inches)
        search_axes.format_axis(axes, "y", b, 2.9)
        axes.grid(False)
    scale = figure.colorbar(ScalarMappable(mapped.norm, mapped.map), ax=list(panels), shrink=0.85, aspect=28, pad=0.015)
    scale.set_label(metric_label(record) + " (darker is better)")
    if not metric.is_loss(record.metric):
        scale.ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}"))
    if words:
        figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=QUIET)
    return figure


def _pair(axes: Axes, record: SearchRecord, a: Scale, b: Scale, mapped: Colours) -> None:
    found = [
        (x, y, trial.value, trial.number)
        for trial in pairable(record)
        if (x := search_axes.place(a, trial.params.get(a.field))) is not None
        and (y := search_axes.place(b, trial.params.get(b.field))) is not None
        and trial.value is not None
    ]
    if a.kind == "choices" or b.kind == "choices":
        _cells(axes, record, a, b, found, mapped)
        return
    finalists = search_words.finalist_trials(record)
    size = 5.5 if len(found) <= CROWD else 4
    for x, y, v, number in sorted(found, key=lambda one: one[3] in finalists):
        ringed, edge = number in finalists, "white" if mapped.dark(v) else QUIET
        axes.plot(x, y, "o", color=mapped(v), markersize=7 if ringed else size, gid="point", clip_on=False,
                  markeredgecolor=VERMILLION if ringed else edge, markeredgewidth=1.8 if ringed else 0.7)  # fmt: skip


Point = tuple[float, float, float, int]
"""x, y, value, number of the trial."""


def _cells(axes: Axes, record: SearchRecord, a: Scale, b: Scale, found: Sequence[Point], mapped: Colours) -> None:
    """Colour a cell for each pair of choices (or bins) by the median of its trials, which is robust to one that
    diverged; write median and n."""
    across, up = search_axes.edges(a, BINS), search_axes.edges(b, BINS)
    inside: dict[tuple[int, int], list[float]] = {}
    for x, y, v, _ in found:
        i = min(max(int(np.searchsorted(across, x, side="right")) - 1, 0), len(across) - 2)
        j = min(max(int(np.searchsorted(up, y, side="right")) - 1, 0), len(up) - 2)
        inside.setdefault((i, j), []).append(v)
    middles = np.full((len(up) - 1, len(across) - 1), np.nan)
    for (i, j), values in inside.items():
        middles[j, i] = np.median(values)
    axes.set_facecolor("#f6f8fa")
    axes.pcolormesh(across, up, np.ma.masked_invalid(middles), norm=mapped.norm, cmap=mapped.map,
                    edgecolors=FAINT, linewidth=0.5, gid="cells")  # fmt: skip
    if max(len(across), len(up)) > MOST_NUMBERED + 1:
        return
    for (i, j), values in sorted(inside.items()):
        middle = float(np.median(values))
        number = f"{middle:.2f}" if metric.is_loss(record.metric) else f"{100 * middle:.1f}"
        where = search_axes.middle(a, across[i], across[i + 1]), search_axes.middle(b, up[j], up[j + 1])
        axes.text(*where, f"{number}\nn={len(values)}", ha="center", va="center", fontsize=7.5, linespacing=1.0,
                  color="white" if mapped.dark(middle) else INK, gid="cell")  # fmt: skip
