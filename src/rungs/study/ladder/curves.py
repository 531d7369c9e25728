"""The figures of a ladder: functions from a `LadderRecord` to a matplotlib `Figure`.

The two largest have files of their own and are re-exported here: `staircase` and `cost`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rungs.report import format as fmt
from rungs.report.metric import is_loss
from rungs.report.style import (
    BLUE,
    FAINT,
    INK,
    NUMBERED_CLASSES,
    STYLE,
    VERMILLION,
    class_ticks,
    empty,
    log_if_wide,
    plain,
)
from rungs.study.ladder import words as ladder_words
from rungs.study.ladder.cost import cost
from rungs.study.ladder.record import LadderRecord, RungRecord
from rungs.study.ladder.staircase import staircase

__all__ = ["confused", "confusions", "confusions_words", "cost", "curves", "curves_words", "staircase"]

DISTINCT = 8
"""Up to this many curves, each has its own colour and line style."""

LINES = (
    ("#000000", "-"), ("#e69f00", "-"), ("#56b4e9", "-"), ("#009e73", "-"),
    ("#0072b2", "--"), ("#d55e00", "--"), ("#cc79a7", "-"), ("#806600", "--"),
)  # fmt: skip
"""Okabe and Ito's colours; their yellow is darkened, to show on white."""

MATRICES = 12
"""Confusion matrices shown at most."""


# --- learning curves ----------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def curves(record: LadderRecord) -> Figure:
    """Plot the learning curves of all rungs together; the best rung is bold, with its best epoch ringed."""
    part = "validation" if any("validation_loss" in cell.curves for rung in record.rungs for cell in rung.cells) else ""
    panels = [f"{part or 'train'}_accuracy", *([f"{part}_loss"] if part else []), "train_loss"]
    if not any(name in cell.curves for name in panels for rung in record.rungs for cell in rung.cells):
        return empty("no epoch was finished")
    figure = Figure(figsize=(9.2, 7.2 if part else 6.4), layout="constrained")
    mosaic: Any = [["accuracy"] * 2, ["first", "last"]] if part else [["accuracy"], ["last"]]
    drawn = figure.subplot_mosaic(mosaic, height_ratios=(5, 4))
    axes = [drawn["accuracy"], *([drawn["first"]] if part else []), drawn["last"]]
    for panel, name in zip(axes, panels, strict=True):
        _all_curves(panel, record, name)
        suffix = " (while training)" if name.startswith("train") else ""
        panel.set_title(f"{name.replace('_', ' ').capitalize()}{suffix}")
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    _raise_floor(axes[0], record, panels[0])
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    by_label = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(by_label.values(), by_label.keys(), loc="outside upper left", ncols=4)
    return figure


def _raise_floor(axes: Axes, record: LadderRecord, name: str) -> None:
    """Cut off the steep start of the accuracy curves, so that their ends can be distinguished."""
    all_curves = [values for rung in record.rungs if ladder_words.finished(rung) and (values := mean_curve(rung, name))]
    if not all_curves:
        return
    top, low = max(map(max, all_curves)), min(values[-1] for values in all_curves)
    floor = math.floor(20 * (top - 3 * max(top - low, 0.03))) / 20
    if floor > min(map(min, all_curves)):
        axes.set_ylim(floor, top + 0.06 * (top - floor))
        axes.set_title(f"{axes.get_title(loc='left')}, from {100 * floor:.0f} %")


def mean_curve(rung: RungRecord, name: str) -> list[float]:
    """Return the mean over finished seeds, over all if none finished; an epoch averages the seeds that reached it."""
    cells = [cell for cell in ladder_words.finished(rung) or rung.cells if cell.curves.get(name)]
    longest = max((len(cell.curves[name]) for cell in cells), default=0)
    rows = ([cell.curves[name][i] for cell in cells if i < len(cell.curves[name])] for i in range(longest))
    return [statistics.fmean(row) for row in rows]


def _all_curves(axes: Axes, record: LadderRecord, name: str) -> None:
    top, lasting = ladder_words.best(record), [0.0]
    for i, rung in enumerate(record.rungs):
        values = mean_curve(rung, name)
        if not values:
            continue
        lasting += values if ladder_words.finished(rung) else []
        epochs = range(1, len(values) + 1)
        style = _curve_style(record, i, rung is top)
        if not ladder_words.finished(rung):
            style |= {"linestyle": ":"}
            axes.plot(epochs[-1], values[-1], "x", color=style["color"], markersize=6)
        if len(values) == 1:
            style |= {"marker": "o", "markersize": 3}
        axes.plot(epochs, values, **style)
        if rung is top:
            _ring(axes, rung, values)
            if len(record.rungs) > DISTINCT:
                axes.annotate(plain(rung.name, 24), (epochs[-1], values[-1]), (6, 0), textcoords="offset points",
                              va="center", fontweight="bold", fontsize=9, gid="name", zorder=6,
                              bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1})  # fmt: skip
    if is_loss(name):
        log_if_wide(axes, lasting)
        if max(lasting) > 0 and axes.get_ylim()[1] > 1.5 * max(lasting):  # diverged runs must not squeeze the others
            axes.set_ylim(top=1.15 * max(lasting))


