"""Cost of accuracy: the rungs of a ladder against FLOPs per image and training time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from rungs.report import format as fmt
from rungs.report.style import INK, PARTS, QUIET, STYLE, empty, plain
from rungs.study.ladder import words
from rungs.study.ladder.record import LadderRecord
from rungs.study.ladder.staircase import fences
from rungs.study.pareto import Point, front

WORK = ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP"), (1.0, "FLOP"))
TIME = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
"""Units, the largest first."""

DECADE = 10.0
"""An axis that spans less than this factor gets evenly spaced ticks: only one or two logarithmic ones would fit."""
SAME = 1.02
"""Costs within this factor count as equal and share a tick."""

ALL_NUMBERED = 12
"""Up to this many rungs every marker is numbered; beyond it, only those on the Pareto front."""
NAME_WIDTH = 38
"""Characters of a name in the legend."""

HALO = [withStroke(linewidth=2.5, foreground="white")]
"""Around numbers, so that a line behind one does not hide it."""
PLACES = [
    (far * x, far * y)
    for far in (10.5, 17, 24)
    for x, y in ((-0.7, 0.8), (0.7, -0.8), (0, 1), (0, -1), (1, 0), (-1, 0), (0.7, 0.8), (-0.7, -0.8))
]
"""Offsets of a number from its marker, in points; those away from the front's line come first."""


