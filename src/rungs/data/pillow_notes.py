"""Catch what Pillow says while it reads a file: warnings and log lines, which on the screen would name no file."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TextIO

import PIL

MODULES = r"PIL\.|pillow_heif\."


class _Thread(threading.local):
    """What one thread has heard; None while it does not listen."""

    notes: list[str] | None = None


class _Listeners:
    """How many threads listen, and how to put back what belongs to the whole process."""

    def __init__(self) -> None:
        self.lock, self.count, self.undo = threading.Lock(), 0, contextlib.ExitStack()


_thread, _listeners = _Thread(), _Listeners()


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Yield a list that receives what Pillow says in this thread, a line each, none twice.

    Python's warnings and loggers belong to the process: the first thread that listens redirects them, the last one
    puts them back, and what other threads say in the meantime goes its usual way.
    """
    with _listeners.lock:
        if _listeners.count == 0:
            _listeners.undo = _redirected()
        _listeners.count += 1
    notes: list[str] = []
    before, _thread.notes = _thread.notes, notes
    try:
        yield notes
    finally:
        _thread.notes = before
        with _listeners.lock:
            _listeners.count -= 1
            if _listeners.count == 0:
                _listeners.undo.close()


def _redirected() -> contextlib.ExitStack:
    """Lead warnings and log lines of Pillow to the threads that listen; closing the stack puts everything back."""
    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.filterwarnings("always", module=MODULES)  # a second file with the same fault counts, too
    usual = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not _heard(str(message)):
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    logger, handler = logging.getLogger("PIL"), _Handler(logging.WARNING)
    logger.addHandler(handler)
    stack.callback(logger.removeHandler, handler)
    stack.callback(setattr, logger, "propagate", logger.propagate)
    logger.propagate = False
    return stack


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _heard(record.getMessage())


def _heard(text: str) -> bool:
    """Note a text if this thread listens; return whether it does."""
    if _thread.notes is None:
        return False
    line = " ".join(text.split()).rstrip(".")
    if line not in _thread.notes:
        _thread.notes.append(line)
    return True


@cache
def silence_libtiff() -> None:
    """Keep libtiff, which is written in C, from printing; what it cannot read becomes an error of Pillow anyway."""
    pillow = Path(PIL.__file__).parent
    bundled = [*pillow.parent.glob("[pP]illow.libs/libtiff*"), *pillow.glob(".dylibs/libtiff*")]
    for library in (*map(str, bundled), *(() if bundled else ("libtiff.so.6", "libtiff.so.5"))):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(library)
            loaded.TIFFSetErrorHandler(None)
            loaded.TIFFSetWarningHandler(None)
