"""The points of a reliability diagram, the same in every figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from rungs.run.reliability import FEW, Bin

FAINT_ALPHA = 0.28
"""Of a bin with fewer than `FEW` images."""


def draw_bins(axes: Axes, bins: Sequence[Bin], look: Mapping[str, Any], label: str = "") -> None:
    """Draw a point for each bin with the interval of its accuracy, faint where it rests on few images.

    Points are not joined: a line would lead through bins that hold no images.

    Args:
        axes: In per cent both ways.
        bins: From `rungs.run.reliability.bins`.
        look: Colour, marker and size of the points, as matplotlib names them.
        label: For the legend.
    """
    style: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5, "elinewidth": 1.3, **look}
    for few, alpha in ((False, 1.0), (True, FAINT_ALPHA)):
        shown = [one for one in bins if (one.images < FEW) == few]
        x, y = [one.confidence for one in shown], [one.accuracy for one in shown]
        below = [max(0.0, one.accuracy - one.low) for one in shown]  # rounding could make it negative
        above = [max(0.0, one.high - one.accuracy) for one in shown]
        drawn = axes.errorbar(x, y, (below, above), alpha=alpha, **style)
        if label and bool(shown) and (not few or all(one.images < FEW for one in bins)):
            drawn.set_label(label)
