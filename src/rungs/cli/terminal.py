"""Where commands print: standard output, on the first rank only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

LONGEST = 10_000
"""The longest line in a file or a pipe, in characters."""


class Output(Console):
    """Standard output; a closed pipe (`| head`) ends the program quietly."""

    def on_broken_pipe(self) -> None:
        """Exit quietly when the pipe is closed."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


out = Output(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def print_unfolded(table: Table) -> None:
    """Print a table, each row on one line if the output is not a terminal."""
    if out.is_terminal:
        out.print(table)
        return
    usual = out.width
    out.width = max(usual, out.measure(table, options=out.options.update(max_width=LONGEST)).maximum)
    try:
        out.print(table)
    finally:
        out.width = usual


def is_first_rank() -> bool:
    """Return whether this process is alone or the first of `torchrun`'s ranks: the one that prints."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def print_json(value: Any) -> None:
    """Print a record, or a list of them, as indented JSON."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


@contextmanager
def status_line(name: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show progress on a status line if standard error is a terminal; yield the function that updates it."""
    screen = Console(stderr=True, quiet=quiet or not Console(stderr=True).is_terminal)
    with screen.status("") as line:
        yield lambda text: line.update(f"{name}: {text}")
