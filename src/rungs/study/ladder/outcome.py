"""What became of a cell of a ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rungs.run.record import RunRecord
from rungs.study.ladder.spec import Cell


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell. Without a record it failed, and `ending` is the reason."""

    cell: Cell
    folder: Path
    record: RunRecord | None
    ending: str
    kept: bool = False  # it was already trained


Tell: TypeAlias = Callable[[Outcome, int, int], None]
"""Called with an outcome, the number of cells done, and the total."""
