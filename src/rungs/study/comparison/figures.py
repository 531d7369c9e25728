"""The figures of a comparison: functions from a `CompareRecord` to a matplotlib `Figure`.

A candidate has the same colour, marker and line style in all of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.reliability import draw_bins
from rungs.report.style import FAINT, GREEN, INK, STYLE, VERMILLION, empty, log_if_wide, plain
from rungs.run.reliability import bins
from rungs.study.comparison.record import Candidate, ClassChange, CompareRecord, Pair
from rungs.study.ladder.curves import LINES

MARKERS = "osD^vP*X"
QUIET = "#57606a"
FEW_RUNS = 12
"""Up to this many runs in all, each seed's curve is drawn thin along with the mean."""
MOST_CLASSES = 20
"""Bars for at most this many classes: those with the most flipped images."""
NAME = 26
"""Characters of a candidate's name."""


def look(i: int) -> dict[str, Any]:
    """Return colour and marker of candidate `i`."""
    return {"color": LINES[i % len(LINES)][0], "marker": MARKERS[i % len(MARKERS)]}


# --- the difference -----------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def differences(record: CompareRecord) -> Figure:
    """A row for each pair and part: the difference, its interval over images, and that over images and seeds."""
    pairs = [pair for pair in record.pairs if pair.parts]
    if not pairs:
        return empty("nothing can be compared")
    heights = [len(pair.parts) for pair in pairs]
    figure = Figure(figsize=(7.4, 0.5 + sum(0.62 * rows + 0.65 for rows in heights)), layout="constrained")
    panels = figure.subplots(len(pairs), 1, squeeze=False, height_ratios=[rows + 0.5 for rows in heights])[:, 0]
    for axes, pair in zip(panels, pairs, strict=True):
        _difference(axes, pair)
    panels[-1].set_xlabel(f"accuracy minus that of {plain(record.candidates[0].name, NAME)}, points")
    units = "folds" if any(part.folds for pair in pairs for part in pair.parts) else "seeds"
    handles = [
        Line2D([], [], color=INK, linewidth=6, alpha=0.35, label="95 %, over images alone"),
        Line2D([], [], color=INK, linewidth=1.3, marker="|", markersize=9, label=f"95 %, over images and {units}"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _difference(axes: Axes, pair: Pair) -> None:
    """Draw the parts of a pair, on its own scale."""
    for y, part in enumerate(pair.parts):
        judge = part.part == pair.judged_on
        colour = INK if judge else "#8b949e"
        wide, narrow = ([100 * end for end in ends] for ends in (part.interval, part.images_interval))
        axes.plot(wide, [y, y], color=colour, linewidth=1.3, marker="|", markersize=9)
        axes.plot(narrow, [y, y], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt")
        axes.plot(100 * part.difference, y, "D" if judge else "o", color=colour, markersize=7)
        change = report_metric.signed(f"{part.part}_accuracy", part.difference)
        axes.annotate(change, (100 * part.difference, y), (0, 8), ha="center", fontsize=9,
                      textcoords="offset points", color=colour, fontweight="bold" if judge else "normal")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.1, linestyle=":")
    names = [f"{plain(pair.second, NAME)}\n{part.part}, {fmt.count(part.images)} images" for part in pair.parts]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(axis="y", visible=False)
    axes.set_title(pair.shown, fontsize=9.5)
    low, high = axes.get_xlim()
    reach = max(abs(low), abs(high))
    axes.set_xlim(min(low, -0.12 * reach), max(high, 0.12 * reach))


# --- curves -------------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def curves(record: CompareRecord) -> Figure:
    """Plot loss and accuracy of all candidates together: validation solid, training dashed."""
    if not any(run.curves for one in record.candidates for run in one.runs):
        return empty("no epoch was finished")
    figure = Figure(figsize=(9.2, 4.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, what in ((loss, "loss"), (accuracy, "accuracy")):
        shown: list[float] = []
        for i, one in enumerate(record.candidates):
            shown += _candidate_curves(axes, record, i, one, what)
        axes.set_title(what.capitalize())
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        if what == "loss":
            log_if_wide(axes, shown)
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    lines = [Line2D([], [], color=QUIET, linestyle="--", label="training")]
    if any("validation_loss" in run.curves for one in record.candidates for run in one.runs):
        lines.insert(0, Line2D([], [], color=QUIET, linestyle="-", label="validation"))
    figure.legend(handles=[*_handles(record), *lines], loc="outside upper left", ncols=4)
    return figure


def _candidate_curves(axes: Axes, record: CompareRecord, i: int, one: Candidate, what: str) -> list[float]:
    """Draw the mean over a candidate's runs, with thin lines for single runs; return the values."""
    many, values = sum(len(c.runs) for c in record.candidates), list[float]()
    for part, line in (("train", "--"), ("validation", "-")):
        all_runs = [run.curves[f"{part}_{what}"] for run in one.runs if f"{part}_{what}" in run.curves]
        mean = mean_curve(all_runs)
        if not mean:
            continue
        epochs, style = range(1, len(mean) + 1), look(i)
        marks = {"marker": style["marker"], "markersize": 5, "markevery": max(1, len(mean) // 8)}
        axes.plot(epochs, mean, line, color=style["color"], linewidth=1.8 if part == "validation" else 1.3, **marks)
        if len(all_runs) > 1 and many <= FEW_RUNS:
            for run in all_runs:
                axes.plot(range(1, len(run) + 1), run, line, color=style["color"], linewidth=0.7, alpha=0.35)
        values += mean
    return values


def mean_curve(runs: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of curves; an epoch averages the runs that reached it."""
    longest = max(map(len, runs), default=0)
    return [statistics.fmean(run[i] for run in runs if i < len(run)) for i in range(longest)]


def _handles(record: CompareRecord) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="none", markersize=7, label=plain(one.name, NAME), **look(i))
        for i, one in enumerate(record.candidates)
    ]


# --- cost ---------------------------------------------------------------------------------------------


def work(operations: float) -> str:
    """Return a number of operations as it is written: "268 MFLOP"."""
    return fmt.flops(round(operations))


@matplotlib.rc_context(STYLE)
def pareto(record: CompareRecord, part: str) -> Figure:
    """Plot accuracy against training compute, training time and compute per image; hollow where dominated."""
    prices: tuple[tuple[str, str, Callable[[float], str]], ...] = (
        ("train_flops", "training compute", work),
        ("train_s", "training time", fmt.seconds),
        ("flops", "compute per image", work),
    )
    figure = Figure(figsize=(9.2, 3.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    metric = f"{part}_accuracy"
    for axes, (price, title, show) in zip(panels, prices, strict=True):
        points = [
            (i, cost, one.estimates[metric])
            for i, one in enumerate(record.candidates)
            if metric in one.estimates and (cost := price_of(one, price))
        ]
        axes.set_title(title.capitalize())
        if not points:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=QUIET)
            axes.set_xticks([])
            continue
        best = sorted((c, e.mean) for i, c, e in points if price not in record.candidates[i].dominated)
        low, high = min(c for _, c, _ in points), max(c for _, c, _ in points)
        room = max(1.4, (high / low) ** 0.2)
        axes.set_xscale("log")
        axes.set_xlim(low / room, high * room)
        axes.step([*(c for c, _ in best), high * room], [*(a for _, a in best), best[-1][1]], where="post",
                  color=FAINT, linewidth=2, zorder=1)  # fmt: skip
        for i, cost, found in points:
            style = look(i)
            hollow = price in record.candidates[i].dominated
            if found.low is not None and found.high is not None:
                axes.plot([cost, cost], [max(0, found.low), min(1, found.high)], color=style["color"], linewidth=1.1)
            axes.plot(cost, found.mean, markersize=9, markeredgewidth=1.8, markeredgecolor=style["color"],
                      markerfacecolor="white" if hollow else style["color"], linestyle="none", **style)  # fmt: skip
        places = ticks(low, high)
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_major_formatter(FixedFormatter([show(place) for place in places]))
        axes.xaxis.set_minor_locator(NullLocator())
        if len(places) > 1 and high / low < 2:  # the two numbers would overlap
            for label, side in zip(axes.get_xticklabels(), ("right", "left"), strict=True):
                label.set_horizontalalignment(side)
    panels[0].set_ylabel(f"{part} accuracy")
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    handles = _handles(record)
    if any(one.dominated for one in record.candidates):
        hollow_mark: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "white", "color": QUIET}
        handles.append(Line2D([], [], linestyle="none", label="hollow: dominated by another", **hollow_mark))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def price_of(one: Candidate, price: str) -> float | None:
    """Return what a candidate costs, in FLOPs or seconds; None where it was not measured."""
    if price == "flops":
        return float(one.flops) or None
    return one.estimates[price].mean if price in one.estimates else None


def ticks(low: float, high: float) -> list[float]:
    """Return two tick positions for a logarithmic axis; one where all costs are nearly equal."""
    return [low, high] if high / low > 1.25 else [math.sqrt(low * high)]


# --- classes ------------------------------------------------------------------------------------------


def shown_classes(rows: Sequence[ClassChange]) -> list[ClassChange]:
    """Return the classes that get a bar, the largest gain first."""
    most = sorted(rows, key=lambda row: -(row.gained + row.lost))[:MOST_CLASSES]
    return sorted(most, key=lambda row: row.lost - row.gained)


@matplotlib.rc_context(STYLE)
def classes(pair: Pair) -> Figure:
    """Plot for each class the images gained and lost, and the net change."""
    rows = shown_classes(pair.parts[0].classes) if pair.parts else []
    if not any(row.gained + row.lost for row in rows):
        return empty("both predict the same for every image" if rows else "not the same images")
    figure = Figure(figsize=(7.4, 1.4 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    axes.barh(y, [row.gained for row in rows], color=GREEN, label="gained: correct only in the second")
    lost: dict[str, Any] = {"color": VERMILLION, "hatch": "///", "edgecolor": "white", "linewidth": 0}
    axes.barh(y, [-row.lost for row in rows], label="lost: correct only in the first", **lost)
    net = [row.gained - row.lost for row in rows]
    axes.plot(net, y, "D", color=INK, markersize=6, markeredgecolor="white", label="net change")
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(y, [f"{plain(fmt.named(row.name), 20)}{' *' if row.p_holm < 0.05 else ''}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{abs(x):g}"))
    axes.set_xlabel("images")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


# --- calibration --------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def calibration(record: CompareRecord) -> Figure:
    """Accuracy over confidence of each candidate, with intervals; below, the share of images in each bin."""
    shown = [(i, one) for i, one in enumerate(record.candidates) if one.calibration is not None]
    if not shown:
        return empty("no candidate has a score")
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.2))
    upper.plot([0, 100], [0, 100], ":", color=QUIET, linewidth=1.4)
    for i, one in shown:
        assert one.calibration is not None
        label = f"{plain(one.name, NAME)}: error {fmt.percent(one.calibration.error, 1)}"
        draw_bins(upper, bins(one.calibration.bins), look(i), label)
        images = [n for *_, n in one.calibration.bins]
        edges = [100 * k / len(images) for k in range(len(images) + 1)]
        line, colour = LINES[i % len(LINES)][1], look(i)["color"]
        lower.stairs([100 * n / sum(images) for n in images], edges, linestyle=line, linewidth=1.4, color=colour)
    upper.text(98, 4, "overconfident", ha="right", color=QUIET)
    upper.text(3, 94, "underconfident", color=QUIET)
    upper.set(ylabel="accuracy, %", ylim=(0, 102), xlim=(0, 102))
    lower.set(xlabel="confidence, %", ylabel="images, %", ylim=(0, None))
    figure.legend(loc="outside upper left", ncols=1 if len(shown) < 3 else 2)
    return figure
