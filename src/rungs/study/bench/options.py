"""The options of a bench."""

from __future__ import annotations

from pathlib import Path

from rungs.recipe.spec import Recipe
from rungs.run.folder import numbered

SHORTEST_S, LONGEST_S = 1, 3600
"""Budgets of a bench that make sense."""


def bench_folder(recipe: Recipe) -> Path:
    """Return `runs/bench-NAME`; where that is taken the next number behind it."""
    return numbered(Path("runs") / f"bench-{recipe.name}")
