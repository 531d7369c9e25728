"""The options of a range test of learning rates."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.run.folder import numbered

STEPS = 120
LOW, HIGH = 1e-6, 10.0
FEWEST_STEPS, MOST_STEPS = 20, 100_000
"""With fewer steps than these no curve can be read."""
MOST_SEEDS, MOST_EPOCHS = 100, 10_000
SEEDS = 3
"""The fewest that a paired test can judge."""
LONGER = 4
"""Where nothing was learnt, a search so many times as long is offered."""
DECADE = 10.0
"""The least that the highest rate must be above the lowest, as a factor."""


def _command(given: Sequence[str], low: float, high: float, seeds: int, steps: int, checks: int | None) -> str:
    """Return the command that does what was asked for; what is usual is left out."""
    options = (
        ("--steps", None if steps == STEPS else steps),
        ("--low", None if low == LOW else f"{low:g}"),
        ("--high", None if high == HIGH else f"{high:g}"),
        ("--seeds", None if seeds == SEEDS else seeds),
        ("--checks", checks),
    )
    return shlex.join(["rungs", "lr-find", *given, *_flags(options)])


def _flags(options: Sequence[tuple[str, object]]) -> list[str]:
    """Return the words of a command line for those options that have a value."""
    return [word for flag, value in options if value is not None for word in (flag, str(value))]


def _require_range(low: float, high: float) -> None:
    """Refuse rates that are none, or no range."""
    for flag, rate in (("--low", low), ("--high", high)):
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f"{rate:g} is no learning rate", where=flag, do="give a number above 0")
    if high < DECADE * low:
        do = f"give a highest rate of at least {DECADE:g} times the lowest, {LOW:g} to {HIGH:g} is usual"
        raise UserError(f"{low:g} to {high:g} is no range to sweep", where="--low --high", do=do)


def rates_folder(recipe: Recipe) -> Path:
    """Return `rates/NAME`; where that is taken the next number behind it."""
    return numbered(Path("rates") / recipe.name)
