"""Accuracy against cost: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """A cost and the accuracy it brings."""

    cost: float
    accuracy: float


def dominates(one: Point, other: Point) -> bool:
    """Return whether `one` is as accurate for less, or more accurate at the same cost; equals do not dominate."""
    return one != other and one.cost <= other.cost and one.accuracy >= other.accuracy


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other dominates, cheapest first, equal ones once."""
    return tuple(sorted({point for point in points if not any(dominates(other, point) for other in points)}))
