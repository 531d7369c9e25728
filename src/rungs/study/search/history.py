"""The figures of a search: history, learning curves, importance. Drawn from the record alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rungs.report import format as fmt
from rungs.report import metric
from rungs.report.metric import metric_words
from rungs.report.style import BLUE, GREEN, INK, PURPLE, STYLE, VERMILLION, empty
from rungs.study.search import words as search_words
from rungs.study.search.axes import wrapped
from rungs.study.search.record import SearchRecord, TrialRecord

PRUNED = "#9aa4af"
DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5, "color": BLUE, "alpha": 0.75,
                       "markeredgewidth": 0}  # fmt: skip
CROSS: dict[str, Any] = {"linestyle": "", "marker": "x", "markersize": 4.5, "color": PRUNED, "markeredgewidth": 1.2}
RING: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 10, "markerfacecolor": "none",
                        "markeredgecolor": VERMILLION, "markeredgewidth": 1.6}  # fmt: skip
SQUARE: dict[str, Any] = {"linestyle": "", "marker": "s", "markersize": 9, "markerfacecolor": "none",
                          "markeredgecolor": GREEN, "markeredgewidth": 1.3}  # fmt: skip
FALLEN: dict[str, Any] = {"linestyle": "", "marker": "|", "markersize": 9, "color": PURPLE, "markeredgewidth": 1.8}
"""Markers of trials: complete, pruned, finalist, resumed after its worker died, failed."""
FINALIST_LOOKS: tuple[tuple[str, Any], ...] = (
    (VERMILLION, "-"),
    (GREEN, "--"),
    (PURPLE, "-."),
    ("#b58900", (0, (5, 1))),
    (INK, ":"),
)
FEWEST_FOR_CLOSE_UP = 4
"""Epochs."""
CROWD = 60
"""With more trials than this, curves are drawn thinner."""


def format_metric_axis(axes: Axes, record: SearchRecord, *, vertical: bool = True) -> None:
    """Label the metric's axis, with accuracies in per cent."""
    axis = axes.yaxis if vertical else axes.xaxis
    axis.set_major_locator(MaxNLocator(7 if vertical else 8, steps=[1, 2, 2.5, 5, 10]))
    if not metric.is_loss(record.metric):
        axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g}"))
    axis.set_label_text(metric_label(record))


def metric_label(record: SearchRecord) -> str:
    """Return "validation accuracy, %"."""
    words = metric_words(record.metric)
    return words if metric.is_loss(record.metric) else f"{words}, %"


def points(axes: Axes, record: SearchRecord, xy: Sequence[tuple[float, TrialRecord]], ends: tuple[float, float]) -> int:
    """Draw trials by value: dots, crosses, rings; values beyond the axis as a caret at its end.

    Args:
        axes: To draw on; its limits are set.
        record: The search.
        xy: Pairs of x position and trial; trials without a value are skipped.
        ends: Limits of the metric's axis.

    Returns:
        How many values lie beyond the axis.
    """
    valued = [(x, trial, trial.value) for x, trial in xy if trial.value is not None]
    inside = [(x, trial, v) for x, trial, v in valued if ends[0] <= v <= ends[1]]
    for state, look in (("pruned", CROSS), ("complete", DOT)):
        some = [(x, v) for x, trial, v in inside if trial.state == state]
        if some:
            axes.plot(*zip(*some, strict=True), **look, gid=state)
    in_finals = search_words.finalist_trials(record)
    ringed = [(x, v) for x, trial, v in inside if trial.number in in_finals]
    if ringed:
        axes.plot(*zip(*ringed, strict=True), **RING, gid="finalist", zorder=4)
    for x, trial, v in valued:
        if not ends[0] <= v <= ends[1]:
            colour = BLUE if trial.state == "complete" else PRUNED
            low = v < ends[0]
            edge: Any = {"marker": 7 if low else 6, "color": colour, "markersize": 6, "linestyle": "", "clip_on": False}
            axes.plot(x, ends[0] if low else ends[1], **edge, gid="beyond")
    axes.set_ylim(*ends)
    return len(valued) - len(inside)


