"""The image of layers: a net drawn as a row of slabs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from rungs.report import format as fmt
from rungs.report.style import INK, STYLE
from rungs.run.record import LayerRow, ModelRecord

FOLLOWERS = ("Norm", "ReLU", "GELU", "SiLU", "Sigmoid", "Tanh", "Dropout")
"""Kinds that are drawn as part of the layer before them."""

COLOURS = {"conv": "#8ecbf0", "pool": "#f3c15f", "linear": "#63c3a4", "input": "#ffffff"}
OTHER_COLOUR = "#d9dde3"

PER_LINE = 7
CELL_WIDTH, SLAB_HEIGHT, LEFT, ABOVE, BELOW = 1.3, 0.95, 0.15, 0.35, 0.85
"""Inches: of a cell, of the largest slab, of the margin, and of the space over and under a line's slabs."""

LEGEND = (
    "Height of a slab: pixels of the map (square root); width: channels (logarithm).\nArrows: order of computation."
)
HATCHED = " Hatched: shortcut, added to the block's output."


@dataclass(frozen=True)
class Step:
    """What one slab shows: a layer and those that follow it without changing its shape."""

    kind: str  # conv, pool, linear, input, or the class name
    title: str  # "conv 3x3 /2"
    extras: str  # "+ norm, ReLU"
    output: tuple[int, ...]
    parameters: int
    block: str  # "layer1.0" in a net of blocks


def steps(model: ModelRecord) -> tuple[Step, ...]:
    """Merge each layer with the norms, activations and dropouts behind it; leave out those that do nothing."""
    groups: list[list[LayerRow]] = []
    for row in model.layers:
        if row.kind in ("Identity", "Flatten"):
            continue
        if groups and any(word in row.kind for word in FOLLOWERS):
            groups[-1].append(row)
        else:
            groups.append([row])
    return tuple(_step(group) for group in groups)


def _step(group: Sequence[LayerRow]) -> Step:
    first, *rest = group
    kernel = re.search(r"(\d+)x(\d+)", first.detail)
    stride = re.search(r"stride (\d+)", first.detail)
    kind = next((word for word in ("conv", "pool", "linear") if word in first.kind.lower()), first.kind)
    what = "shortcut" if "shortcut" in first.name or "downsample" in first.name else kind
    title = "average pool" if "Avg" in first.kind else "max pool" if kind == "pool" else what
    title += f" {kernel[1]}x{kernel[2]}" if kernel and kind == "conv" else ""
    title += f" /{stride[1]}" if stride and stride[1] != "1" and kind == "conv" else ""
    names = ("norm" if "Norm" in row.kind else row.kind.lower().replace("relu", "ReLU") for row in rest)
    extras = "+ " + ", ".join(dict.fromkeys(names)) if rest else ""
    block = re.match(r"(.+?\.\d+)\.", first.name)
    return Step(kind, title, extras, first.output, sum(row.parameters for row in group), block[1] if block else "")


@matplotlib.rc_context(STYLE)
def layers(model: ModelRecord, input_size: int) -> Figure:
    """Draw a net: a slab per layer, as high as its map (square root) and as wide as its channels (logarithm)."""
    drawn = (Step("input", "image", "", (3, input_size, input_size), 0, ""), *steps(model))
    per_line = math.ceil(len(drawn) / math.ceil(len(drawn) / PER_LINE))
    lines = [drawn[i : i + per_line] for i in range(0, len(drawn), per_line)]
    largest = max((step.output[-1] for step in drawn if len(step.output) == 3), default=1)
    heights = [ABOVE + 1.3 * max(_height(step, largest) for step in line) + BELOW for line in lines]
    width, height = max(6.2, per_line * CELL_WIDTH) + 0.2, 0.35 + sum(heights) + 0.5
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    work = f"{fmt.count(model.parameters)} parameters, {fmt.flops(model.flops)} per image"
    axes.text(LEFT, height - 0.22, f"{model.name}: {work}", fontweight="bold", fontsize=10.5, va="center")
    top = height - 0.35
    for line, high in zip(lines, heights, strict=True):
        _line(axes, line, top, top - high + BELOW, largest, last=line is lines[-1])
        top -= high
    legend = LEGEND + (HATCHED if any(step.title.startswith("shortcut") for step in drawn) else "")
    axes.text(LEFT, 0.3, legend, fontsize=9, va="center", color="#57606a", linespacing=1.4)
    return figure


def _line(axes: Axes, line: Sequence[Step], top: float, base: float, largest: int, *, last: bool) -> None:
    for i, step in enumerate(line):
        left = LEFT + i * CELL_WIDTH
        right = _slab(axes, step, left, base, largest)
        _labels(axes, step, left, base)
        if not (last and step is line[-1]):
            _arrow(axes, right + 0.05, left + CELL_WIDTH - 0.05, base + 0.1)
        if step.block:
            _bracket(axes, step.block if i == 0 or line[i - 1].block != step.block else "", left, top - 0.22)


def _height(step: Step, largest: int) -> float:
    if len(step.output) == 3:
        return SLAB_HEIGHT * max(0.12, math.sqrt(step.output[-1] / largest))
    return SLAB_HEIGHT * min(1.0, 0.1 * math.log2(step.output[0] + 1))


def _slab(axes: Axes, step: Step, left: float, base: float, largest: int) -> float:
    """Draw a box standing on `base`; return where it ends on the ground."""
    high, wide, deep = _height(step, largest), 0.12, 0.0
    if len(step.output) == 3:
        wide, deep = 0.04 + 0.05 * math.log2(step.output[0] + 1), 0.3 * high
    x0, x1, y0, y1 = left, left + wide, base, base + high
    faces = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]
    if deep:
        faces.append([(x0, y1), (x1, y1), (x1 + deep, y1 + deep), (x0 + deep, y1 + deep)])
        faces.append([(x1, y0), (x1 + deep, y0 + deep), (x1 + deep, y1 + deep), (x1, y1)])
    colour, hatch = COLOURS.get(step.kind, OTHER_COLOUR), "////" if step.title.startswith("shortcut") else None
    for face in faces:
        axes.add_patch(Polygon(face, facecolor=colour, edgecolor=INK, linewidth=0.9, hatch=hatch, joinstyle="round"))
    return x1 + min(deep, 0.12)


def _labels(axes: Axes, step: Step, left: float, base: float) -> None:
    parameters = f"{fmt.count(step.parameters)} par." if step.parameters else ""
    lines = [step.title, fmt.shape(step.output), parameters, fmt.short(step.extras, 20)]
    for i, text in enumerate(line for line in lines if line):
        weight = "bold" if i == 0 else "normal"
        axes.text(left, base - 0.14 - 0.165 * i, text, fontsize=9, va="center", fontweight=weight)


def _arrow(axes: Axes, start: float, end: float, y: float) -> None:
    style = {"arrowstyle": "->", "color": "#57606a", "linewidth": 1.0}
    axes.annotate("", (end, y), xytext=(start, y), arrowprops=style)


def _bracket(axes: Axes, name: str, left: float, y: float) -> None:
    """A line over one cell of a block; the first cell of the block carries its name."""
    axes.plot([left - (0.0 if name else 0.1), left + CELL_WIDTH - 0.1], [y, y], color="#8b949e", linewidth=1.2)
    if name:
        axes.text(left, y + 0.1, fmt.short(name, 18), fontsize=9, va="center", color="#57606a")
