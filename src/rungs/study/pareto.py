"""Accuracy against its price: what nothing else beats (Pareto's front)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """What something costs, and what it came to."""

    cost: float
    accuracy: float


def dominates(one: Point, other: Point) -> bool:
    """Tell whether `one` is as accurate for less, or more accurate for as much; of equals neither dominates."""
    return one != other and one.cost <= other.cost and one.accuracy >= other.accuracy


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other dominates, cheapest first, equal ones once."""
    return tuple(sorted({point for point in points if not any(dominates(other, point) for other in points)}))