def legend(figure: Figure, record: SearchRecord, beyond: int, more: Sequence[Line2D] = ()) -> None:
    """Add a legend of the marks above the panels."""
    handles = [*more]
    for state, look in (("complete", DOT), ("pruned", CROSS)):
        if search_words.of_state(record, state):
            words = state if state == "complete" else "pruned: best value until then"
            handles.append(Line2D([], [], **look, label=words))
    if search_words.finalist_trials(record):
        handles.append(Line2D([], [], **RING, label="finalist: retrained"))
    if beyond:
        low = not metric.is_loss(record.metric)
        caret: Any = {"marker": 7 if low else 6, "linestyle": "", "color": BLUE, "markersize": 6}
        handles.append(Line2D([], [], **caret, label=f"beyond the axis: {fmt.many(beyond, 'mark')}"))
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.4)


# --- history ------------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def history(record: SearchRecord) -> Figure:
    """The value of each trial by number, and the best so far; pruned, resumed and failed trials are marked."""
    valued = search_words.of_state(record, "complete", "pruned")
    if not valued:
        return empty("no trial has a value yet")
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    ends = search_words.limits(record.metric, [trial.value for trial in valued if trial.value is not None])
    more = []
    numbers, best = search_words.best_so_far(record)
    last = max(trial.number for trial in record.trials)
    if numbers:
        x, y = [*numbers, max(last, numbers[-1])], [*best, best[-1]]
        axes.plot(x, y, drawstyle="steps-post", color=INK, linewidth=1.5, zorder=1.5, gid="best-so-far")
        more.append(Line2D([], [], color=INK, linewidth=1.5, label="best complete trial so far"))
    beyond = points(axes, record, [(trial.number, trial) for trial in valued], ends)
    taken = [(t.number, t.value) for t in valued if t.takes_up is not None and t.value is not None]
    if taken:
        inside = [(x, min(max(v, ends[0]), ends[1])) for x, v in taken]
        axes.plot(*zip(*inside, strict=True), **SQUARE, gid="taken-up", zorder=3.5)
        more.append(Line2D([], [], **SQUARE, label="resumed after its worker stopped or died"))
    fallen = [trial.number for trial in record.trials if trial.state == "failed"]
    if fallen:
        low = [0.025] * len(fallen)
        axes.plot(fallen, low, **FALLEN, transform=axes.get_xaxis_transform(), gid="failed")
        more.append(Line2D([], [], **FALLEN, label="failed, or its worker stopped or died"))
    format_metric_axis(axes, record)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))
    axes.set(xlabel="trial number", xlim=(-0.5 - 0.01 * last, last + 0.5 + 0.01 * last))
    legend(figure, record, beyond, more)
    return figure


# --- learning curves ----------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def learning_curves(record: SearchRecord) -> Figure:
    """The metric of every trial by epoch: pruned ones faint, ending in a cross; finalists named.

    The right panel zooms in on the complete trials in the second half of the epochs.
    """
    drawn = [trial for trial in record.trials if any(v is not None for v in trial.curve)]
    if not drawn:
        return empty("no epoch was finished")
    longest = max(len(trial.curve) for trial in drawn)
    half = longest // 2 + 1
    late = [v for trial in drawn if trial.state == "complete" for v in trial.curve[half - 1 :] if v is not None]
    panels = 2 if longest >= FEWEST_FOR_CLOSE_UP and late else 1
    figure = Figure(figsize=(10.4 if panels == 2 else 7.4, 4.4), layout="constrained")
    everything = [v for trial in drawn for v in trial.curve if v is not None]
    ends = search_words.limits(record.metric, everything) if metric.is_loss(record.metric) else _all(everything)
    room = max(0.3, 0.02 * longest)
    views = (("All epochs", 1 - room, ends), ("Second half, zoomed in", half - room / 2, None))
    for axes, (title, first, view) in zip(figure.subplots(1, panels, squeeze=False)[0], views, strict=False):
        _curves(axes, record, drawn, view or search_words.limits(record.metric, late))
        axes.set(xlabel="epoch", xlim=(first, longest + room))
        axes.set_title(title if panels == 2 else "")
    figure.axes[-1].set_ylabel("" if panels == 2 else metric_label(record))
    figure.legend(handles=_curve_legend(record, drawn), loc="outside upper left", ncols=4, columnspacing=1.4)
    return figure


