"""The cache folder, and its entries of decoded images.

    decoded/listings/KEY      the content key of a listing of files (names, sizes, times)
    decoded/locks/KEY.lock    held by the process that decodes a set
    decoded/CONTENT/          one set of decoded images:
        images.u8             uint8 (N, 3, S, S), raw: train, then validation, then test
        files.sha256          (N, 32), raw: of the file that each image was decoded from
        entry.json            the `Entry`: labels, names, classes, problems; its time is when it was last used

An entry is written under another name and renamed, by one process at a time, so it is complete or absent. A process
that has mapped `images.u8` holds a shared lock on it, so that others do not remove the entry (`rungs.data.room`).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from filelock import FileLock, Timeout

from rungs.errors import UserError
from rungs.run.folder import write_whole
from rungs.run.record import Problem, Record

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def cache_dir() -> Path:
    """Return the cache folder, `$XDG_CACHE_HOME/rungs` or `~/.cache/rungs`; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or user_path("~/.cache", "XDG_CACHE_HOME is not set")) / "rungs"


class PartEntry(Record, frozen=True):
    """One part of an entry: n images."""

    hash: str  # of `rungs.data.imageset.content_hash`
    labels: tuple[int, ...]  # (n,)
    names: tuple[str, ...]  # (n,)


class Entry(Record, frozen=True):
    """The metadata of a set of decoded images."""

    image_size: int
    classes: tuple[str, ...]
    parts: dict[str, PartEntry]  # "train", "validation", "test", in that order
    problems: tuple[Problem, ...]
    extent: tuple[tuple[int, int], tuple[int, int]] | None  # smallest and largest (width, height) as stored
    name: str = ""  # of the source, as the user gave it
    origin: str = ""  # where it was found; empty in entries of earlier versions
    how: str = ""  # the key of how files were decoded: two entries that share it hold the same pixels of a file
    notes: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 (SHA-256 of a file -> doubts from decoding it)


class Row(NamedTuple):
    """A file that is decoded already."""

    images: torch.Tensor  # uint8 (N, 3, S, S), mapped
    at: int
    notes: tuple[str, ...]


def entry_of_listing(listing_key: str) -> tuple[Entry, torch.Tensor] | None:
    """Return the entry of a listing and its images; None if there is no complete one."""
    try:
        content_key = (decoded_folder() / "listings" / listing_key).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return entry_of_content(content_key) if re.fullmatch("[0-9a-f]{64}", content_key) else None


def entry_of_content(content_key: str) -> tuple[Entry, torch.Tensor] | None:
    """Return an entry and its images, uint8 (N, 3, S, S), mapped; None if there is no complete one."""
    folder = decoded_folder() / content_key
    if (found := _open(folder)) is not None:
        with contextlib.suppress(OSError):  # read-only
            os.utime(folder / "entry.json")
    return found


def _open(folder: Path) -> tuple[Entry, torch.Tensor] | None:
    try:
        entry = msgspec.json.decode((folder / "entry.json").read_bytes(), type=Entry)
        n = sum(len(part.labels) for part in entry.parts.values())
        images = map_images(folder / "images.u8", n, entry.image_size)
    except (OSError, msgspec.MsgspecError):
        return None
    return None if images is None else (entry, images)


def known_rows(how: str) -> dict[bytes, Row]:
    """Return what is decoded already, in any entry that was made in this way, by the SHA-256 of the file."""
    rows: dict[bytes, Row] = {}
    for folder in entry_folders():
        if peek(folder).how != how or (found := _open(folder)) is None:
            continue
        entry, images = found
        try:
            digests = (folder / "files.sha256").read_bytes()
        except OSError:
            continue
        if len(digests) == 32 * len(images):
            for i in range(len(images)):
                digest = digests[32 * i : 32 * i + 32]
                rows[digest] = Row(images, i, entry.notes.get(digest.hex(), ()))
    return rows


class Peek(msgspec.Struct, frozen=True):
    """What a list of entries shows of one."""

    image_size: int = 0
    name: str = ""
    origin: str = ""
    how: str = ""


def peek(folder: Path) -> Peek:
    """Return what an entry is of, without its labels and names; empty if it cannot be read."""
    try:
        return msgspec.json.decode((folder / "entry.json").read_bytes(), type=Peek)
    except (OSError, msgspec.MsgspecError):
        return Peek()


def entry_folders() -> list[Path]:
    """Return the folders of all entries, whole or damaged."""
    try:
        return sorted(path for path in decoded_folder().iterdir() if re.fullmatch("[0-9a-f]{64}", path.name))
    except OSError:
        return []


