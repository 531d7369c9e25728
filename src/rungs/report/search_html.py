"""The report of a search."""

from __future__ import annotations

from pathlib import Path

from rungs.rundir import SearchDir
from rungs.search_records import SearchRecord


def write(record: SearchRecord, folder: SearchDir) -> Path:
    """Write the report of a search; return its path."""
    return folder.report