def _curves(axes: Axes, record: SearchRecord, drawn: Sequence[TrialRecord], ends: tuple[float, float]) -> None:
    looks = dict(zip(search_words.finalist_trials(record), FINALIST_LOOKS, strict=False))
    faint = 0.5 if len(drawn) <= CROWD else 0.2
    for trial in drawn:
        if trial.number not in looks:
            _curve(axes, trial, ends, faint)
            continue
        colour, line = looks[trial.number]
        x, y = _shown(trial)
        dots: Any = {"marker": "o", "markersize": 3.5} if len(x) <= 2 else {}
        axes.plot(x, y, color=colour, linestyle=line, linewidth=2.1, zorder=4, gid="finalist", **dots)
    format_metric_axis(axes, record)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_ylim(*ends)


def _curve_legend(record: SearchRecord, drawn: Sequence[TrialRecord]) -> list[Line2D]:
    numbers = {trial.number for trial in drawn}
    looks = [
        pair for pair in zip(search_words.finalist_trials(record), FINALIST_LOOKS, strict=False) if pair[0] in numbers
    ]
    handles = [
        Line2D([], [], color=colour, linestyle=line, linewidth=2.1, label=f"trial {number}, a finalist")
        for number, (colour, line) in looks
    ]
    ringed = {number for number, _ in looks}
    if any(trial.state == "complete" and trial.number not in ringed for trial in drawn):
        handles.append(Line2D([], [], color=BLUE, alpha=0.6, linewidth=1.1, label="complete"))
    if any(trial.state != "complete" for trial in drawn):
        cross: Any = {"marker": "x", "markersize": 5}
        handles.append(Line2D([], [], color=PRUNED, linewidth=0.9, **cross, label="pruned, failed or still running"))
    return handles


def _all(values: Sequence[float]) -> tuple[float, float]:
    margin = search_words.MARGIN * (max(values) - min(values)) or 0.01
    return min(values) - margin, max(values) + margin


def _shown(trial: TrialRecord) -> tuple[list[int], list[float]]:
    """Return the epochs and values of a curve, with NaN where the metric was not finite."""
    return list(range(1, len(trial.curve) + 1)), [math.nan if v is None else v for v in trial.curve]


def _curve(axes: Axes, trial: TrialRecord, ends: tuple[float, float], faint: float) -> None:
    x, y = _shown(trial)
    dots: Any = {"marker": "o", "markersize": 3} if len(x) == 1 else {}
    if trial.state == "complete":
        axes.plot(
            x, y, color=BLUE, alpha=faint, linewidth=1.1 if faint > 0.3 else 0.7, zorder=3, gid="complete", **dots
        )
        return
    axes.plot(x, y, color=PRUNED, alpha=faint, linewidth=0.9, zorder=2, gid="pruned")
    last = [(a, b) for a, b in zip(x, y, strict=True) if ends[0] <= b <= ends[1]]
    if last:
        axes.plot(*last[-1], "x", color=PRUNED, markersize=4.5, zorder=2.5, gid="end")


# --- importance ---------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def importance(record: SearchRecord) -> Figure:
    """A bar for each field: its share of the metric's variance explained by the fields in this space."""
    if not record.importance:
        return empty("too few trials to estimate importance")
    rows = sorted(record.importance.items(), key=lambda item: item[1])
    figure = Figure(figsize=(7.2, 0.95 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    shares = [100 * share for _, share in rows]
    axes.barh(range(len(rows)), shares, height=0.6, color=BLUE)
    axes.set_yticks(range(len(rows)), [wrapped(name, 34) for name, _ in rows], linespacing=1.0)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    top = max(*shares, 1.0)
    for y, share in enumerate(shares):
        axes.text(share + 0.012 * top, y, f"{share:.0f} %" if share >= 1 else "< 1 %", va="center")
    axes.set(xlim=(0, 1.14 * top), ylim=(-0.6, len(rows) - 0.4), xlabel="% of the explained variance")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="y")
    return figure
