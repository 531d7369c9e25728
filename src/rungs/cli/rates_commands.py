"""What `rungs lr-find` prints: a line on what happens now, where a person watches; then the table and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from rungs.cli.terminal import out


def lr_find(recipe: str, overrides: Sequence[str], folder: Path | None, *, quiet: bool, **how: Any) -> None:
    """Look for a learning rate and print what was found.

    Args:
        recipe: Name or path.
        overrides: As after `--set`.
        folder: Where its record goes; None for the usual place.
        quiet: Print errors alone.
        how: The other arguments of `rungs.study.rates.find.lr_find`.

    Raises:
        UserError: Bad input or bad data.
    """
    from rungs.recipe import toml as recipes
    from rungs.study.rates import find, options
    from rungs.study.rates import tables as rate_tables
    from rungs.study.rates.record import RateDir

    chosen = recipes.choose(recipe, overrides, data=how["data"], seed=how["seed"])
    folder = folder or options.rates_folder(chosen)
    screen = Console(stderr=True, quiet=quiet or not Console(stderr=True).is_terminal)
    with screen.status("") as line:
        record = find.lr_find(
            recipe, overrides, folder=folder, tell=lambda text: line.update(f"{chosen.name}: {text}"), **how
        )
    if not quiet:
        out.print(rate_tables.summary(record))
        out.print(f"next: {record.next_command}", style="bold", markup=False, soft_wrap=True)
        out.print(f"report: {RateDir(folder).report}", soft_wrap=True)
