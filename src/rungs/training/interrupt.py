"""SIGINT and SIGTERM stop training at any point, but never in the middle of saving."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum
        super().__init__(f"stopped by {signal.Signals(signum).name}")


class Interrupts:
    """Inside `handled`, SIGINT and SIGTERM raise `Interrupted`; inside `shield`, at its end.

    Does nothing outside the main thread, where Python allows no handlers.
    """

    def __init__(self) -> None:
        self._shielded = False
        self._pending: int | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals until the block ends."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Delay signals until the block ends."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._pending is not None:
            raise Interrupted(self._pending)

    def _handle(self, signum: int, _frame: FrameType | None) -> None:
        self._pending = signum
        if not self._shielded:
            raise Interrupted(signum)
