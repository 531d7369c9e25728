"""What the cache folder holds and how large it may be; the least recently used sets are removed first.

Of `rungs.data.cache.cache_dir()`: `decoded/` and `features/` hold a folder for each set, and the limit is for them;
`near/` holds pairs of near duplicates, `measured/` answers about this machine, `datasets/` downloads. What a process
has mapped is never removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
from filelock import FileLock, Timeout

from rungs.data import cache
from rungs.errors import UserError

VARIABLE = "RUNGS_CACHE_GB"
SHARE = 0.25
"""Of the disk space that is free or taken by the cache: its limit where none is set."""
GB = 10**9
DAY_S, MINUTE_S = 86_400, 60
KEY = 8
"""Characters of the key of features that name them."""

KINDS = {
    "decoded": "decoded",
    "features": "features",
    "near": "near-duplicates",
    "measured": "measured",
    "datasets": "downloads",
}
"""Folders -> what they hold, in the words of the command line."""
SETS = ("decoded", "features")
"""Kinds that are kept in a folder for each set and count towards the limit."""


@dataclass(frozen=True)
class Held:
    """Something in the cache: a set, a download, or all small files of a kind."""

    kind: str
    name: str
    images: int | None
    bytes: int
    used: float  # when it was last used, in seconds since 1970
    paths: tuple[Path, ...]


def contents() -> list[Held]:
    """Return all that the cache folder holds, by kind, the most recently used first."""
    held = [*_sets(), *_near(), *_measured()]
    held += _folders(cache.cache_dir() / "datasets", "downloads")
    held += [_held("other", path.name, (path,)) for path in _inside(cache.cache_dir()) if path.name not in KINDS]
    order = [*KINDS.values(), "other"]
    return sorted(held, key=lambda one: (order.index(one.kind), -one.used))


def limit_bytes(cache_gb: float | None = None) -> int:
    """Return how large all sets may be together.

    Args:
        cache_gb: As a recipe says it; None: as the environment variable does, else by the disk.

    Raises:
        UserError: The variable is not a number above 0.
    """
    if cache_gb is not None:
        return int(cache_gb * GB)
    if given := os.environ.get(VARIABLE):
        with contextlib.suppress(ValueError):
            if 0 < float(given) < 1e9:
                return int(float(given) * GB)
        raise UserError("not a number of GB above 0", where=f"{VARIABLE}={given}", do="give one, such as 20")
    return int(SHARE * (_free_bytes() + sum(one.bytes for one in _sets())))


def trim(limit: int, keep: str = "") -> int:
    """Remove the least recently used sets until the others fit.

    Args:
        limit: Bytes.
        keep: The content key of a set that stays.

    Returns:
        The bytes freed.
    """
    sets = sorted(_sets(), key=lambda one: one.used)
    total = before = sum(one.bytes for one in sets)
    for one in sets:
        if total > limit and one.paths[0].name != keep and _removed(one.paths[0]):
            total -= one.bytes
    if total < before:
        _tidy()
    return before - total


def free_disk(needed: int) -> None:
    """Remove the least recently used sets as far as `needed` bytes would not fit on the disk."""
    missing = needed - _free_bytes()
    if missing > 0:
        trim(sum(one.bytes for one in _sets()) - missing)


def remove_superseded(content_key: str) -> None:
    """Remove the other sets of the same source that were decoded in the same way, as its files once were."""
    new = cache.peek(cache.decoded_folder() / content_key)
    for folder in cache.entry_folders():
        old = cache.peek(folder)
        if folder.name != content_key and old.origin and (old.origin, old.how) == (new.origin, new.how):
            _removed(folder)
    _tidy()


def clear(held: Sequence[Held]) -> tuple[int, list[Held]]:
    """Remove things from the cache.

    Returns:
        The bytes freed, and what is still there: a process uses it, or it cannot be removed.
    """
    freed, left = 0, []
    for one in held:
        gone = [_removed(path) for path in one.paths]
        if all(gone):
            freed += one.bytes
        else:
            left.append(one)
    _tidy()
    return freed, left


def size(count: float) -> str:
    """Return a number of bytes in words, in powers of 1,000 as disks are sold."""
    for unit, step in (("GB", GB), ("MB", 10**6), ("kB", 1000)):
        if count >= step:
            return f"{count / step:,.1f} {unit}" if count < 100 * step else f"{count / step:,.0f} {unit}"
    return f"{count:.0f} bytes"


def _sets() -> list[Held]:
    return [*_decoded(), *_features()]


def _decoded() -> Iterable[Held]:
    for folder in cache.entry_folders():
        known = cache.peek(folder)
        side = known.image_size
        with contextlib.suppress(OSError):
            images = (folder / "images.u8").stat().st_size // (3 * side**2) if side else 0
            name = f"{known.name or 'a set of an earlier version'}, {side} px"
            yield _held("decoded", name, (folder,), images)
    for folder in _unfinished():
        yield _held("decoded", "never finished", (folder,))


def _features() -> Iterable[Held]:
    """Yield sets of features, named by the beginning of their key and by their shape."""
    for one in _folders(cache.cache_dir() / "features", "features"):
        images, width = _shape(one.paths[0] / "features.safetensors")
        said = "damaged" if width is None else f"{width} numbers each"
        yield replace(one, name=f"{one.name[:KEY]}, {said}", images=images)


def _shape(path: Path) -> tuple[int | None, int | None]:
    """Return the number of images and of features of each, from the header of a file; None where it is damaged."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            images, width = file.get_slice("features").get_shape()
    except (OSError, safetensors.SafetensorError, ValueError):
        return None, None
    return images, width


