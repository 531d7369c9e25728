"""The command line for tests: called in this process, which has torch loaded already, or in one of its own."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

import torch

from rungs.cli import main as cli
from rungs.cli import terminal

UNDRAWN = [sys.executable, str(Path(__file__).with_name("undrawn_rungs.py"))]
"""The command line's first words for a process that draws no figures."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "160"}
"""One thread, because tests run side by side; and as wide as this."""


def rungs(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run `rungs` with these words here, as if in a process whose output goes into files.

    What `main` does not handle is raised in the test. What belongs to a process is put back: its output, arguments,
    folder, environment, warnings, threads, handlers of signals, and torch's generator.

    Args:
        words: What follows `rungs`.
        cwd: The folder to run it in.
        env: Added to the environment; PYTHONIOENCODING is heeded.
        code: The exit code that it must have.
    """
    return _checked(_run_here(cli.main, ["rungs", *map(str, words)], cwd, env), code)


def script(
    path: Path, *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a Python file here in the same way; what it imports from beside itself is forgotten afterwards."""

    def main() -> None:
        beside = str(path.parent)
        with mock.patch.object(sys, "path", [beside, *sys.path]):
            try:
                runpy.run_path(str(path), run_name="__main__")
            finally:
                for name, module in list(sys.modules.items()):
                    if (getattr(module, "__file__", None) or "").startswith(beside + os.sep):
                        del sys.modules[name]

    return _checked(_run_here(main, [str(path), *map(str, words)], cwd, env), code)


def _run_here(
    main: Callable[[], object], argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
) -> subprocess.CompletedProcess[str]:
    added = {**ENVIRONMENT, **(env or {})}
    with contextlib.ExitStack() as stack:
        outputs = [stack.enter_context(_caught(name, added.get("PYTHONIOENCODING"))) for name in ("stdout", "stderr")]
        stack.enter_context(mock.patch.dict(os.environ, added))
        stack.enter_context(contextlib.chdir(cwd or Path.cwd()))
        stack.enter_context(mock.patch.object(sys, "argv", list(argv)))
        stack.enter_context(mock.patch.multiple(terminal.out, _width=120, _color_system=None))  # if this is a terminal
        stack.enter_context(_usual_warnings())
        stack.enter_context(_state_put_back())
        torch.set_num_threads(1)
        returned = 0
        try:
            main()
        except Exception as error:
            error.add_note("".join(read() for read in outputs))
            raise
        except SystemExit as end:
            assert end.code is None or isinstance(end.code, int), end.code
            returned = end.code or 0
        out, err = (read() for read in outputs)
    return subprocess.CompletedProcess(argv, returned, out, err)


def rungs_process(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Do the same in a process of its own, where that is what is tested; it takes some seconds more."""
    line = [sys.executable, "-m", "rungs", *map(str, words)]
    environment = {**os.environ, **ENVIRONMENT, **(env or {})}
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment)
    return _checked(done, code)


def _checked(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def _caught(name: str, encoding: str | None) -> Iterator[Callable[[], str]]:
    """Lead an output into a file, also what libraries in C write to it; yield a function that reads it."""
    number = {"stdout": 1, "stderr": 2}[name]
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        before = os.dup(number)
        stack.callback(os.close, before)
        os.dup2(file.fileno(), number)
        stack.callback(os.dup2, before, number)
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = stack.enter_context(open(number, "w", encoding=encoding or "utf-8", errors=errors, closefd=False))
        stack.enter_context(mock.patch.object(sys, name, stream))

        def read() -> str:
            stream.flush()
            file.seek(0)
            return file.read().decode()

        yield read


@contextlib.contextmanager
def _usual_warnings() -> Iterator[None]:
    """Print warnings on standard error, those that Python prints unasked; what pytest makes an error stays one."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = lambda text, kind, file, line, *_: print(
            warnings.formatwarning(text, kind, file, line), file=sys.stderr, end=""
        )
        yield


@contextlib.contextmanager
def _state_put_back() -> Iterator[None]:
    threads = torch.get_num_threads()
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        with torch.random.fork_rng(devices=[]), mock.patch.object(urllib.request, "_opener", None):  # it keeps proxies
            yield
    finally:
        torch.set_num_threads(threads)
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