def map_images(path: Path, n: int, image_size: int) -> torch.Tensor | None:
    """Map a file as uint8 (n, 3, S, S); None if its size does not match.

    A private mapping without reserved memory: it may be larger than memory, and writes to it do not reach
    the file.
    """
    shape = (n, 3, image_size, image_size)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != n * 3 * image_size**2:
            return None
        if n == 0:
            return torch.empty(shape, dtype=torch.uint8)
        hold(file.fileno())  # the mapping has a duplicate of the descriptor, and with it the lock
        no_reserve = 0x4000 if sys.platform == "linux" else 0  # MAP_NORESERVE, which `mmap` names since Python 3.13
        mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE | no_reserve, mmap.PROT_READ | mmap.PROT_WRITE)
    return torch.from_numpy(np.frombuffer(mapped, np.uint8).reshape(shape))


def hold(descriptor: int) -> None:
    """Mark an open file as in use for as long as any duplicate of its descriptor is open."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks, or it is just being removed
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def in_use(folder: Path) -> bool:
    """Return whether any process, this one included, holds a file in a folder; False where that cannot be known."""
    if fcntl is None:
        return False  # on Windows a mapped file cannot be removed anyway
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def remember(listing_key: str, content_key: str) -> None:
    """Record which entry belongs to a listing."""
    with writable():
        write_whole(decoded_folder() / "listings" / listing_key, content_key.encode())


@contextlib.contextmanager
def new_folder(content_key: str, needed_bytes: int) -> Iterator[Path]:
    """Yield a folder to write an entry into, and move it into place at the end. Use inside `locked`."""
    folder = decoded_folder() / content_key
    making = folder.with_suffix(".making")
    with writable():
        shutil.rmtree(making, ignore_errors=True)  # of a process that was killed
        making.mkdir(parents=True)
        free = shutil.disk_usage(making).free
        if free < needed_bytes:
            making.rmdir()
            raise _unwritable(
                f"{needed_bytes / 1e6:.1f} MB of images do not fit into {free / 1e6:.1f} MB of free space"
            )
        try:
            yield making
            shutil.rmtree(folder, ignore_errors=True)  # damaged, or it would have been used
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def write_entry(folder: Path, entry: Entry) -> None:
    """Write `entry.json`."""
    write_whole(folder / "entry.json", msgspec.json.encode(entry))


@contextlib.contextmanager
def locked(key: str, name: str) -> Iterator[None]:
    """Let one process at a time decode a set, and print a message while this one waits.

    Args:
        key: What processes that must not work at once have in common.
        name: What the set is called in the message.

    Raises:
        UserError: The lock cannot be written.
    """
    with alone(decoded_folder() / "locks" / f"{key}.lock", f"decodes {name}", required=True):
        yield


@contextlib.contextmanager
def alone(path: Path, doing: str, *, required: bool = False) -> Iterator[None]:
    """Let one process at a time work on something, and print a message while this one waits.

    Args:
        path: The file that is locked meanwhile; the system releases it if the process dies.
        doing: What the other one does, as in "decodes folder:photos".
        required: A lock that cannot be written is an error; by default each process then works for itself.

    Raises:
        UserError: A required lock cannot be written.
    """
    with contextlib.ExitStack() as held:
        with writable() if required else contextlib.suppress(OSError, NotImplementedError):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                held.enter_context(lock.acquire(timeout=2))
            except Timeout:
                print(f"waiting for another process that {doing}", file=sys.stderr)
                held.enter_context(lock.acquire())
        yield


@contextlib.contextmanager
def writable() -> Iterator[None]:
    """Turn a failure to write into an error that names the cache.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise _unwritable(f"cannot be written: {error.strerror or error}") from error


def _unwritable(what: str) -> UserError:
    do = "free disk space or fix the permissions, or choose another folder with the variable XDG_CACHE_HOME"
    return UserError(f"the cache of decoded images: {what}", where=cache_dir(), do=do)


def decoded_folder() -> Path:
    """Return the folder of decoded sets; it need not exist."""
    return cache_dir() / "decoded"


def user_path(text: str, where: str) -> Path:
    """Return a path, `~` and `~user` expanded; it need not exist.

    Args:
        text: What the user typed.
        where: The flag, field or variable it came from.

    Raises:
        UserError: No such user's home, an invalid name (a null byte, too long), or no permission.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except RuntimeError as error:
        raise UserError(f"no home folder is known for {text}", where=where, do="give the full path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"not a usable path: {reason}", where=ascii(where)[1:-1], do="check it") from error
    return path