def _unfinished() -> list[Path]:
    """Return what processes that were killed have left."""
    minute_ago = time.time() - MINUTE_S
    left = [path for path in _inside(cache.decoded_folder()) if path.suffix in (".making", ".removed")]
    return [path for path in left if _last_used(path) < minute_ago and not cache.in_use(path)]


def _folders(folder: Path, kind: str) -> list[Held]:
    return [_held(kind, path.name, (path,)) for path in _inside(folder) if not path.name.endswith(".lock")]


def _near() -> list[Held]:
    files = tuple(_inside(cache.cache_dir() / "near"))
    sets = sum(path.suffix == ".npz" for path in files)
    return [_held("near-duplicates", f"pairs in {sets} set{'s' * (sets != 1)}", files)] if files else []


def _measured() -> list[Held]:
    files = tuple(_inside(cache.cache_dir() / "measured"))
    answers = sum(path.suffix == ".json" for path in files)
    return [_held("measured", f"{answers} answer{'s' * (answers != 1)} about this machine", files)] if files else []


def _held(kind: str, name: str, paths: tuple[Path, ...], images: int | None = None) -> Held:
    return Held(kind, name, images, sum(map(_bytes, paths)), max(map(_last_used, paths)), paths)


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _files(path: Path) -> list[Path]:
    return [path, *path.rglob("*")] if path.is_dir() else [path]


def _bytes(path: Path) -> int:
    total = 0
    for file in _files(path):
        with contextlib.suppress(OSError):
            total += file.lstat().st_size if not file.is_dir() else 0
    return total


def _last_used(path: Path) -> float:
    times = [0.0]
    for file in _files(path):
        with contextlib.suppress(OSError):
            times.append(file.lstat().st_mtime)
    return max(times)


def _removed(path: Path) -> bool:
    """Remove a file or folder unless a process uses it; return whether it is gone."""
    try:
        if not path.is_dir():
            path.unlink()
        elif cache.in_use(path):
            return False
        else:
            gone = path if path.suffix == ".removed" else path.rename(path.with_name(f"{path.name}.removed"))
            shutil.rmtree(gone)
    except FileNotFoundError:
        return True
    except OSError:  # another user's, or mapped on Windows
        return False
    return True


def _free_bytes() -> int:
    folder = cache.cache_dir()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return int(shutil.disk_usage(folder).free)
    except OSError:
        return 0


def _tidy() -> None:
    """Remove what is left of sets that are gone: which listing they belonged to, old locks, half a set."""
    decoded = cache.decoded_folder()
    for listing in _inside(decoded / "listings"):
        with contextlib.suppress(OSError, ValueError):
            if not (decoded / listing.read_text(encoding="ascii")).is_dir():
                listing.unlink()
    locks = [*_inside(decoded / "locks"), *_inside(cache.cache_dir() / "features")]
    for path in (path for path in locks if path.suffix == ".lock"):
        with contextlib.suppress(OSError, Timeout):
            if path.stat().st_mtime < time.time() - DAY_S:
                with FileLock(path, timeout=0):
                    path.unlink()
    for folder in _unfinished():
        _removed(folder)
