"""Answers that were measured once on this machine, such as which precision is fast, kept in the user's cache.

measured/KEY.json     machine, question and answer; deleting the folder measures anew
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
import torch

from rungs.data.cache import cache_dir
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.run.folder import write_whole
from rungs.training.device import device_name

T = TypeVar("T")


def remembered(question: str, kind: type[T], measure: Callable[[], T]) -> T:
    """Return what `measure` returned when this machine was asked the question first.

    A machine is its chip, its number of torch's threads and the version of torch. Where the cache cannot be read or
    written, the answer is measured in each process.

    Args:
        question: With everything that the answer depends on, such as shapes.
        kind: The answer's type, one that JSON can hold.
        measure: Finds the answer.
    """
    machine = f"{_chip()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    key = hashlib.sha256(f"{machine}\n{question}".encode()).hexdigest()[:32]
    path = cache_dir() / "measured" / f"{key}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError, KeyError):
        entry = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return msgspec.convert(entry["answer"], kind)
    answer = measure()
    entry = {"machine": machine, "question": question, "answer": answer}
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(entry) + b"\n")
    return answer


@cache
def _chip() -> str:
    """Return the chip's name and, of a CPU, its widest instructions: clouds give different chips the same name."""
    device = open_device()
    if device.type == "cuda":
        return device_name(device)
    has = torch.cpu.get_capabilities()
    features = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if has.get(name)]
    return ", ".join((device_name(device), *features))
