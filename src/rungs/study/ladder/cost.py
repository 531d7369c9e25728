"""What accuracy costs: the rungs of a ladder against their work per image and their training time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from rungs.report import format as fmt
from rungs.report.style import INK, PARTS, QUIET, STYLE, empty, plain
from rungs.study.ladder import words as facts
from rungs.study.ladder.record import LadderRecord
from rungs.study.ladder.staircase import fences

ALL_NAMED = 12
"""Up to so many rungs every point has its name; above, those of the front."""

PLACES = [
    (side * far, up * gap)
    for far in (8, 24, 40)
    for gap in (0, 9, 17, 25, 34, 44, 56, 70)
    for up in (1, -1)
    for side in (-1, 1)
]
"""Where a name can stand, in typographic points from its mark."""
NAME_WIDTHS = (26, 16, 9)
"""Characters of a name; fewer where there is no room for it."""

CROSSING = 30
"""A name that crosses the line of the front is as bad as one so many points further off."""

SAME, NARROW = 1.02, 3.0
"""Costs within this factor are one, with one tick; an axis within that factor has up to four ticks."""

TIMES = [
    *(factor * unit for unit in (1, 60, 3600) for factor in (1, 2, 5, 10, 20, 30)),
    *(36e4 * 10**i for i in range(3)),
]
"""Seconds that are round for a person."""


@dataclass(frozen=True)
class Point:
    """One rung in a panel."""

    cost: float
    accuracy: float
    name: str


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats at the same cost or less, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return tuple(kept)


@matplotlib.rc_context(STYLE)
def cost(record: LadderRecord) -> Figure:
    """Mean accuracy against FLOPs of an image, and against the time of training; the best for each price is joined."""
    metric = facts.judged_by(record)
    part = metric.partition("_")[0]
    rungs = [rung for rung in record.rungs if metric in rung.estimates]
    points = [Point(rung.flops, rung.estimates[metric].mean, rung.name) for rung in rungs if rung.flops > 0]
    timed = [rung for rung in rungs if facts.mean(rung, "train_s")]
    times = [Point(rung.estimates["train_s"].mean, rung.estimates[metric].mean, rung.name) for rung in timed]
    if not points and not times:
        return empty("no rung has a result, so none has a price")
    low = fences([rung.estimates[metric].mean for rung in rungs])[0]
    work, times = ([point for point in some if point.accuracy >= low] for some in (points, times))
    figure = Figure(figsize=(9.2, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    colour = PARTS[metric][1]
    _panel(panels[0], work, "forward work per image (log)", lambda x: fmt.flops(round(x)), colour)
    machine = plain(record.environment.device, 30)
    _panel(panels[1], times, f"training time at its fastest pace, {machine} (log)", fmt.seconds, colour)
    panels[0].set_ylabel(f"mean {part} accuracy, %")
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
    panels[0].yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    panels[0].set_title("Accuracy and work")
    panels[1].set_title("Accuracy and time")
    if any(panel.get_legend_handles_labels()[0] for panel in panels):
        handles, labels = max((panel.get_legend_handles_labels() for panel in panels), key=lambda pair: len(pair[0]))
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
    _below(panels[0], [point for point in points if point.accuracy < low])
    figure.draw_without_rendering()  # so that the panels have their places, and names theirs
    thinned = [_thin(panel) for panel in panels]
    if any(thinned):
        figure.draw_without_rendering()
    for panel, points in zip(panels, (work, times), strict=True):
        _name(panel, points)
    return figure


def _panel(axes: Axes, points: Sequence[Point], label: str, show: Callable[[float], str], colour: str) -> None:
    axes.set_xlabel(label)
    if not points:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=QUIET)
        return
    axes.set_xscale("log")
    best = front(points)
    rest = [point for point in points if point not in best]
    if rest:
        xs, ys = [p.cost for p in rest], [p.accuracy for p in rest]
        axes.plot(xs, ys, "o", color="#8b949e", alpha=0.55, markersize=5, markeredgewidth=0, label="another is better")
    xs, ys = [p.cost for p in best], [p.accuracy for p in best]
    low, high = min(p.cost for p in points), max(p.cost for p in points)
    left, room = max(1.5, (high / low) ** 0.45), max(1.25, (high / low) ** 0.2)  # names need it
    axes.set_xlim(low / left, high * room)
    axes.step([*xs, high * room], [*ys, ys[-1]], where="post", color=colour, linewidth=1.3, alpha=0.6)
    axes.plot(xs, ys, "o", color=colour, markersize=6.5, label="best at its price or less", gid="front")
    axes.margins(y=0.12)
    if high / low < SAME:
        _fixed(axes, [low])
    elif show is fmt.seconds:
        _round_times(axes, low / left, high * room)
    elif high * room / (low / left) < NARROW:
        _few(axes, low / left, high * room)
    else:
        decades = math.log10(high * room) - math.log10(low / left)
        subs = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.3 else (1.0, 2.0, 5.0)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _brief(show(x))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _round_times(axes: Axes, low: float, high: float) -> None:
    ticks = [time for time in TIMES if low <= time <= high]
    if len(ticks) < 2:
        ticks = _spread(low, high)
    _fixed(axes, ticks[:: math.ceil(len(ticks) / (6 if high / low >= NARROW else 4))])


def _few(axes: Axes, low: float, high: float) -> None:
    """Set up to four round ticks: an axis of less than half a decade has no room for a logarithm's."""
    ticks = [float(x) for x in MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= x <= high]
    _fixed(axes, ticks if len(ticks) > 1 else _spread(low, high))


