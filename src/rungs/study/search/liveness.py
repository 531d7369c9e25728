"""Who works on a trial, and whether they still live.

A worker is "HOST:PID:START"; the start time tells it from a later process of the same number. On this host the system
knows who lives; of other hosts only the heartbeat tells, which a worker writes into the storage while it trains.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT_S = 20.0
"""A worker says so often that it lives."""
SILENT_S = 120.0
"""A worker on another host that did not say so for this long is dead: six beats."""
UNCLAIMED_S = 15.0
"""A trial that nobody has put a name to for this long: whoever asked for it died before saying so."""


@contextmanager
def beating(beat: Callable[[], object]) -> Iterator[None]:
    """Call `beat`, which says in the storage that this worker lives, every `BEAT_S` as long as the block lasts."""
    over = threading.Event()

    def restore_run() -> None:
        while not over.wait(BEAT_S):
            with suppress(Exception):  # the storage is away for a moment: the next beat may get through
                beat()

    thread = threading.Thread(target=restore_run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=BEAT_S)


def host() -> str:
    """Return the name of this machine, fit to stand before a colon."""
    return socket.gethostname().replace(":", "-") or "localhost"


def me() -> str:
    """Return the name of this process as a worker."""
    return f"{host()}:{os.getpid()}:{_start(os.getpid())}"


def from_here(worker: str) -> str:
    """Return a worker as a record calls it, which names no machine: "here:PID" or "another machine"; "" of ""."""
    if not worker:
        return ""
    name, pid, _ = worker.rsplit(":", 2)
    return f"here:{pid}" if name == host() else "another machine"


def lives_here(worker: str) -> bool | None:
    """Tell whether a worker of this host lives; None for one of another host."""
    name, pid, start = worker.rsplit(":", 2)
    if name != host():
        return None
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # it lives and is another user's
        pass
    except (ProcessLookupError, ValueError):
        return False
    return start in ("", _start(int(pid)))


def _start(pid: int) -> str:
    """Return when a process started, in ticks since the machine did; "Z" if it is dead, "" where nobody says.

    `proc(5)`: the third field of /proc/PID/stat is the state, the 22nd the start time.
    """
    with suppress(OSError, IndexError):
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "Z" if after_name[0] in "ZXx" else after_name[19]
    return ""


class Watch:
    """Measures by this machine's own clock for how long something has stayed the same."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def same_for_s(self, what: Hashable, now: object) -> float:
        """Return for how many seconds `what` has been seen as `now`; 0 at first sight."""
        moment = time.monotonic()
        before, since = self._seen.get(what, (None, moment))
        if what not in self._seen or before != now:
            self._seen[what] = now, moment
            return 0.0
        return moment - since
