"""The options of a comparison."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from rungs.recipe.flags import Folder, Runs


@dataclass(frozen=True)
class CompareOptions:
    """What a comparison is asked for."""

    runs: Runs
    """Run folders, two or more; FOLDER:RUNG is a rung of a climb, with all of its seeds."""
    _: KW_ONLY
    folder: Folder = field(default=None, compare=False)
    """Folder of record and report (default: comparisons/A-vs-B)."""
