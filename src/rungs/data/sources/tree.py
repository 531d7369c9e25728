"""The files below a folder, or in a zip, which is read in place. Nothing is decided here about what they stand for."""

from __future__ import annotations

import lzma
import os
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from rungs.data.sources.listing import ENDINGS, Read, stamp
from rungs.data.sources.names import parts_among, printable
from rungs.errors import UserError

Steps: TypeAlias = tuple[str, ...]
"""A path below the root, ("train", "cat", "1.jpg")."""

MAX_BYTES = 2**29
"""A larger file is not read: the largest image that `decode` accepts takes 0.4 GB uncompressed."""

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, MemoryError, RuntimeError, ValueError)
"""What `zipfile` raises on a damaged or unusual member, besides OSError."""

LEFTOVERS = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
        *("@eadir", "@tmp", "#recycle", "@recycle", "$recycle.bin", "recycler", "system volume information"),
        *("lost+found", "__pycache__", "node_modules"),
    )
)
"""What systems and programs leave behind, in lower case; hidden files are ignored, too."""


@dataclass(frozen=True)
class File:
    """A file: its path below the root, a stamp that changes with it, how to read it, and its path for display."""

    steps: Steps
    stamp: tuple[int, ...]
    read: Read
    name: str

    @property
    def is_image(self) -> bool:
        """Whether its extension is an image's."""
        return self.steps[-1].lower().endswith(tuple(ENDINGS))


class Tree:
    """Everything below a root, sorted.

    Attributes:
        files: All of them.
        folders: All of them.
        children: A folder -> the folders directly in it.
        direct: A folder -> the images directly in it.
        images: A folder -> the number of images in and below it.
        ignored: What systems leave behind, "@eaDir" -> the number of files that were ignored there.
        hidden: The number of other files that were ignored: hidden ones, or in a hidden folder.
    """

    def __init__(self, files: Iterable[File], folders: Iterable[Steps], ignored: Mapping[str, int]) -> None:
        self.files = sorted(files, key=lambda file: file.steps)
        self.folders = sorted(folders)
        self.ignored = {name: many for name, many in sorted(ignored.items()) if _is_leftover(name)}
        self.hidden = sum(ignored.values()) - sum(self.ignored.values())
        self.children: dict[Steps, list[Steps]] = {}
        self.direct: dict[Steps, list[File]] = {}
        self.images: Counter[Steps] = Counter()
        for folder in self.folders:
            self.children.setdefault(folder[:-1], []).append(folder)
        for file in self.files:
            if file.is_image:
                self.direct.setdefault(file.steps[:-1], []).append(file)
                self.images.update(file.steps[:i] for i in range(len(file.steps)))

    def inside(self, folder: Steps) -> list[Steps]:
        """Return the folders directly in a folder."""
        return self.children.get(folder, [])

    def below(self, folders: Iterable[Steps]) -> dict[Steps, list[File]]:
        """Return for each of the folders, none of which holds another, the files in and below it."""
        found: dict[Steps, list[File]] = {folder: [] for folder in folders}
        for file in self.files:
            for i in range(1, len(file.steps)):
                if file.steps[:i] in found:
                    found[file.steps[:i]].append(file)
                    break
        return found


def walk(root: Path) -> Tree:
    """List a folder; links are followed, but none into a folder that it is in.

    Raises:
        UserError: A folder that may not be listed.
    """
    files: list[File] = []
    folders: list[Steps] = []
    ignored: Counter[str] = Counter()
    real, class_depth, entered = os.path.realpath(root), _class_depth(root), set[tuple[Steps, str]]()
    for place, inside, names in os.walk(root, followlinks=True, onerror=_cannot_list):
        above = Path(place).relative_to(root).parts
        for name in filter(is_ignored, (*inside, *names)):
            ignored[name] += _files_in(Path(place, name))
        inside[:] = [
            name
            for name in sorted(inside)
            if not is_ignored(name) and not _again((*above, name), Path(place, name), real, class_depth, entered)
        ]
        folders += [(*above, name) for name in inside]
        for name in names:
            if not is_ignored(name):
                file = Path(place, name)
                files.append(
                    File((*above, name), stamp(file), partial(read_image, file), printable("/".join((*above, name))))
                )
    return Tree(files, folders, ignored)


