"""The Python API of `rungs lr-find`: a learning rate, guessed by the range test and checked by short runs.

from rungs import lr_find
record = lr_find("digits-quick")
print(record.suggestion, record.next_command)
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from rungs.api import require_known
from rungs.errors import UserError
from rungs.recipe import toml as recipes
from rungs.recipe.spec import Recipe
from rungs.report import rates_html
from rungs.run.folder import write_whole
from rungs.run.record import to_json
from rungs.study.rates.find import Tell, find
from rungs.study.rates.record import RateDir, RateRecord
from rungs.training.device import open_world

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


def lr_find(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    folder: str | Path | None = None,
    steps: int = STEPS,
    low: float = LOW,
    high: float = HIGH,
    seeds: int = SEEDS,
    checks: int | None = None,
    skip_unreadable: bool = False,
    tell: Tell = lambda text: None,
) -> RateRecord:
    """Look for a recipe's learning rate, write its folder and its report, and return the record.

    The test set is not opened.

    Args:
        recipe: See `rungs.recipe.toml.choose`, as for `overrides`, `data` and `seed`.
        overrides: Changed fields.
        data: Another source.
        seed: The first of the seeds.
        folder: Where; by default `rates/NAME`, a new one each time.
        steps: Of each sweep.
        low: The rate of its first step.
        high: The rate of its last step, at least ten times `low`.
        seeds: Sweeps, and runs of each rate that is checked.
        checks: Epochs of each of these runs; by default as many as come to about `steps`.
        skip_unreadable: Leave unreadable files out.
        tell: Called with what happens now.

    Raises:
        UserError: Anything that the caller can mend.
    """
    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    _require_range(low, high)
    for flag, value, least, most in (
        ("--steps", steps, FEWEST_STEPS, MOST_STEPS),
        ("--seeds", seeds, 1, MOST_SEEDS),
        ("--checks", 1 if checks is None else checks, 1, MOST_EPOCHS),
    ):
        if not least <= value <= most:
            raise UserError(f"{value} is not from {least} to {most}", where=flag, do="give a number between these")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a range test trains in one process", where="torchrun", do="start it alone: rungs lr-find …")
    place = RateDir(folder or rates_folder(chosen))
    place.require_free()
    require_known(chosen.data.source)
    place.prepare()
    given = [str(recipe.name if isinstance(recipe, Recipe) else recipe)]
    given += _flags((("--data", data), ("--seed", seed), *(("--set", one) for one in overrides)))
    commands = (
        _command(given, low, high, seeds, steps, checks),
        _command(given, low, high, seeds, LONGER * steps, checks and LONGER * checks),
        shlex.join(["rungs", "train", *given]),
    )
    with place.locked(), open_world() as world:
        record = find(
            chosen,
            world,
            rates=(low, high, steps),
            seeds=seeds,
            epochs=checks,
            skip_unreadable=skip_unreadable,
            commands=commands,
            tell=tell,
        )
        write_whole(place.record, to_json(record))
        rates_html.write(record, place)
    return record


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
    first = Path("rates") / recipe.name
    candidates = chain([first], (first.with_name(f"{first.name}-{n}") for n in count(2)))
    return next(path for path in candidates if not path.exists())
