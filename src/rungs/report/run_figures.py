"""The figures of a run's report: each a function from its record to a matplotlib `Figure`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rungs.report import format as fmt
from rungs.report.reliability import FAINT_ALPHA, draw_bins
from rungs.report.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    NUMBERED_CLASSES,
    STYLE,
    VERMILLION,
    class_ticks,
    empty,
    log_if_wide,
)
from rungs.run.record import EpochRow, EvalResult, RunRecord
from rungs.run.reliability import FEW, bins

# --- learning curves ----------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def learning_curves(record: RunRecord) -> Figure:
    """Loss and accuracy of training, validation and a watched test set, the rate below, the best epoch marked."""
    figure = Figure(figsize=(5.6, 5.8), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=(4, 4, 1.5))
    rows = record.history
    if not rows:
        return empty("no epoch was finished")
    for axes, what, title in ((loss, "loss", "Loss"), (accuracy, "accuracy", "Accuracy")):
        _curves(axes, rows, what)
        axes.set_title(title + _mark_best(axes, record, what))
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g} %"))
    accuracy.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    _claims(accuracy, record, "accuracy")
    _claims(loss, record, "loss")
    log_if_wide(loss, [v for row in rows for v in (row.train_loss, row.validation_loss) if v is not None])
    if record.recipe.training.loss == "softmax-cross-entropy":
        floor = math.log(1 + (len(record.data.classes) - 1) / math.e)
        loss.axhline(floor, linestyle=":", color=INK, label=f"floor of two softmaxes: {floor:.3f}")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    epochs = [row.epoch for row in rows]
    rate.plot(epochs, [row.learning_rate for row in rows], color=INK, linewidth=1.4, **_markers(rows))
    rate.set_title("Learning rate")
    log_if_wide(rate, [row.learning_rate for row in rows])
    if record.best_epoch is not None:
        rate.axvline(record.best_epoch, color=FAINT, zorder=0.5)
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    room = max(0.5, 0.02 * len(rows))
    rate.set_xlim(epochs[0] - room, epochs[-1] + room)
    return figure


def _curves(axes: Axes, rows: Sequence[EpochRow], what: str) -> None:
    epochs = [row.epoch for row in rows]
    for part, colour, line in (("train", BLUE, "--"), ("validation", VERMILLION, "-"), ("test", GREEN, "-.")):
        values = [getattr(row, f"{part}_{what}") for row in rows]
        if any(value is not None for value in values):
            gaps = [math.nan if value is None else value for value in values]
            axes.plot(epochs, gaps, line, color=colour, label=part, **_markers(rows))


def _markers(rows: Sequence[EpochRow]) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.2} if len(rows) <= 25 else {}


def _mark_best(axes: Axes, record: RunRecord, what: str) -> str:
    """Draw a line through the best epoch and a ring on its validation value; return the words for the title."""
    row = next((row for row in record.history if row.epoch == record.best_epoch), None)
    if row is None:
        return ""
    axes.axvline(row.epoch, color=FAINT, zorder=0.5)
    value = getattr(row, f"validation_{what}")
    value = getattr(row, f"train_{what}") if value is None else value
    ring: dict[str, Any] = {"markersize": 8, "markeredgewidth": 1.8, "markeredgecolor": INK, "color": "white"}
    axes.plot(row.epoch, value, "o", **ring, clip_on=False, zorder=5)
    number = fmt.percent(value) if what == "accuracy" else fmt.loss(value)
    best = row.validation_loss is not None and record.recipe.stopping.keep == "best"
    return f", {'best' if best else 'last'}: epoch {row.epoch}, {number}"


def _claims(axes: Axes, record: RunRecord, what: str) -> None:
    """A dotted line for each claimed value, its name in the right margin; none where the recipe was changed."""
    if record.changed:
        return
    claims = sorted(
        (c for c in record.recipe.claims if c.metric.endswith(what) and not c.change), key=lambda claim: claim.value
    )
    for claim in claims:
        axes.axhline(claim.value, linestyle=":", color=_part_colour(claim.metric), linewidth=1.5)
    low, high = axes.get_ylim()
    places = _spread([(claim.value - low) / (high - low) for claim in claims], 0.21)
    for claim, place in zip(claims, places, strict=True):
        number = fmt.percent(claim.value) if what == "accuracy" else fmt.loss(claim.value)
        part = claim.metric.partition("_")[0]
        axes.annotate(
            f"{part} claimed\n{number}",
            (1.0, claim.value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            color=_part_colour(claim.metric),
            arrowprops={"arrowstyle": "-", "color": _part_colour(claim.metric), "linewidth": 0.8},
        )


def _part_colour(metric: str) -> str:
    return {"train": BLUE, "validation": VERMILLION}.get(metric.partition("_")[0], GREEN)


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """Push rising places apart until neighbours are `gap` away from each other, keeping their centre."""
    spread = list(places)
    for _ in range(50):
        for i in range(len(spread) - 1):
            lack = gap - (spread[i + 1] - spread[i])
            if lack > 1e-6:
                spread[i], spread[i + 1] = spread[i] - lack / 2, spread[i + 1] + lack / 2
    return spread


# --- confusion matrix ---------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def confusion(result: EvalResult, classes: Sequence[str], normalised: bool) -> Figure:
    """Predicted class (columns) for each true class (rows): counts, or per cent of the row."""
    table = np.array(result.confusion, dtype=float)  # (K, K)
    if normalised:
        table = 100 * table / np.maximum(1, table.sum(axis=1, keepdims=True))
    k = len(classes)
    side = max(2.4, 0.4 * k) if k <= NUMBERED_CLASSES else 7.0
    wide, high = (1.5, 1.4) if k <= NUMBERED_CLASSES else (2.2, 1.0)
    figure = Figure(figsize=(side + wide, side + high), layout="constrained")
    axes = figure.add_subplot()
    norm = PowerNorm(0.5, vmin=0, vmax=max(1.0, table.max()))
    image = axes.imshow(table, cmap="Blues", norm=norm, interpolation="nearest")
    axes.set_title("Per cent of each true class" if normalised else "Counts")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    class_ticks(axes, classes, side)
    if k <= NUMBERED_CLASSES:
        _cell_numbers(axes, table, norm)
    else:
        label = "% of the true class" if normalised else "images"
        figure.colorbar(image, ax=axes, label=label, shrink=0.7, pad=0.02)
    return figure


def _cell_numbers(axes: Axes, table: np.ndarray[Any, Any], norm: PowerNorm) -> None:
    for (i, j), value in np.ndenumerate(table):
        if value >= 0.5:
            colour = "white" if norm(value) > 0.6 else INK
            weight = "bold" if i == j else "normal"
            text = f"{math.floor(value + 0.5)}" if value < 10_000 else f"{value / 1000:.0f}k"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontweight=weight, fontsize=9)


# --- calibration --------------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def calibration(result: EvalResult) -> Figure:
    """Accuracy over confidence (reliability diagram), with intervals; below, the number of images in each bin.

    With a temperature it is drawn twice; the bars are of the net as it was trained.
    """
    figure = Figure(figsize=(4.6, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1.3))
    upper.plot([0, 100], [0, 100], ":", color="#57606a", linewidth=1.4)
    trained = f"as trained: error {fmt.percent(result.calibration_error, 1)}"
    draw_bins(upper, bins(result.calibration), {"color": VERMILLION}, trained)
    if (scaled := result.scaled) is not None:
        after = f"with temperature {scaled.temperature:.2f}: error {fmt.percent(scaled.calibration_error, 1)}"
        look = {"color": BLUE, "marker": "D", "markersize": 4.5, "markerfacecolor": "white"}
        draw_bins(upper, bins(scaled.calibration), look, after)
        figure.legend(*upper.get_legend_handles_labels(), loc="outside upper left")
    upper.text(98, 4, "overconfident", ha="right", color="#57606a")
    upper.text(3, 94, "underconfident", color="#57606a")
    upper.set_title("Calibration" if result.scaled else f"Calibration error {fmt.percent(result.calibration_error, 1)}")
    upper.set(ylabel="accuracy, %", ylim=(0, 102), xlim=(0, 102))
    _counts(lower, [n for *_, n in result.calibration])
    return figure


def _counts(axes: Axes, images: Sequence[int]) -> None:
    """Draw a bar for each bin of confidence, with its number of images above it."""
    width = 100 / len(images)
    drawn = axes.bar([width * (i + 0.5) for i in range(len(images))], images, width=0.9 * width, color=BLUE)
    for bar, n in zip(drawn, images, strict=True):
        bar.set_alpha(FAINT_ALPHA if n < FEW else 1.0)
    axes.bar_label(drawn, [f"{n:,}" if n else "" for n in images], padding=1, fontsize=6, color="#57606a")
    axes.set(xlabel="confidence, %", ylabel="images")
    axes.margins(y=0.18)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