def unzip(path: Path) -> Tree:
    """List a zip; its members are read when they are asked for.

    Raises:
        UserError: Not a whole zip, or one with a password.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        do = "give a folder, or a zip that other programs can open"
        raise UserError(f"neither a folder nor a whole zip: {error}", where=path, do=do) from error
    files: list[File] = []
    folders: set[Steps] = set()
    ignored: Counter[str] = Counter()
    lock = threading.Lock()
    status = path.stat()
    for member in archive.infolist():
        steps = tuple(step for step in member.filename.replace("\\", "/").split("/") if step not in ("", ".", ".."))
        if not steps or any(is_ignored(step) for step in steps):
            ignored.update([] if member.is_dir() else [step for step in steps if is_ignored(step)][:1])
            continue
        folders |= {steps[:i] for i in range(1, len(steps) + member.is_dir())}
        if not member.is_dir():
            stamp = (status.st_size, status.st_mtime_ns, member.CRC)
            if member.flag_bits & 1:
                raise UserError("password-protected", where=path, do="unpack it first, and give the folder")
            files.append(File(steps, stamp, partial(_read_member, archive, member, lock), "/".join(steps)))
    return Tree(files, folders, ignored)


def is_ignored(name: str) -> bool:
    """Return whether a file or folder is hidden, or left behind by a system or a program."""
    return name.startswith(".") or _is_leftover(name)


def read_image(file: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        OSError: It cannot be read, is not a regular file (a pipe, a device), or is larger than any image.
    """
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
        raise OSError("not a regular file")
    _require_small(status.st_size)
    return file.read_bytes()


def _is_leftover(name: str) -> bool:
    return name.lower() in LEFTOVERS


def _files_in(path: Path) -> int:
    """Return the number of files in and below a folder; 1 for a file."""
    return sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() else 1


def _cannot_list(error: OSError) -> None:
    do = "give yourself permission to read it"
    raise UserError(f"cannot be listed: {error.strerror}", where=error.filename, do=do)


def _class_depth(root: Path) -> int:
    """Return how many folders below the root the folders of the classes most likely are, counted from 1."""
    depth, place, entered = 1, root, set[str]()
    while True:
        inside = [name for name in _listed(place) if not is_ignored(name) and Path(place, name).is_dir()]
        if parts_among(inside):
            return depth + 1
        if len(inside) != 1 or os.path.realpath(place) in entered:
            return depth
        entered.add(os.path.realpath(place))
        depth, place = depth + 1, Path(place, inside[0])


def _listed(place: Path) -> list[str]:
    try:
        return os.listdir(place)  # noqa: PTH208 (only the names)
    except OSError:  # reported by the walk
        return []


def _again(steps: Steps, folder: Path, root: str, class_depth: int, entered: set[tuple[Steps, str]]) -> bool:
    """Return whether a folder contains itself through a link, or was entered in the same class; else record it."""
    real = os.path.realpath(folder)
    above = (root, os.path.realpath(folder.parent))
    if any(Path(base).is_relative_to(real) for base in above):
        return True
    here = (steps[:class_depth], real)
    if here in entered:
        return True
    entered.add(here)
    return False


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, lock: threading.Lock) -> bytes:
    _require_small(member.file_size)
    try:
        with lock:  # opening a member counts the archive's readers, which is not atomic
            return archive.read(member)
    except DAMAGE as error:
        raise OSError(str(error) or type(error).__name__) from error


def _require_small(size: int) -> None:
    if size > MAX_BYTES:
        raise OSError(f"{size / 1e6:.0f} MB, too large for an image")
