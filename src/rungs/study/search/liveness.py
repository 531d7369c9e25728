"""Which worker trains a trial, and whether it is still alive.

A worker is "HOST:PID:START"; the start time distinguishes it from a later process with the same PID. On this host the
operating system knows which processes are alive; workers on other hosts are judged by their heartbeats in the storage.
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
"""Interval between two heartbeats of a worker."""
SILENT_S = 120.0
"""A worker on another host is dead after this long without a heartbeat: six beats."""
UNCLAIMED_S = 15.0
"""If a trial has no worker's name after this long, its worker died before writing one."""


@contextmanager
def heartbeat(beat: Callable[[], object]) -> Iterator[None]:
    """Call `beat`, which writes a heartbeat to the storage, every `BEAT_S` while the block runs."""
    stop = threading.Event()

    def send_beats() -> None:
        while not stop.wait(BEAT_S):
            with suppress(Exception):  # the storage may be unavailable briefly: the next beat may succeed
                beat()

    thread = threading.Thread(target=send_beats, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=BEAT_S)


def host() -> str:
    """Return the name of this machine, without colons."""
    return socket.gethostname().replace(":", "-") or "localhost"


def worker_id() -> str:
    """Return the worker ID of this process."""
    return f"{host()}:{os.getpid()}:{_start(os.getpid())}"


def without_host(worker: str) -> str:
    """Return a worker's name for a record, without the host: "here:PID" or "another machine"; "" for ""."""
    if not worker:
        return ""
    name, pid, _ = worker.rsplit(":", 2)
    return f"here:{pid}" if name == host() else "another machine"


def is_alive_here(worker: str) -> bool | None:
    """Return whether a worker on this host is alive; None for a worker on another host."""
    name, pid, start = worker.rsplit(":", 2)
    if name != host():
        return None
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # alive, but another user's
        pass
    except (ProcessLookupError, ValueError):
        return False
    return start in ("", _start(int(pid)))


def _start(pid: int) -> str:
    """Return when a process started, in ticks since boot; "Z" if it is dead, "" if unknown.

    `proc(5)`: the third field of /proc/PID/stat is the state, the 22nd the start time.
    """
    with suppress(OSError, IndexError):
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return "Z" if after_name[0] in "ZXx" else after_name[19]
    return ""


class ChangeTimer:
    """Measures, by this machine's clock, how long a value has been unchanged."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def unchanged_s(self, what: Hashable, now: object) -> float:
        """Return for how many seconds `what` has had the value `now`; 0 on the first call."""
        moment = time.monotonic()
        before, since = self._seen.get(what, (None, moment))
        if what not in self._seen or before != now:
            self._seen[what] = now, moment
            return 0.0
        return moment - since
