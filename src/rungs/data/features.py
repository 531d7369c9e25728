"""Features that a frozen body has computed, kept in the user's cache.

    features/KEY/features.safetensors     float32 (M, F); its time is when it was last used
    features/KEY.lock                     held by the process that computes them

The key is that of the pixels and of everything that computed them, so an entry never becomes wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save

from rungs.data import cache, room
from rungs.errors import UserError
from rungs.run.folder import write_whole

BLOCK = 256
"""Images hashed at a time: a mapped set need not fit into memory."""


def pixels_hash(pixels: torch.Tensor, rows: torch.Tensor) -> str:
    """Return the SHA-256 (hex) of some images.

    Args:
        pixels: uint8 (M, 3, H, W), on any device.
        rows: int64 (N,), which.
    """
    digest = hashlib.sha256(repr((len(rows), *pixels.shape[1:])).encode())
    for some in torch.split(rows, BLOCK):
        digest.update(pixels.index_select(0, some.to(pixels.device)).cpu().contiguous().numpy().data)
    return digest.hexdigest()


def cached(key: str, compute: Callable[[], torch.Tensor], cache_gb: float | None = None) -> torch.Tensor:
    """Return the features of a key, float32 (M, F) on the CPU, computed where the cache does not have them.

    Of several processes that need them at once one computes, the others wait. Where the cache cannot be read or
    written, each computes its own.

    Args:
        key: Of the pixels and of all that turns them into features (hex).
        compute: Computes them.
        cache_gb: The limit of the cache, which older sets make room for; None: see `rungs.data.room.limit_bytes`.
    """
    try:
        path = cache.cache_dir() / "features" / key / "features.safetensors"
    except UserError:  # no home folder
        return compute()
    with cache.alone(path.parent.with_suffix(".lock"), "computes the same features"):
        with contextlib.suppress(OSError, safetensors.SafetensorError, KeyError):
            return _read(path)
        limit = room.limit_bytes(cache_gb)  # a wrong one is said before the work
        features = compute()
        with contextlib.suppress(OSError, UserError):
            write_whole(path, save({"features": features}))
            room.trim(limit, keep=key)
        return features


def _read(path: Path) -> torch.Tensor:
    """Return the features in a file, which no process removes meanwhile, and note that they were used."""
    with path.open("rb") as file:
        cache.hold(file.fileno())
        features = load_file(path)["features"]
    with contextlib.suppress(OSError):  # read-only
        os.utime(path)
    return features
