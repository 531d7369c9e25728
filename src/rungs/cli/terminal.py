"""Where commands print: standard output, of several ranks only the first."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    pass


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
