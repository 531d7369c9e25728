"""Where commands print: standard output, of several ranks only the first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console


class Output(Console):
    """Standard output; a reader that has seen enough (`| head`) ends the program quietly."""

    def on_broken_pipe(self) -> None:
        """Leave as a program does whose reader is gone."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


out = Output(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


def is_first_rank() -> bool:
    """Tell whether this process is alone or the first of `torchrun`'s ranks: the one that talks."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def print_json(value: Any) -> None:
    """Print a record, or a list of them, as JSON that a person can read."""
    import msgspec

    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


@contextmanager
def status(name: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what happens now on a line of its own, where a person watches; yield the function that says it."""
    screen = Console(stderr=True, quiet=quiet or not Console(stderr=True).is_terminal)
    with screen.status("") as line:
        yield lambda text: line.update(f"{name}: {text}")
