"""Answers that were measured once on this machine, such as which precision is fast, kept in the user's cache.

measured/KEY.json     machine, question and answer; deleting the folder measures anew
measured/KEY.lock     held by the process that is measuring it
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from filelock import FileLock, Timeout

from rungs.data.cache import cache_dir
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.run.folder import write_whole
from rungs.training.device import device_name

T = TypeVar("T")


def remembered(
    question: str,
    kind: type[T],
    measure: Callable[[], T],
    *,
    accept: Callable[[T], bool] = lambda answer: True,
    wait_s: float = -1.0,
) -> T:
    """Return what `measure` returned when this machine was asked the question first.

    A machine is its chip and the version of torch. Of several processes that ask at once one measures, and the others
    wait for its answer. Where the cache cannot be read or written, the answer is measured in each process.

    Args:
        question: With everything that the answer depends on, such as shapes and the number of threads.
        kind: The answer's type, one that JSON can hold.
        measure: Finds the answer.
        accept: Whether a kept answer is enough; if not, it is measured again and replaced.
        wait_s: How long to wait for another process that is measuring it; negative: until it has the answer.

    Raises:
        filelock.Timeout: Another process was still measuring it after `wait_s`.
    """
    machine = f"{_chip()}, torch {torch.__version__}"
    key = hashlib.sha256(f"{machine}\n{question}".encode()).hexdigest()[:32]
    try:
        path = cache_dir() / "measured" / f"{key}.json"
    except UserError:  # no home folder
        return measure()
    kept = _read(path, kind)
    if kept is not None and accept(kept):
        return kept
    with _alone(path, wait_s):
        kept = _read(path, kind)  # by the process that we waited for
        if kept is not None and accept(kept):
            return kept
        answer = measure()
        entry = {"machine": machine, "question": question, "answer": answer}
        with contextlib.suppress(OSError, UserError):
            write_whole(path, msgspec.json.encode(entry) + b"\n")
        return answer


def _read(path: Path, kind: type[T]) -> T | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError, KeyError):
        entry = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return msgspec.convert(entry["answer"], kind)
    return None


@contextlib.contextmanager
def _alone(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock of an answer, which the system releases if this process dies; without a writable cache, none."""
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_suffix(".lock")).acquire(timeout=wait_s))
        except Timeout:
            raise
        except (OSError, NotImplementedError):  # read-only, or a file system without locks
            pass
        yield


@cache
def _chip() -> str:
    """Return the chip's name and, of a CPU, its instructions: clouds give different chips the same name."""
    device = open_device()
    if device.type == "cuda":
        return device_name(device)
    features = sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)
    return f"{device_name(device)} ({' '.join(features)})"
