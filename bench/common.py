"""What several benches share: ratios in pairs, a result kept as JSON, bad input told in a sentence."""

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
    """Return the median ratio of theirs over ours, in pairs, under its name, and the range."""
    ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return {name: round(statistics.median(ratios), 3), "range": [round(ratios[0], 3), round(ratios[-1], 3)]}


def keep(result: Mapping[str, object], path: Path | None) -> None:
    """Write a result where the user asked for it."""
    if path is not None:
        write_whole(path, json.dumps(result, indent=1).encode() + b"\n")


@contextmanager
def sentences() -> Iterator[None]:
    """Tell bad input in a sentence, exit code 2; a process that was started here has told its own by then."""
    try:
        yield
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
