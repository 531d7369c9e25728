"""The staircase of a ladder: a row for each rung, its accuracy with an interval, and its gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.style import BLUE, GREEN, INK, PARTS, PURPLE, QUIET, STYLE, empty, plain
from rungs.run.record import Difference
from rungs.study.ladder import words as ladder_words
from rungs.study.ladder.record import Answer, LadderRecord

CLAIMS = {**PARTS, "highest_test_accuracy": ("^", GREEN, 0.19)}

VERDICT_COLOURS = {"real gain": BLUE, "real loss": PURPLE, "no difference": QUIET, "undecided": QUIET}

FENCE = 3.0
"""Values this many interquartile ranges outside the quartiles (Tukey's far out) are cut off, with an arrow."""
FENCE_POINTS = 0.05
"""... and at least this far: five points."""


@matplotlib.rc_context(STYLE)
def staircase(record: LadderRecord) -> Figure:
    """Accuracy of every rung, top to bottom: mean, interval, single seeds, claims, and the difference it made."""
    n = len(record.rungs)
    if not n:
        return empty("this ladder has no rungs")
    row_height = 0.46 if n <= 15 else 0.34
    long = max(0, min(40, max(len(rung.name) for rung in record.rungs)) - 28)  # characters that need more room
    figure = Figure(figsize=(9.2 + 0.1 * long, 1.75 + row_height * n), layout="constrained")
    axes = figure.add_subplot()
    limits = _limits(record)
    axes.set(xlim=limits, ylim=(n - 0.5, -0.5))
    for i in range(0, n, 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#f6f8fa", linewidth=0, zorder=0)
    _joined(axes, record)
    for i, rung in enumerate(record.rungs):
        _row(axes, record, i, limits)
        if rung.difference is not None:
            _difference(axes, record, rung.difference, i)
    _labels(axes, record)
    figure.legend(handles=_legend(record), loc="outside upper left", ncols=3, handletextpad=0.5, columnspacing=1.4)
    if words := [text for text in axes.texts if text.get_gid() == "outside"]:
        figure.draw_without_rendering()  # places the markers
        for text in words:
            _clear(axes, text)
    return figure


def _limits(record: LadderRecord) -> tuple[float, float]:
    """Fit the axis to all but far outliers, so that one rung at chance does not squeeze the others."""
    means = [estimate.mean for rung in record.rungs for key, estimate in rung.estimates.items() if key in PARTS]
    if not means:
        return 0.0, 1.0
    points = [*means]
    bars: list[float] = []
    for rung in record.rungs:
        points += [cell.values[key] for cell in ladder_words.finished(rung) for key in PARTS if key in cell.values]
        points += [answer.claimed for answer in rung.answers if _is_drawn(answer)]
        for key, one in rung.estimates.items():
            if key in PARTS and one.low is not None and one.high is not None:
                bars += report_metric.clipped(key, one.low, one.high)
    low, high = fences(means)
    kept = [point for point in points if low <= point <= high]
    left, right = min(kept), max(kept)
    room = max(0.3 * (right - left), 0.01)  # intervals are cut off this far beyond all marks
    left = max([left - room, min([*bars, left])])
    right = min([right + room, max([*bars, right])])
    margin = max(0.05 * (right - left), 0.002)
    return max(-0.01, left - margin), min(1.012, right + margin)


def _is_drawn(answer: Answer) -> bool:
    return answer.metric in CLAIMS and answer.kind == "value" and answer.verdict != "not comparable"


def fences(means: Sequence[float]) -> tuple[float, float]:
    """Return the bounds outside of which an accuracy is far out."""
    low, high = (float(quartile) for quartile in np.percentile(means, [25, 75]))
    reach = max(FENCE * (high - low), FENCE_POINTS)
    return low - reach, high + reach


def _joined(axes: Axes, record: LadderRecord) -> None:
    """Draw steps between neighbours that build on each other, or a line through the base."""
    metric = ladder_words.judged_by(record)
    style: dict[str, Any] = {"color": "#8b949e", "linewidth": 1.1, "zorder": 1.5}
    if record.builds_on == "base":
        base = ladder_words.mean(record.rungs[0], metric)
        if base is not None:
            axes.axvline(base, **style, linestyle=(0, (4, 3)))
        return
    shift = PARTS[metric][2]
    for i in range(1, len(record.rungs)):
        above, rung = record.rungs[i - 1], record.rungs[i]
        start, end = ladder_words.mean(above, metric), ladder_words.mean(rung, metric)
        if rung.on == above.name and start is not None and end is not None:
            axes.plot([start, start, end], [i - 1 + shift, i + shift, i + shift], **style)


def _row(axes: Axes, record: LadderRecord, i: int, limits: tuple[float, float]) -> None:
    rung = record.rungs[i]
    outside: list[tuple[float, str]] = []
    for metric, (mark, colour, shift) in PARTS.items():
        estimate, y = rung.estimates.get(metric), i + shift
        if estimate is None:
            continue
        if not limits[0] <= estimate.mean <= limits[1]:
            outside.append((estimate.mean, metric.partition("_")[0]))
            continue
        if estimate.low is not None and estimate.high is not None:
            bar(axes, report_metric.clipped(metric, estimate.low, estimate.high), y, colour, limits)
        seeds = [cell.values[metric] for cell in ladder_words.finished(rung) if metric in cell.values]
        if len(seeds) > 1:
            axes.plot(seeds, [y] * len(seeds), "o", color=colour, markersize=4, alpha=0.35, markeredgewidth=0)
        axes.plot(estimate.mean, y, mark, color=colour, markersize=6, zorder=4, gid="mean")
    for answer in rung.answers:
        if _is_drawn(answer):
            mark, colour, shift = CLAIMS[answer.metric]
            if limits[0] <= answer.claimed <= limits[1]:
                hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.4, "markersize": 9}
                axes.plot(answer.claimed, i + shift, mark, color=colour, **hollow, zorder=5, gid="claim")
            else:
                outside.append((answer.claimed, f"{answer.metric.replace('_accuracy', '').replace('_', ' ')} claimed"))
    _arrows(axes, outside, i, limits)
    if not rung.estimates:
        ended = ladder_words.how_ended(rung, ladder_words.unit(record)) or "not run"
        axes.text(0.012, i, ended, transform=axes.get_yaxis_transform(),
                  va="center", color=PURPLE, fontstyle="italic")  # fmt: skip


def bar(axes: Axes, ends: tuple[float, float], y: float, colour: str, limits: tuple[float, float]) -> None:
    """Draw an interval at height `y`; an end beyond `limits` becomes an arrow there."""
    low, high = ends
    axes.plot([max(low, limits[0]), min(high, limits[1])], [y, y], color=colour, linewidth=1.6, zorder=3)
    for end, cut, arrow in ((low, low < limits[0], 4), (high, high > limits[1], 5)):  # carets to the left and right
        place = min(max(end, limits[0]), limits[1])
        mark: Any = arrow if cut else "|"
        axes.plot(place, y, marker=mark, color=colour, markersize=6, markeredgewidth=1.4, zorder=3, clip_on=False)


def _arrows(axes: Axes, outside: Sequence[tuple[float, str]], i: int, limits: tuple[float, float]) -> None:
    """Write the values beyond the axis at the edge that they exceed."""
    for left in (True, False):
        beyond = [f"{what} {fmt.percent(x)}" for x, what in outside if (x < limits[0]) == left]
        if beyond:
            text = f"◀ {', '.join(beyond)}" if left else f"{', '.join(beyond)} ▶"
            axes.text(0.012 if left else 0.988, i, text, transform=axes.get_yaxis_transform(), va="center",
                      ha="left" if left else "right", color=QUIET, fontsize=9, zorder=6, gid="outside")  # fmt: skip


def _clear(axes: Axes, text: Text) -> None:
    """Move a text along its row, inwards from the edge, to the first place where it covers no mark or other text.

    It may cover a bar where bars fill the row.
    """
    edge, row = text.get_position()
    words = [other.get_window_extent() for other in axes.texts if other is not text]
    lines = [line for line in axes.get_lines() if line.get_zorder() >= 2]
    bars = [box for line in lines if line.get_linestyle() != "None" for box in _boxes(axes, line, row)]
    marks = [box for line in lines if line.get_linestyle() == "None" for box in _boxes(axes, line, row)]
    panel = axes.get_window_extent()
    for taken in ([*words, *marks, *bars], [*words, *marks]):
        for share in np.linspace(0, 1, 101):
            text.set_x(edge + share * (1 - 2 * edge))
            box = text.get_window_extent().padded(1.5)
            if panel.x0 <= box.x0 and box.x1 <= panel.x1 and not any(box.overlaps(other) for other in taken):
                return
    text.set_x(edge)


def _boxes(axes: Axes, line: Line2D, row: float) -> list[Bbox]:
    """Return the boxes of the marks, or of the bar, that a line draws in a row."""
    data = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    places = axes.transData.transform(data[abs(data[:, 1] - row) < 0.5])
    if not len(places):
        return []
    reach = 0.5 * float(line.get_markersize()) * axes.figure.dpi / 72
    if line.get_linestyle() != "None":
        return [Bbox([places.min(axis=0) - 1, places.max(axis=0) + 1])]
    return [Bbox([place - reach, place + reach]) for place in places]


def _difference(axes: Axes, record: LadderRecord, difference: Difference, i: int) -> None:
    sign, colour = ladder_words.SIGNS[difference.verdict], VERDICT_COLOURS[difference.verdict]
    weight = "bold" if difference.verdict.startswith("real") else "normal"
    gain = report_metric.signed(difference.metric, difference.mean)
    words = ((16, "center", sign, weight), (64, "right", gain, weight))
    verdict = f"{difference.verdict}{' (test)' if ladder_words.on_test(record, difference) else ''}"
    for right, side, text, thickness in (*words, (71, "left", verdict, "normal")):
        axes.annotate(
            text,
            (1, i),
            (right, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha=side,
            va="center",
            color=colour,
            fontweight=thickness,
        )


def _labels(axes: Axes, record: LadderRecord) -> None:
    names = [_name(record, i) for i in range(len(record.rungs))]
    axes.set_yticks(range(len(names)), names, linespacing=1.05)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    study = (
        "\ndiffers from the ladder's file: its claims are not comparable, and not drawn"
        if record.reduced and ladder_words.claims(record)
        else ""
    )
    axes.set_xlabel(f"accuracy, %\n{ladder_words.seeds_note(record, PARTS)}{study}", linespacing=1.5)
    axes.set_title(f"{plain(record.name, 36)}: accuracy of each rung")
    if any(rung.difference for rung in record.rungs):
        part = ladder_words.judged_by(record).partition("_")[0]
        below = "rung before" if record.builds_on == "previous" else "first rung"
        text = f"against the {below},\n{part}, points"
        axes.text(1.02, -0.62, text, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, color=QUIET)


def _name(record: LadderRecord, i: int) -> str:
    """Return the name of a rung; below it what is unusual: another parent, seeds that did not finish."""
    rung, notes = record.rungs[i], []
    if rung.on is not None and rung.on != ladder_words.usual_parent(record, i):
        notes.append(f"on {plain(rung.on, 30)}")
    done = len(ladder_words.finished(rung))
    if 0 < done < len(rung.cells):
        notes.append(f"{done} of {len(rung.cells)} {ladder_words.unit(record)}s")
    return "\n".join(filter(None, (plain(rung.name, 40), f"({'; '.join(notes)})" if notes else "")))


def _legend(record: LadderRecord) -> list[Line2D]:
    """Return a legend handle for each kind of mark that is drawn."""
    handles, unit = list[Line2D](), ladder_words.unit(record)
    many = any(len(ladder_words.finished(rung)) > 1 for rung in record.rungs)
    for metric, (mark, colour, _) in PARTS.items():
        if ladder_words.has(record, metric):
            part = metric.partition("_")[0]
            what = f"mean of the {unit}s, 95 % interval" if many else f"single {unit}, 95 % interval"
            handles.append(Line2D([], [], marker=mark, color=colour, markersize=6, label=f"{part}: {what}"))
    if many:
        handles.append(
            Line2D([], [], marker="o", linestyle="", color=QUIET, alpha=0.5, markersize=4, label=f"one {unit}")
        )
    claimed = {answer.metric for rung in record.rungs for answer in rung.answers if _is_drawn(answer)}
    for metric, (mark, colour, _) in CLAIMS.items():
        if metric in claimed:
            what = "highest test over the epochs" if metric.startswith("highest") else metric.partition("_")[0]
            hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 1.4, "markersize": 9}
            handles.append(Line2D([], [], marker=mark, linestyle="", color=colour, **hollow, label=f"{what}: claimed"))
    if record.builds_on == "base" and record.rungs[0].estimates:
        line = Line2D([], [], color="#8b949e", linewidth=1.1, linestyle=(0, (4, 3)), label="mean of the first rung")
        return [*handles, line]
    if record.builds_on == "previous" and any(rung.on for rung in record.rungs):
        handles.append(Line2D([], [], color="#8b949e", linewidth=1.1, label="step from the rung it builds on"))
    return handles
