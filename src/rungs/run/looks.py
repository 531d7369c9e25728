"""The protocol guard's log: every look at a test set.

A test score is unbiased only as long as nothing is chosen by it (Dwork et al. 2015, doi:10.1126/science.aaa9375).
Each folder of a run, a climb or a search holds `looks.jsonl`, a `Look` per line; a torn line of a killed process
is skipped.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from rungs.run.folder import append_line
from rungs.run.record import Record, RunRecord

Kind: TypeAlias = Literal["scored", "watched", "evaluated", "compared"]
"""Scored: the weights that validation chose, at the end of a run. Watched: after an epoch. Evaluated: a trained net,
again. Compared: no image was opened, but scores of earlier looks were compared."""
OPENING: tuple[Kind, ...] = ("scored", "watched", "evaluated")
"""The kinds that open the test set."""


class Look(Record, frozen=True, kw_only=True):
    """One look at a test set."""

    when: str  # UTC, ISO 8601
    who: str  # the user, and the command that was given
    kind: Kind
    purpose: str  # what for, a phrase
    images: int
    test_hash: str  # of the set's content; "" where it is not known


def note(path: Path, kind: Kind, purpose: str, images: int, test_hash: str = "") -> None:
    """Append a look to the log at `path`.

    Raises:
        UserError: It cannot be written; then the test set must not be opened.
    """
    look = Look(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=f"{user()}: {command()}",
        kind=kind,
        purpose=purpose,
        images=images,
        test_hash=test_hash,
    )
    append_line(path, msgspec.json.encode(look))


def read(path: Path) -> tuple[Look, ...]:
    """Return the looks of a log, oldest first; () where there is none."""
    looks = []
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(msgspec.MsgspecError):
                looks.append(msgspec.json.decode(line, type=Look))
    return tuple(looks)


def own(seen: Iterable[Look], record: RunRecord) -> tuple[Look, ...]:
    """Return the looks at a run's own test set; its net may also have been scored on others."""
    mine = record.data.hashes.get("test")
    return tuple(look for look in seen if mine is None or look.test_hash in ("", mine))


def openings(looks: tuple[Look, ...]) -> int:
    """Return how many times the test set was opened."""
    return sum(look.kind in OPENING for look in looks)


def times(number: int) -> str:
    """Return 1 as "once", 2 as "twice", 3 as "3 times"."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def flattery(record: RunRecord) -> tuple[int, float, float] | None:
    """Return the epoch of the best watched test accuracy, that accuracy, and the accuracy of the kept epoch.

    The difference is how optimistic the best-on-test epoch would be; None where the test set was not watched.
    """
    watched = {row.epoch: row.test_accuracy for row in record.history if row.test_accuracy is not None}
    if not watched or record.best_epoch not in watched:
        return None
    best = max(watched, key=lambda epoch: watched[epoch])
    return best, watched[best], watched[record.best_epoch]


def user() -> str:
    """Return the name of the user who runs this process, or the number if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def command() -> str:
    """Return the command line of this process, shortened for a log; that of a notebook's kernel says nothing."""
    program, *words = sys.argv or [""]
    name = Path(program).name
    if name == "ipykernel_launcher.py":
        return "a notebook"
    text = shlex.join(["rungs" if name in ("rungs", "__main__.py") else name or "python", *words])
    text = without_password(text)  # of a search's storage
    return text if len(text) <= 200 else f"{text[:199]}…"


def without_password(text: str) -> str:
    """Return a text with the passwords of the addresses in it hidden."""
    text = re.sub(r"(\w://[^:/@\s]*):\S+@", r"\1:***@", text)
    return re.sub(r"(\bpassword=)[^&\s]+", r"\1***", text)