@matplotlib.rc_context(STYLE)
def cost(record: LadderRecord) -> Figure:
    """Plot mean accuracy against FLOPs per image and against training time; the Pareto front is joined.

    Markers are numbered from 1 as in the page's table; the legend below gives the names.
    """
    metric = words.judged_by(record)
    part = metric.partition("_")[0]
    rungs = dict(enumerate(record.rungs, 1))
    means = {i: mean for i, rung in rungs.items() if (mean := words.mean(rung, metric)) is not None}
    work = {i: Point(rungs[i].flops, mean) for i, mean in means.items() if rungs[i].flops > 0}
    times = {i: Point(s, mean) for i, mean in means.items() if (s := words.mean(rungs[i], "train_s"))}
    if not work and not times:
        return empty("no rung has a result")
    low = fences(list(means.values()))[0]
    work, times = ({i: p for i, p in some.items() if p.accuracy >= low} for some in (work, times))
    (work, work_unit), (times, time_unit) = _scaled(work, WORK), _scaled(times, TIME)
    numbered = {i for some in (work, times) for i in _numbered(some, len(rungs))}
    figure = Figure(figsize=(9.2, 4.4 + 0.19 * -(-len(numbered) // 3)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    _panel(panels[0], work, f"forward compute per image{work_unit}", PARTS[metric][1])
    label = f"training time at the speed of the fastest epoch{time_unit}\n{plain(record.environment.device, 40)}"
    _panel(panels[1], times, label, PARTS[metric][1])
    panels[0].set(title="Accuracy and compute", ylabel=f"mean {part} accuracy, %")
    panels[1].set_title("Accuracy and training time")
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
    panels[0].yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    _below(panels[0], {f"{i} {plain(rungs[i].name, 24)}": mean for i, mean in means.items() if mean < low})
    _legends(figure, panels, [f"{i}  {plain(rungs[i].name, NAME_WIDTH)}" for i in sorted(numbered)])
    figure.draw_without_rendering()  # places the panels
    for axes, some in zip(panels, (work, times), strict=True):
        _number(axes, some, _numbered(some, len(rungs)))
    return figure


def _numbered(points: Mapping[int, Point], rungs: int) -> list[int]:
    """Return the rungs to number, those on the front first."""
    best = front(list(points.values()))
    first = sorted(points, key=lambda i: points[i] not in best)
    return [i for i in first if rungs <= ALL_NUMBERED or points[i] in best]


def _scaled(points: Mapping[int, Point], units: Sequence[tuple[float, str]]) -> tuple[dict[int, Point], str]:
    """Return the points in the largest unit in which the cheapest costs at least 1, and that unit for the label."""
    if not points:
        return {}, ""
    least = min(point.cost for point in points.values())
    unit, name = next((one for one in units if least >= one[0]), units[-1])
    return {i: Point(point.cost / unit, point.accuracy) for i, point in points.items()}, f", {name} (log)"


def _panel(axes: Axes, points: Mapping[int, Point], label: str, colour: str) -> None:
    axes.set_xlabel(label)
    if not points:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=QUIET)
        return
    best = front(list(points.values()))
    rest = [point for point in points.values() if point not in best]
    low, high = min(point.cost for point in points.values()), max(point.cost for point in points.values())
    room = max(1.3, (high / low) ** 0.15)
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    if rest:
        xs, ys = zip(*rest, strict=True)
        axes.plot(
            xs, ys, "o", color="#8b949e", alpha=0.55, markersize=5, markeredgewidth=0, label="dominated by another"
        )
    xs, ys = zip(*best, strict=True)
    axes.step([*xs, high * room], [*ys, ys[-1]], where="post", color=colour, linewidth=1.3, alpha=0.6)
    axes.plot(xs, ys, "o", color=colour, markersize=6.5, label="best at its cost or less", gid="front")
    axes.margins(y=0.12)
    _ticks(axes, low, high)


def _ticks(axes: Axes, low: float, high: float) -> None:
    """Write round numbers along a logarithmic axis."""
    left, right = axes.get_xlim()
    if high < SAME * low:
        axes.xaxis.set_major_locator(FixedLocator([low]))
    elif right < DECADE * left:
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    else:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if right < 100 * left else (1.0,), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.4g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if right < DECADE * left:
        axes.xaxis.set_minor_locator(NullLocator())


def _legends(figure: Figure, panels: Sequence[Axes], names: Sequence[str]) -> None:
    """Put the legend of the markers above the panels, and the names of the numbered rungs below."""
    handles, labels = max((panel.get_legend_handles_labels() for panel in panels), key=lambda pair: len(pair[0]))
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
        blank = [Line2D([], [], linestyle="none")] * len(names)
        figure.legend(blank, names, loc="outside lower left", ncols=3, fontsize=8.5, handlelength=0, handletextpad=0,
                      labelspacing=0.35, labelcolor=INK)  # fmt: skip


def _below(axes: Axes, points: Mapping[str, float]) -> None:
    """Name the rungs too far below to draw without squeezing the others."""
    if points:
        named = ", ".join(f"{name} {fmt.percent(mean)}" for name, mean in list(points.items())[:2])
        more = f" and {len(points) - 2} more" if len(points) > 2 else ""
        axes.text(0.98, 0.02, f"▼ {named}{more}", transform=axes.transAxes, ha="right", va="bottom", color=QUIET,
                  fontsize=8.5, gid="below")  # fmt: skip


def _number(axes: Axes, points: Mapping[int, Point], numbered: Sequence[int]) -> None:
    """Write each number at the nearest free place around its marker."""
    assert axes.figure is not None
    scale, best = axes.figure.dpi / 72, front(list(points.values()))
    at = {i: axes.transData.transform(point) for i, point in points.items()}
    taken = [_box(x, y, 3.5 * scale, 3.5 * scale) for x, y in at.values()]
    taken += [text.get_window_extent() for text in axes.texts]
    panel = axes.get_window_extent()
    for i in numbered:
        half = (1 + 2.8 * len(str(i))) * scale, 4.5 * scale
        boxes = {place: _box(at[i][0] + scale * place[0], at[i][1] + scale * place[1], *half) for place in PLACES}
        free = (place for place, box in boxes.items() if _inside(box, panel) and not any(map(box.overlaps, taken)))
        place = next(free, None)
        if place is None:
            continue
        taken.append(boxes[place])
        line = {"arrowstyle": "-", "color": "#b0b7bf", "linewidth": 0.7, "shrinkA": 4, "shrinkB": 3}
        colour, weight = (INK, "bold") if points[i] in best else (QUIET, "normal")
        axes.annotate(str(i), points[i], place, textcoords="offset points", ha="center", va="center", fontsize=8.5,
                      color=colour, fontweight=weight, arrowprops=line, gid="number", path_effects=HALO)  # fmt: skip


def _box(x: float, y: float, half_width: float, half_height: float) -> Bbox:
    return Bbox.from_extents(x - half_width, y - half_height, x + half_width, y + half_height)


def _inside(box: Bbox, panel: Bbox) -> bool:
    return bool(panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1)
