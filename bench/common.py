"""Shared by the benches: paired ratios, results as JSON, errors without a traceback."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rungs.errors import UserError
from rungs.run.folder import write_whole


def compared(ours: Sequence[float], theirs: Sequence[float], name: str) -> dict[str, object]:
    """Return the median of the paired ratios theirs / ours, under `name`, and their range."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return {name: round(statistics.median(ratios), 3), "range": [round(ratios[0], 3), round(ratios[-1], 3)]}


def keep(result: Mapping[str, object], path: Path | None) -> None:
    """Write a result to the path that the user gave, if any."""
    if path is not None:
        write_whole(path, json.dumps(result, indent=1).encode() + b"\n")


@contextmanager
def sentences() -> Iterator[None]:
    """Print bad input as one message, exit code 2; a subprocess has printed its own message."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
