"""Options of `rungs compare`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from rungs.recipe.flags import Folder, Runs


@dataclass(frozen=True)
class CompareOptions:
    """Options of `rungs compare`."""

    runs: Runs
    """Two or more run folders; FOLDER:RUNG stands for all seeds of a rung of a climb. The folder of a cross-validation
    stands for its folds."""
    _: KW_ONLY
    folder: Folder = field(default=None, compare=False)
    """Folder for record and report (default: comparisons/A-vs-B)."""
