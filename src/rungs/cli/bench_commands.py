"""What `rungs bench` prints: a line on what happens now, where a person watches; then the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from rungs.cli.terminal import out
from rungs.recipe.spec import Recipe


def bench(recipe: Recipe, folder: Path | None, *, quiet: bool, **how: Any) -> None:
    """Measure a recipe and print what was found.

    Args:
        recipe: What to measure.
        folder: Where its record goes; None for the usual place.
        quiet: Print errors alone.
        how: The other arguments of `rungs.study.bench.measure.bench`.

    Raises:
        UserError: Bad input or bad data.
    """
    from rungs.study.bench import measure, options
    from rungs.study.bench import tables as bench_tables
    from rungs.study.bench.advice import advise
    from rungs.study.bench.record import BenchDir

    folder = folder or options.bench_folder(recipe)
    screen = Console(stderr=True, quiet=quiet or not Console(stderr=True).is_terminal)
    with screen.status("") as line:
        record = measure.bench(recipe, folder=folder, tell=lambda text: line.update(f"{recipe.name}: {text}"), **how)
    if not quiet:
        out.print(bench_tables.summary(record, advise(record)))
        out.print(f"report: {BenchDir(folder).report}", soft_wrap=True)
