"""The figure of a bench: time by phase and operation, speed by batch size, roofline, levers. From the record."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from rungs.report import format as fmt
from rungs.report.style import BLUE, FAINT, GREEN, INK, STYLE, VERMILLION
from rungs.study.bench.record import PHASES, BenchRecord, Kind, Lever, Point
from rungs.study.bench.words import rate, seconds, ways

PHASE_COLOURS = {"data": "#f3c15f", "forward": "#8ecbf0", "backward": BLUE, "optimiser": "#63c3a4"}
WHITE_ON = ("backward",)
"""Phases whose colour needs white text."""
KIND_LOOKS: dict[Kind, tuple[str, str, str]] = {"training": (VERMILLION, "o", "-"), "inference": (GREEN, "s", "--")}
QUIET = "#57606a"
LONGEST_REASON = 60
"""Characters of the reason why a lever was not measured; the table has all of it."""
LABEL_SHARE = 0.07
"""A narrower segment has no room for its number."""
GIGA = 1e9


@matplotlib.rc_context(STYLE)
def overview(record: BenchRecord) -> Figure:
    """Draw the panels of a bench: four, and below them the levers if there are any."""
    levers = record.levers
    figure = Figure(figsize=(10.6, 10.2 if levers else 8.0), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.14))
    upper: FigureBase = figure
    if levers:  # in a part of their own, their long labels leave the panels above as wide as they are
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(4, 1.05))[:, 0]
        _levers(lower.subplots(), levers)
    (time, batches), (operations, roof) = upper.subplots(2, 2, height_ratios=(1, 1.15))
    _time(time, record)
    _batches(batches, record)
    _operations(operations, record)
    _roof(roof, record)
    return figure


def _time(axes: Axes, record: BenchRecord) -> None:
    """Two stacked bars: the phases of a batch of training and of inference."""
    points = (record.own("training"), record.own("inference"))
    for y, point in zip((1, 0), points, strict=True):
        left = 0.0
        for phase in point.phases:
            width = 100 * phase.share
            axes.barh(y, width, left=left, height=0.5, color=PHASE_COLOURS[phase.name])
            if phase.share >= LABEL_SHARE:
                colour = "white" if phase.name in WHITE_ON else INK
                axes.text(left + width / 2, y, f"{width:.0f} %", ha="center", va="center", color=colour)
            left += width
        words = f"{point.kind}, batch of {point.batch_size}: {seconds(point.seconds.median)}"
        axes.text(0, y + 0.32, words, va="bottom", fontweight="bold", fontsize=9.5)
    axes.set_title("Time of a batch by phase")
    axes.set(xlim=(0, 100), ylim=(-0.35, 1.6), yticks=[], xlabel="% of the time")
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    patches = [Patch(color=PHASE_COLOURS[name], label=name) for name in PHASES["training"]]
    axes.legend(handles=patches, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.19), columnspacing=1.2)


def _operations(axes: Axes, record: BenchRecord) -> None:
    """A bar for each kind of operation in a training step."""
    rows = record.operations[::-1]
    shares = [100 * row.share for row in rows]
    axes.barh(range(len(rows)), shares, height=0.62, color=[_row_colour(row.kind) for row in rows])
    axes.set_yticks(range(len(rows)), [row.kind for row in rows])
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.set_xlim(0, max(shares, default=1) * 1.18)
    for y, share in enumerate(shares):
        axes.text(share + max(shares) * 0.02, y, f"{share:.0f} %" if share >= 1 else "< 1 %", va="center")
    axes.set_title("A training step by operation")
    axes.set_xlabel("% of the time of all operations")
    axes.grid(axis="y", visible=False)


def _row_colour(kind: str) -> str:
    return PHASE_COLOURS["backward"] if kind.startswith(("convolution", "matrix product")) else FAINT


def _batches(axes: Axes, record: BenchRecord) -> None:
    """Share of the matrix product by batch size, quartiles as bars, the recipe's own sizes ringed."""
    axes.axhline(100, color=INK, linestyle=":", linewidth=1.4)
    for kind, (colour, marker, line) in KIND_LOOKS.items():
        points = record.of(kind)
        x = [point.batch_size for point in points]
        y = [100 * point.share.median for point in points]
        low, high = ([100 * abs(v - p.share.median) for p, v in zip(points, vs, strict=True)] for vs in _ends(points))
        axes.errorbar(x, y, (low, high), fmt=line + marker, color=colour, label=kind, markersize=5, capsize=3)
        own = record.own(kind)
        axes.plot(own.batch_size, 100 * own.share.median, "o", markersize=12, markerfacecolor="none", color=INK)
    top = max(100.0, *(100 * point.share.high for point in record.points))
    axes.set(
        ylim=(0, top * 1.12),
        xscale="log",
        xlabel="images in a batch (ring: the recipe's own)",
        ylabel="% of the matrix product's FLOP/s",
    )
    axes.text(0.01, 100 + top * 0.015, "ceiling", transform=axes.get_yaxis_transform(), va="bottom", color=INK)
    axes.xaxis.set_major_locator(FixedLocator(_thinned(sorted({point.batch_size for point in record.points}))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_title("Share of the ceiling by batch size")
    axes.legend(loc="best")


def _ends(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.share.low for point in points], [point.share.high for point in points]


def _thinned(values: Sequence[int]) -> list[int]:
    """Leave out values that lie closer than a factor of 1.5 to the one before: their labels would overlap."""
    kept: list[int] = []
    for value in values:
        if not kept or value >= 1.5 * kept[-1]:
            kept.append(value)
    return kept


def _roof(axes: Axes, record: BenchRecord) -> None:
    """Roofline: FLOP/s over FLOPs per byte of traffic, log-log (Williams et al. 2009, doi:10.1145/1498765.1498785)."""
    peak, copy = record.ceilings.matmul.median, record.ceilings.copy.median
    ridge = peak / copy
    works = {"training": record.training, "inference": record.inference}
    at = {kind: work.flops / work.traffic_bytes for kind, work in works.items()}
    x = np.geomspace(min(*at.values(), ridge) / 4, max(*at.values(), ridge) * 6, 200)
    axes.plot(x, np.minimum(peak, copy * x) / GIGA, color=INK)
    reached = []
    for kind, (colour, marker, _) in KIND_LOOKS.items():
        own, work = record.own(kind), works[kind]
        bound = work.flops / work.bound_s / GIGA
        done = own.flops_per_s / GIGA
        reached.append(done)
        axes.plot([at[kind]] * 2, [done, bound], ":", color=colour, linewidth=1.2)
        axes.plot(at[kind], bound, "_", color=colour, markersize=14, markeredgewidth=2)
        axes.plot(at[kind], done, marker, color=colour, markersize=8, label=f"{kind}: {rate(own.flops_per_s)}")
    axes.plot([], [], "_", color=QUIET, markersize=14, markeredgewidth=2, label="same operations at the ceilings")
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte read and written", ylabel="GFLOP/s")
    axes.set_ylim(min(*reached, copy * x[0] / GIGA) / 3, peak / GIGA * 2.2)
    axes.text(x[-1], peak / GIGA * 1.08, f"matrix product {rate(peak)}", ha="right", va="bottom")
    axes.text(x[0] * 1.1, peak / GIGA * 1.5, f"slope: copy {fmt.size(round(copy))}/s", va="bottom", color=QUIET)
    axes.set_title("Roofline")
    plain = FuncFormatter(lambda v, _: f"{v:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(plain)
    if peak / GIGA * 2.2 < 100 * axes.get_ylim()[0]:  # over two decades the labels would overlap
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda v, _: f"{v:g}" if f"{v:e}"[0] in "2356" else ""))
    axes.legend(loc="lower right")


def _levers(axes: Axes, levers: Sequence[Lever]) -> None:
    """A bar from 1 for each lever, quartiles as whiskers: to the right where the recipe's is faster; grey: unclear."""
    ends = [1.0]
    for y, lever in enumerate(reversed(levers)):
        gain = lever.gain
        if gain is None:
            why_not = textwrap.shorten(lever.why_not, LONGEST_REASON, placeholder=" …")
            axes.text(1.01, y, f"not measured: {why_not}", va="center", color=QUIET, fontsize=9.5)
            continue
        ends += [gain.low, gain.high]
        unclear = gain.low <= 1 <= gain.high
        colour = FAINT if unclear else GREEN if gain.median > 1 else VERMILLION
        axes.barh(y, gain.median - 1, left=1, height=0.5, color=colour, alpha=1 if unclear else 0.55)
        axes.errorbar(gain.median, y, xerr=[[gain.median - gain.low], [gain.high - gain.median]], color=INK, capsize=3)
        axes.annotate(f"{gain.median:.2f} x", (max(gain.high, 1), y), (6, 0), textcoords="offset points", va="center")
    axes.axvline(1, color=INK, linewidth=1.2)
    low, high = min(0.9, *ends), max(1.5, *ends)
    axes.set(xlim=(low - 0.04 * (high - low), high + 0.12 * (high - low)), ylim=(-0.6, len(levers) - 0.4))
    axes.set_yticks(range(len(levers)), [ways(lever) for lever in reversed(levers)])
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.set_title("What the recipe's choices buy here")
    axes.set_xlabel("speed of a training step: the recipe's way / the other way (1.0 = no difference)")
    axes.grid(axis="y", visible=False)