def _spread(low: float, high: float) -> list[float]:
    return [low * (high / low) ** share for share in (0.2, 0.5, 0.8)]


def _fixed(axes: Axes, ticks: Sequence[float]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())


def _thin(axes: Axes) -> bool:
    """Drop each tick whose label is that of the one before it, or covers it; tell whether there was any."""
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    kept = ticks[:1]
    for tick in ticks[1:]:
        before, label = kept[-1].label1, tick.label1
        gap = before.get_window_extent().padded(2 * axes.figure.dpi / 72)
        if label.get_text() != before.get_text() and not gap.overlaps(label.get_window_extent()):
            kept.append(tick)
    if len(kept) == len(ticks):
        return False
    axes.xaxis.set_major_locator(FixedLocator([float(tick.get_loc()) for tick in kept]))
    return True


def _below(axes: Axes, points: Sequence[Point]) -> None:
    """Name those that are so far below that they would squeeze the others."""
    if points:
        named = ", ".join(f"{plain(p.name, 24)} {fmt.percent(p.accuracy)}" for p in points[:2])
        more = f" and {len(points) - 2} more" if len(points) > 2 else ""
        axes.text(0.98, 0.02, f"▼ {named}{more}", transform=axes.transAxes, ha="right", va="bottom", color=QUIET,
                  fontsize=8.5, gid="below")  # fmt: skip


def _brief(text: str) -> str:
    """Return "50.0 MFLOP" as "50 MFLOP", and "16 min 40 s" as it is, on two lines."""
    brief = text.replace(".00 ", " ").replace(".0 ", " ").removesuffix(" 0 s").removesuffix(" 0 min")
    return brief.replace(" min ", " min\n").replace(" h ", " h\n")


def _name(axes: Axes, points: Sequence[Point]) -> None:
    """Write names where they cover no mark and no other name, a line to those that stand further off."""
    best = front(points)
    named = [*best, *(point for point in points if point not in best and len(points) <= ALL_NAMED)]
    scale = axes.figure.dpi / 72
    taken = [_around(*_place(axes, point), 4 * scale) for point in points]
    lines = [_around(*corner, 1, *end) for corner, end in _segments(axes, best)]
    taken += [_box(text, scale) for text in axes.texts]
    for point in named:
        strong = point in best
        text = axes.annotate("", (point.cost, point.accuracy), (8, 0), textcoords="offset points",
                             va="center", fontsize=8.5, color=INK if strong else QUIET, gid="name")  # fmt: skip
        text.set_in_layout(False)
        place = None
        for width in NAME_WIDTHS:
            text.set_text(plain(point.name, width))
            place = _free(text, taken, lines)
            if place is not None:
                break
        if place is None:
            text.remove()
            continue
        taken.append(_box(text, scale))
        if abs(place[1]) > 9 or abs(place[0]) > 8:
            line = {"arrowstyle": "-", "color": "#b0b7bf", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 3}
            axes.annotate("", (point.cost, point.accuracy), xytext=place, textcoords="offset points",
                          arrowprops=line).set_in_layout(False)  # fmt: skip


def _free(text: Annotation, taken: Sequence[Bbox], lines: Sequence[Bbox]) -> tuple[int, int] | None:
    """Move a name to the nearest place inside its panel that nothing has taken, and return the place."""
    assert text.axes is not None
    panel, scale = text.axes.get_window_extent(), text.axes.figure.dpi / 72
    best: tuple[float, tuple[int, int]] | None = None
    measured: dict[bool, tuple[tuple[int, int], Bbox]] = {}  # on either side once: elsewhere the box is only moved
    for place in PLACES:
        side = place[0] > 0
        if side not in measured:
            _move(text, place)
            measured[side] = place, _box(text, scale)
        (x, y), box = measured[side]
        box = box.translated((place[0] - x) * scale, (place[1] - y) * scale)
        inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 and panel.y0 <= box.y0 and box.y1 <= panel.y1
        if inside and not any(box.overlaps(other) for other in taken):
            price = abs(place[0]) + abs(place[1]) + CROSSING * any(box.overlaps(line) for line in lines)
            best = (price, place) if best is None or price < best[0] else best
    if best is not None:
        _move(text, best[1])
    return best[1] if best else None


def _move(text: Annotation, place: tuple[int, int]) -> None:
    text.set(position=place, horizontalalignment="left" if place[0] > 0 else "right")


def _place(axes: Axes, point: Point) -> tuple[float, float]:
    x, y = axes.transData.transform((point.cost, point.accuracy))
    return float(x), float(y)


def _segments(axes: Axes, best: Sequence[Point]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return the straight pieces of the front's line."""
    corners = [_place(axes, point) for point in best]
    pieces = []
    for i, (x, y) in enumerate(corners):
        right, up = corners[i + 1] if i + 1 < len(corners) else (axes.get_window_extent().x1, y)
        pieces += [((x, y), (right, y)), ((right, y), (right, up))]
    return pieces


def _box(text: Text, scale: float) -> Bbox:
    return text.get_window_extent().padded(1.5 * scale)


def _around(x: float, y: float, reach: float, x1: float | None = None, y1: float | None = None) -> Bbox:
    """Return a box around a point, or around a line to a second one."""
    x1, y1 = x if x1 is None else x1, y if y1 is None else y1
    return Bbox.from_extents(min(x, x1) - reach, min(y, y1) - reach, max(x, x1) + reach, max(y, y1) + reach)
