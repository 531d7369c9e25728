"""Checkpoints: written atomically, the newest two kept, damaged ones detected and skipped."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from rungs.errors import UserError
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import EpochRow, FastConvolution

MAGIC = b"rungs checkpoint 4\n"
KEPT = 2
RECORDS: dict[str, Any] = {"rows": tuple[EpochRow, ...], "convolutions": tuple[FastConvolution, ...]}
"""Attributes of a checkpoint that are stored as JSON, with their types."""


@dataclass
class Checkpoint:
    """All that is needed to resume after an epoch; the random state is derived from the epoch."""

    identity: str  # digest of the recipe, a colon, hash of the data
    started: str  # UTC, ISO 8601, of the first session
    code: tuple[str, ...]  # of `rungs.recipe.identity.code_version` and torch, of all sessions
    rows: tuple[EpochRow, ...]
    elapsed_s: float
    model: dict[str, Any]
    optimizer: dict[str, Any]
    ema: dict[str, Any] | None
    best: dict[str, Any] | None  # the weights of the best epoch so far
    convolutions: tuple[FastConvolution, ...] = ()  # what torch did not compute


def save(folder: RunDir, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then delete all but the newest two."""
    payload = io.BytesIO()
    records = {name: msgspec.json.encode(getattr(checkpoint, name)).decode() for name in RECORDS}
    state = {**vars(checkpoint), **records}
    torch.save(state, payload)
    body = payload.getbuffer()
    path = folder.checkpoints / f"epoch-{len(checkpoint.rows):04d}.ckpt"
    write_whole(path, MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n", body)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()


def restore(folder: RunDir) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest undamaged checkpoint, or None, and a sentence for each damaged one that was skipped.

    Raises:
        UserError: There are checkpoints and all are damaged.
    """
    damaged: list[str] = []
    for path in _newest_first(folder):
        try:
            return _read(path), damaged
        except ValueError as error:
            damaged.append(f"{path.name} is damaged ({error}); using the previous one")
    if damaged:
        do = "retrain in another folder; the best weights so far may still be in weights.safetensors"
        raise UserError("every checkpoint is damaged", where=folder.checkpoints, do=do)
    return None, []


def _read(path: Path) -> Checkpoint:
    header = len(MAGIC) + 65  # 64 hex digits and a line end
    data = path.read_bytes()
    if data[:17] == MAGIC[:17] and data[: len(MAGIC)] != MAGIC:
        do = "resume with that version, or retrain in another folder"
        raise UserError("written by another version of rungs", where=path, do=do)
    body = memoryview(data)[header:]
    if data[:header] != MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise ValueError("its checksum does not match")
    state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    records = {name: msgspec.json.decode(state[name], type=kind) for name, kind in RECORDS.items()}
    return Checkpoint(**{**state, **records})


def _newest_first(folder: RunDir) -> list[Path]:
    found = [p for p in folder.checkpoints.glob("*.ckpt") if re.fullmatch(r"epoch-\d+\.ckpt", p.name)]
    return sorted(found, key=lambda p: int(p.stem.partition("-")[2]), reverse=True)
