"""The figure of a range test, from its record: the loss as the rate grows, and the results of the checks."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from rungs.report.style import BLUE, FAINT, GREEN, INK, STYLE, VERMILLION
from rungs.run.record import Estimate
from rungs.study.rates.record import RateCheck, RateRecord

HEADROOM = 0.35
"""Room above the first loss, as a share of the fall; higher losses are cut off."""
LEAST_ROOM = 0.1
"""Minimum room, as a share of the loss, for a loss that does not fall."""
ASIDE = 0.16
"""Offset of single seeds from their mean, as a share of the distance between two rates."""
CUT = 1.5
"""Losses of checks are shown up to this multiple of ln K, the loss of guessing among K classes."""
GREY = "#57606a"


@matplotlib.rc_context(STYLE)
def overview(record: RateRecord) -> Figure:
    """Draw the sweep on the left, validation loss and accuracy of the checks on the right."""
    figure = Figure(figsize=(10.6, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
    _sweep(figure.add_subplot(grid[:, 0]), record)
    loss = figure.add_subplot(grid[0, 1])
    accuracy = figure.add_subplot(grid[1, 1])
    _checks(loss, record, "loss")
    _checks(accuracy, record, "accuracy")
    accuracy.set_xlabel("learning rate (ring: suggested)")
    return figure


def _sweep(axes: Axes, record: RateRecord) -> None:
    """Losses of each seed, faint; the median of the smoothed ones, bold; marks for the rates read from it."""
    for i, one in enumerate(record.sweeps):
        label = "batches of each seed" if i == 0 else None
        axes.plot(record.rates[: len(one.losses)], one.losses, color=FAINT, linewidth=1.0, label=label)
    many = "" if len(record.sweeps) == 1 else f", median of {len(record.sweeps)} seeds"
    axes.plot(record.rates[: len(record.median)], record.median, color=BLUE, linewidth=2.4, label=f"smoothed{many}")
    _limit(axes, record)
    axes.set(xscale="log", xlim=(record.rates[0], record.rates[-1]), xlabel="learning rate", ylabel="training loss")
    axes.set_title("Range test: one step at each rate")
    _mark(axes, record.steepest, "steepest fall", VERMILLION, "--")
    _mark(axes, record.lowest, "minimum", GREEN, ":")
    _mark(axes, record.own.rate, "the recipe's own", INK, "-.")
    _mark(axes, record.suggestion, "suggested", BLUE, "-")
    _mark(axes, record.diverged_at, "diverged", GREY, (0, (1, 3)))
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)


def _limit(axes: Axes, record: RateRecord) -> None:
    """Scale the axis to the fall of the loss, not to its rise on divergence."""
    lows = [min(one.losses) for one in record.sweeps if one.losses]
    if not lows or not record.median:
        return
    low, start = min(lows), max(one.losses[0] for one in record.sweeps if one.losses)
    room = max(HEADROOM * (start - low), LEAST_ROOM * start)
    axes.set_ylim(max(0.0, low - 0.3 * room), start + room)


def _mark(axes: Axes, rate: float | None, name: str, colour: str, line: object) -> None:
    """Draw a line at a rate, if there is one; the legend has its number."""
    if rate is not None:
        label = f"{name}: {rate:.2g}"
        axes.axvline(rate, color=colour, linestyle=line, linewidth=1.5, label=label, zorder=1.5)


def _checks(axes: Axes, record: RateRecord, what: str) -> None:
    """Mean and 95 % interval of each rate over its seeds, the single seeds faint, the suggested rate ringed."""
    factor, most = (100.0, 1.0) if what == "accuracy" else (1.0, math.inf)
    for x, check in enumerate(record.checks):
        found: Estimate | None = getattr(check, what)
        values = [factor * value for value in _values(check, what)]
        axes.plot([x + ASIDE] * len(values), values, "_", color="#8b949e", markersize=7, zorder=2)
        if found is None:
            style: dict[str, Any] = {"ha": "center", "va": "center", "transform": axes.get_xaxis_transform()}
            axes.text(x, 0.5, "diverged", rotation=90, color=VERMILLION, **style)
            continue
        low, high = (found.mean if end is None else min(max(end, 0.0), most) for end in (found.low, found.high))
        errors = ([factor * (found.mean - low)], [factor * (high - found.mean)])
        colour = INK if check is record.own else VERMILLION if check is record.guess else GREY
        axes.errorbar(x, factor * found.mean, errors, fmt="o", color=colour, markersize=6, capsize=3)
        if check is record.best:
            axes.plot(x, factor * found.mean, "o", markersize=13, markerfacecolor="none", color=BLUE)
    _frame(axes, record)
    if what == "loss":
        _cut(axes, record)
    axes.set_title("Checks: validation loss of short runs" if what == "loss" else "Their validation accuracy")
    axes.set_ylabel("loss" if what == "loss" else "accuracy, %")


def _cut(axes: Axes, record: RateRecord) -> None:
    """Cut off losses far above chance level, which would flatten all others, and print their means."""
    top = CUT * math.log(len(record.data.classes))
    if axes.get_ylim()[1] <= top:
        return
    axes.set_ylim(top=top)
    for x, check in enumerate(record.checks):
        if check.loss is not None and check.loss.mean > top:
            style: dict[str, Any] = {"ha": "center", "va": "top", "transform": axes.get_xaxis_transform()}
            axes.text(x, 0.98, f"↑ {check.loss.mean:.3g}", color=VERMILLION, **style)


def _values(check: RateCheck, what: str) -> list[float]:
    values = check.losses if what == "loss" else check.accuracies
    return [value for value in values if value is not None]


def _frame(axes: Axes, record: RateRecord) -> None:
    """Label the checked rates at equal spacing, because some are too close for a scale."""
    names = [f"{check.rate:g}" for check in record.checks]
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(axis="x", length=0)