def _curve_style(record: LadderRecord, i: int, is_best: bool) -> dict[str, Any]:
    strong = {"linewidth": 2.8, "zorder": 4} if is_best else {"linewidth": 1.4, "zorder": 3}
    name = plain(record.rungs[i].name, 26)
    if len(record.rungs) <= DISTINCT:
        colour, line = LINES[i]
        label = f"{name} (best)" if is_best else name
        return {"color": colour, "linestyle": "-" if is_best else line, "label": label, **strong}
    if is_best:
        return {"color": VERMILLION, "linestyle": "-", "label": f"best: {name}", **strong}
    if i == 0:
        return {"color": BLUE, "linestyle": "--", "label": f"first: {name}", "linewidth": 2.0, "zorder": 3.5}
    others = len(record.rungs) - len({0, record.rungs.index(top) if (top := ladder_words.best(record)) else 0})
    return {"color": FAINT, "linestyle": "-", "linewidth": 1.0, "zorder": 2, "label": f"the {others} others"}


def _ring(axes: Axes, rung: RungRecord, values: Sequence[float]) -> None:
    best = [cell.best_epoch for cell in ladder_words.finished(rung) if cell.best_epoch is not None]
    if not best:
        return
    epoch = min(statistics.median_low(best), len(values))
    ring: dict[str, Any] = {"markersize": 9, "markeredgewidth": 1.8, "markeredgecolor": INK, "color": "white"}
    axes.plot(epoch, values[epoch - 1], "o", **ring, clip_on=False, zorder=5, gid="ring")


def curves_words(record: LadderRecord) -> str:
    """Return the caption of `curves`."""
    top, unit = ladder_words.best(record), ladder_words.unit(record)
    words = f"Each line is the mean over the {unit}s of a rung; an epoch averages the {unit}s that reached it."
    if top is not None:
        words += f" {top.name} is the best rung; the ring marks the median kept epoch of its {unit}s."
    if any(not ladder_words.finished(rung) and mean_curve(rung, "train_loss") for rung in record.rungs):
        words += f" Dotted: no {unit} of this rung finished."
    return words


# --- confusion matrices -------------------------------------------------------------------------------


def confused(record: LadderRecord) -> tuple[RungRecord, ...]:
    """Return the rungs whose matrices are shown: all, or the first, the best, and those that differ most."""
    rungs = [rung for rung in record.rungs if rung.confusion]
    if len(rungs) <= MATRICES:
        return tuple(rungs)
    top = ladder_words.best(record)
    must = [rung for rung in rungs if rung is rungs[0] or rung is top]
    others = sorted(
        (rung for rung in rungs if rung not in must),
        key=lambda rung: -abs(rung.difference.mean) if rung.difference else 0.0,
    )
    chosen = [*must, *others[: MATRICES - len(must)]]
    return tuple(rung for rung in rungs if any(rung is one for one in chosen))


def confusions_words(record: LadderRecord) -> str:
    """Return the caption of `confusions`."""
    part = "test" if ladder_words.has(record, "test_accuracy") else "validation"
    all_cells = f"over all {ladder_words.unit(record)}s"
    words = f"Per cent of each true class (rows), {all_cells}, {part} images; the diagonal is correct. "
    words += "Shading follows the square root, so that rare mistakes are visible; all matrices share one scale."
    shown, there = len(confused(record)), sum(bool(rung.confusion) for rung in record.rungs)
    if shown < there:
        words += f" {shown} of {there} rungs: the first, the best, and those with the largest differences."
    return words


@matplotlib.rc_context(STYLE)
def confusions(record: LadderRecord) -> Figure:
    """Plot confusion matrices side by side, in per cent of each row, on one colour scale."""
    rungs, k = confused(record), len(record.data.classes)
    if not rungs:
        return empty("no cell has finished")
    columns = min(4, len(rungs)) if len(rungs) not in (5, 6, 9) else 3
    rows, named = math.ceil(len(rungs) / columns), k <= NUMBERED_CLASSES
    side = min(3.0, 7.2 / columns - 0.2)  # inches
    figure = Figure(figsize=((side + 0.2) * columns + 2.0, (side + 0.55) * rows + 1.0), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    norm = PowerNorm(0.5, vmin=0, vmax=100)
    image = None
    for i, axes in enumerate(grid.flat):
        if i >= len(rungs):
            axes.set_visible(False)
            continue
        table = np.array(rungs[i].confusion, dtype=float)  # (K, K)
        shares = 100 * table / np.maximum(1, table.sum(axis=1, keepdims=True))
        image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
        score = float(np.trace(table) / max(1.0, table.sum()))
        axes.set_title(f"{plain(rungs[i].name, int(15 * side))}\n{fmt.percent(score)}", fontsize=8.5, linespacing=1.3)
        axes.grid(False)
        shown = record.data.classes if named else ()
        _matrix_ticks(axes, shown, side, left=i % columns == 0, bottom=i + columns >= len(rungs))
    if image is not None:
        bar = figure.colorbar(image, ax=grid, label="% of the true class", shrink=0.6, pad=0.01, aspect=30)
        bar.set_ticks([0, 5, 20, 50, 100])
    figure.supxlabel("predicted class", fontsize=9.5)
    figure.supylabel("true class", fontsize=9.5)
    return figure


def _matrix_ticks(axes: Axes, classes: Sequence[str], side: float, *, left: bool, bottom: bool) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set(xticks=[], yticks=[])
    if not classes:
        return
    ends = axes.xaxis, axes.yaxis
    class_ticks(axes, classes, 1.3 * side)  # smaller labels
    axes.tick_params(labelsize=8, pad=2)
    for axis, shown in zip(ends, (bottom, left), strict=True):
        if not shown:
            axis.set_ticks([])
