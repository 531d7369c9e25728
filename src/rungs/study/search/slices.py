"""Where in its space a search found what: a panel for each field, and one for each pair of them."""

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
from rungs.study.search import axes as along
from rungs.study.search import words as facts
from rungs.study.search.axes import Scale
from rungs.study.search.history import dress_metric, legend, metric_label, points
from rungs.study.search.record import SearchRecord, TrialRecord

MOST_PAIRED = 3
"""Pairs are made of so many fields, the most important."""
CROWD = 100
"""With more points than these they are drawn smaller."""
BINS = 5
"""Cells into which a range is cut beside choices."""
MOST_NUMBERED = 8
"""With more cells than these along an axis they hold no numbers."""
STACK_HEIGHT, STACK_STEP, MOST_STACKS = 0.035, 0.11, 20
"""Marks of one choice (or of few numbers) closer than this share of the axis stand side by side, so far apart, as a
share of the way to the next choice."""

GOODNESS = LinearSegmentedColormap.from_list("goodness", ["#d3e2f0", "#9ecae1", "#4292c6", "#08519c", "#06294f"])
"""Darker is better; it prints in grey."""


class Colours(NamedTuple):
    """What gives a value of the metric its colour: darker is better."""

    norm: Normalize
    map: Colormap

    def __call__(self, value: float) -> tuple[float, float, float, float]:
        """Return the colour of a value."""
        red, green, blue, alpha = self.map(float(np.asarray(self.norm(value))))
        return float(red), float(green), float(blue), float(alpha)

    def dark(self, value: float) -> bool:
        """Tell whether letters on the colour have to be white."""
        red, green, blue, _ = self(value)
        return 0.3 * red + 0.59 * green + 0.11 * blue < 0.5  # luma (ITU-R BT.601)


def colours(record: SearchRecord, values: Sequence[float]) -> Colours:
    """Return the colours of values; what is far out on the bad side has the colour of the end."""
    low, high = facts.limits(record.metric, values)
    margin = (high - low) * facts.MARGIN / (1 + 2 * facts.MARGIN)
    map_ = GOODNESS.reversed() if metric.is_loss(record.metric) else GOODNESS
    return Colours(Normalize(low + margin, high - margin, clip=True), map_)


# --- slices -------------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def slices(record: SearchRecord) -> Figure:
    """A panel for each field: the value of every trial over the field's value."""
    valued = facts.of_state(record, "complete", "pruned")
    if not valued:
        return empty("no trial has a value yet")
    all_scales = along.by_importance(record)
    columns = {1: 1, 2: 2, 4: 2}.get(len(all_scales), 3)
    rows = math.ceil(len(all_scales) / columns)
    wide = 6.4 if columns == 1 else 10.4
    words = along.legend_of_choices(record, wide)
    figure = Figure(figsize=(6.4 if columns == 1 else 10.4, 0.8 + 3.0 * rows + 0.16 * words.count("\n")),
                    layout="constrained")  # fmt: skip
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    ends = facts.limits(record.metric, [trial.value for trial in valued if trial.value is not None])
    beyond = 0
    for i, (axes, scale) in enumerate(itertools.zip_longest(grid.flat, all_scales)):
        if scale is None:
            axes.remove()
            continue
        beyond = max(beyond, points(axes, record, _stacked(valued, scale, ends), ends))
        inches = wide / columns - 0.75
        along.dress(axes, "x", scale, inches)
        dress_metric(axes, record)
        if i % columns:
            axes.set_ylabel("")
    legend(figure, record, beyond)
    if words:
        figure.supxlabel(words, x=0.01, ha="left", fontsize=8, color=QUIET)
    return figure


def _stacked(trials: Sequence[TrialRecord], scale: Scale, ends: tuple[float, float]) -> list[tuple[float, TrialRecord]]:
    """Return where each trial lies along a field; those of one choice or number with near values stand side by side."""
    placed = [(x, trial) for trial in trials if (x := along.place(scale, trial.params.get(scale.field))) is not None]
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
    """Return the pairs of the most important fields; none where the search varied one field alone.

    Beside choices, a range of which the trials took few values, as a grid does, is drawn as these values.
    """
    found = itertools.combinations(along.by_importance(record)[:MOST_PAIRED], 2)
    return [
        (along.settled(a, record), along.settled(b, record)) if "choices" in (a.kind, b.kind) else (a, b)
        for a, b in found
    ]


def pairable(record: SearchRecord) -> tuple[TrialRecord, ...]:
    """Return the trials that the pairs are drawn from: complete ones, whose values are all of the same length."""
    return facts.of_state(record, "complete")


@matplotlib.rc_context(STYLE)
def over_pairs(record: SearchRecord) -> Figure:
    """A panel for each pair: the complete trials as coloured dots, or a cell for each pair of choices."""
    shown, trials = pairs(record), pairable(record)
    if not shown or len(trials) < 2:
        return empty("a pair needs two fields and some complete trials")
    fields = [scale.field for pair in shown for scale in pair]
    wide = 6.0 if len(shown) == 1 else 10.8
    words = along.legend_of_choices(record, wide, fields)
    figure = Figure(figsize=(wide, 4.1 + 0.16 * words.count("\n") + 0.15 * bool(words)), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    mapped = colours(record, [trial.value for trial in trials if trial.value is not None])
    inches = wide / len(shown) - 1.0
    for axes, (a, b) in zip(panels, shown, strict=True):
        _pair(axes, record, a, b, mapped)
        along.dress(axes, "x", a, inches)
        along.dress(axes, "y", b, 2.9)
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
        if (x := along.place(a, trial.params.get(a.field))) is not None
        and (y := along.place(b, trial.params.get(b.field))) is not None
        and trial.value is not None
    ]
    if a.kind == "choices" or b.kind == "choices":
        _cells(axes, record, a, b, found, mapped)
        return
    finalists = facts.finalist_trials(record)
    size = 5.5 if len(found) <= CROWD else 4
    for x, y, v, number in sorted(found, key=lambda one: one[3] in finalists):
        ringed, edge = number in finalists, "white" if mapped.dark(v) else QUIET
        axes.plot(x, y, "o", color=mapped(v), markersize=7 if ringed else size, gid="point", clip_on=False,
                  markeredgecolor=VERMILLION if ringed else edge, markeredgewidth=1.8 if ringed else 0.7)  # fmt: skip


Point = tuple[float, float, float, int]
"""x, y, value, number of the trial."""


def _cells(axes: Axes, record: SearchRecord, a: Scale, b: Scale, found: Sequence[Point], mapped: Colours) -> None:
    """Colour a cell for each pair of choices (or parts of a range) by the median of its trials, which one that
    diverged does not spoil; write median and n."""
    across, up = along.edges(a, BINS), along.edges(b, BINS)
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
        where = along.middle(a, across[i], across[i + 1]), along.middle(b, up[j], up[j + 1])
        axes.text(*where, f"{number}\nn={len(values)}", ha="center", va="center", fontsize=7.5, linespacing=1.0,
                  color="white" if mapped.dark(middle) else INK, gid="cell")  # fmt: skip
