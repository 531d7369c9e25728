"""Read named files of a published set from a folder, a folder above it, or a tar archive."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from rungs.data.cache import cache_dir
from rungs.errors import UserError

Reader: TypeAlias = Callable[[str], bytes]
"""A file's name -> its content."""

LARGEST = 1 << 28
"""Bytes (256 MB) that a file inside an archive may have; the largest that we read has 155 MB."""


def again(path: Path) -> str:
    """Return what to do about a damaged file: only one in the cache may be deleted without asking its owner."""
    if path.is_relative_to(cache_dir()):
        return "delete it and download the set again"
    return "give another path, or download the set again"


def open_place(place: Path, folder: str, archive: str, files: Sequence[str]) -> tuple[Path, Reader] | None:
    """Return where in `place` a set is and how to read its files; None if it is not there.

    Args:
        place: The folder of the set, a folder that holds it or its archive, or the archive.
        folder: The set's own folder, also inside the archive.
        archive: The archive's published name.
        files: The names of the set's files.

    Raises:
        UserError: A damaged archive; later, from the reader, a file that is missing.
    """
    for path in (place, place / folder):
        if any((path / name).is_file() for name in files):
            return path, partial(_read, path)
    for path in (place, place / archive):
        if path.is_file() and (members := read_tar(path, folder, files)):
            return path, partial(_member, members, path)
    return None


def read_tar(path: Path, folder: str, files: Sequence[str]) -> dict[str, bytes]:
    """Return the content of the regular files FOLDER/NAME in a tar archive, for each name of `files` found.

    Nothing is extracted: whatever else the archive holds (links, devices, absolute paths, "..") is ignored.

    Raises:
        UserError: Not a tar archive, a damaged one, or a file of absurd size in it.
    """
    wanted = {(folder, name) for name in files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|*", bufsize=1 << 20) as archive:
            for member in archive:
                parts = tuple(part for part in PurePosixPath(member.name).parts if part != ".")
                if parts in wanted and member.isreg() and (file := archive.extractfile(member)):
                    if member.size > LARGEST:
                        raise UserError(f"{member.name} would be {member.size:,} bytes", where=path, do=again(path))
                    found[parts[1]] = file.read()
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise UserError(f"not a whole tar archive: {error}", where=path, do=again(path)) from error
    return found


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=folder / name, do=again(folder)) from error


def _member(members: dict[str, bytes], path: Path, name: str) -> bytes:
    if name not in members:
        raise UserError(f"holds no {name}", where=path, do=again(path))
    return members[name]
