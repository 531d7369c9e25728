"""Features that a frozen body has computed, kept in the user's cache.

    features/KEY/features.safetensors     float32 (M, F)

The key is that of the pixels and of everything that computed them, so an entry never becomes wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors
import torch
from filelock import FileLock
from safetensors.torch import load_file, save

from rungs.data.cache import cache_dir
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


def cached(key: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return the features of a key, float32 (M, F) on the CPU, computed where the cache does not have them.

    Of several processes that need them at once one computes, the others wait. Where the cache cannot be read or
    written, each computes its own.
    """
    try:
        folder = cache_dir() / "features" / key
    except UserError:  # no home folder
        return compute()
    path = folder / "features.safetensors"
    with _locked(folder):
        with contextlib.suppress(OSError, safetensors.SafetensorError, KeyError):
            return load_file(path)["features"]
        features = compute()
        with contextlib.suppress(OSError, UserError):
            write_whole(path, save({"features": features}))
        return features


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # read-only, or a file system without locks
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / ".lock"))
        yield
