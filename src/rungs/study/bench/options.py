"""The options of a bench."""

from __future__ import annotations

from itertools import chain, count
from pathlib import Path

from rungs.recipe.spec import Recipe

SHORTEST_S, LONGEST_S = 1, 3600
"""Budgets of a bench that make sense."""


def bench_folder(recipe: Recipe) -> Path:
    """Return `runs/bench-NAME`; where that is taken the next number behind it."""
    first = Path("runs") / f"bench-{recipe.name}"
    candidates = chain([first], (first.with_name(f"{first.name}-{n}") for n in count(2)))
    return next(path for path in candidates if not path.exists())
