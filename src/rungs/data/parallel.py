"""Work on many files at once, in order, with a progress bar."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Items in progress per core: enough to keep the cores busy, few enough to save memory."""


def in_parallel(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `function(item)` of each item, in order, by one thread per core: Pillow and SHA-256 release the GIL."""
    cores = _cores()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Budget:
    """A bound on something that threads use at once.

    Args:
        limit: How much all of them may use together; what needs more than that alone waits until it is alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.change = limit, 0, threading.Condition()

    @contextlib.contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Wait until `amount` is free, and take it for the time of the block."""
        amount = min(amount, self.limit)
        with self.change:
            self.change.wait_for(lambda: self.used + amount <= self.limit)
            self.used += amount
        try:
            yield
        finally:
            with self.change:
                self.used -= amount
                self.change.notify_all()


def _cores() -> int:
    """Return how many cores this process may use, fewer than the machine's where it is pinned to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shown(work: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield from `work`, with a progress bar on stderr if that is a terminal and the work takes more than a second."""
    if not sys.stderr.isatty():
        yield from work
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task, begun, visible = bar.add_task(label, total=total), time.monotonic(), False
    try:
        for thing in work:
            yield thing
            bar.advance(task)
            if not visible and time.monotonic() - begun > 1:
                bar.start()
                visible = True
    finally:
        if visible:
            bar.stop()
