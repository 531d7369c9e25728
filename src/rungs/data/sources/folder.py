"""`folder:PATH`: a folder (or zip) with a folder of pictures per class, with or without train, val and test above.

    photos/cat/1.jpg            photos/train/cat/1.jpg
    photos/dog/a/2.png          photos/val/dog/2.png
                                photos/test/cat/3.webp

Hidden files are skipped. A zip is read in place; a single top folder in it is unwrapped.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from rungs.data.cache import user_path
from rungs.data.imageset import Source
from rungs.data.mapped import read_listing
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.listing import ENDINGS, PARTS, Listing, Part, Read, look_alikes, natural, part_of, stamp
from rungs.errors import UserError
from rungs.run.record import Problem

LAYOUT = "put the pictures into a folder per class, PATH/cat/1.jpg, or under parts, PATH/train/cat/1.jpg"

Steps: TypeAlias = tuple[str, ...]
"""A path below the root, ("train", "cat", "1.jpg")."""

MAX_BYTES = 2**29
"""A larger file is not read: the largest image that `decode` accepts takes 0.4 GB uncompressed."""

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, MemoryError, RuntimeError, ValueError)
"""What `zipfile` raises on a damaged or unusual member, besides OSError."""

IGNORED = ("__macosx", "thumbs.db", "desktop.ini")
"""What operating systems leave behind, in lower case; hidden files are ignored, too."""


@dataclass(frozen=True)
class _File:
    """A file: its path below the root, a stamp that changes with it, how to read it, and its path for display."""

    steps: Steps
    stamp: tuple[int, ...]
    read: Read
    name: str


class _Tree:
    """Everything below a root, sorted.

    Attributes:
        files: All of them.
        children: A folder -> the folders directly in it.
        direct: A folder -> the images directly in it.
    """

    def __init__(self, files: Iterable[_File], folders: Iterable[Steps]) -> None:
        self.files = sorted(files, key=lambda file: file.steps)
        self.folders = sorted(folders)
        self.children: dict[Steps, list[Steps]] = {}
        self.direct: dict[Steps, list[_File]] = {}
        for folder in self.folders:
            self.children.setdefault(folder[:-1], []).append(folder)
        for file in filter(_is_image, self.files):
            self.direct.setdefault(file.steps[:-1], []).append(file)

    def by_class(self, base: Steps) -> dict[Steps, list[_File]]:
        """Return the class folders in `base` -> the files in and below each."""
        depth = len(base)
        groups: dict[Steps, list[_File]] = {folder: [] for folder in self.children.get(base, [])}
        for file in self.files:
            if len(file.steps) > depth + 1 and file.steps[:depth] == base:
                groups[file.steps[: depth + 1]].append(file)
        return groups


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Read a folder or zip of pictures, a folder per class.

    Args:
        argument: The path.
        image_size: Pixels; None takes the size that all pictures share if they are square, else 64.
        reading: How to read them.

    Raises:
        UserError: No such path, a damaged zip, no class folders, only one class.
    """
    if not argument:
        raise UserError("no path", where="folder", do="give one: folder:PATH")
    path = user_path(argument, f"folder:{argument}")
    if path.is_dir():
        tree = _walk(path)
    elif path.is_file():
        tree = _unwrapped(_unzip(path))
    else:
        raise UserError("no such folder or zip", where=path, do="check the path, or give your own: --data folder:PATH")
    root = _printable(str(path))
    return read_listing(_arrange(tree, argument, root), image_size, reading)


def _walk(root: Path) -> _Tree:
    files: list[_File] = []
    folders: list[Steps] = []
    real, entered = os.path.realpath(root), set[tuple[Steps, str]]()
    for place, inside, names in os.walk(root, followlinks=True, onerror=_cannot_list):
        above = Path(place).relative_to(root).parts
        inside[:] = [
            name
            for name in sorted(inside)
            if not _ignored(name) and not _again((*above, name), Path(place, name), real, entered)
        ]
        folders += [(*above, name) for name in inside]
        for name in names:
            if not _ignored(name):
                file = Path(place, name)
                files.append(
                    _File((*above, name), stamp(file), partial(read_image, file), _printable("/".join((*above, name))))
                )
    return _Tree(files, folders)


def _cannot_list(error: OSError) -> None:
    raise UserError(
        f"cannot be listed: {error.strerror}", where=error.filename, do="give yourself permission to read it"
    )


def _again(steps: Steps, folder: Path, root: str, entered: set[tuple[Steps, str]]) -> bool:
    """Return whether a folder contains itself through a link, or was entered in the same class; else record it."""
    real = os.path.realpath(folder)
    above = (root, os.path.realpath(folder.parent))
    if any(Path(base).is_relative_to(real) for base in above):
        return True
    here = (steps[: 2 if part_of(steps[0]) else 1], real)
    if here in entered:
        return True
    entered.add(here)
    return False


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


def _unzip(path: Path) -> _Tree:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        do = "give a folder, or a zip that other programs can open"
        raise UserError(f"neither a folder nor a whole zip: {error}", where=path, do=do) from error
    files: list[_File] = []
    folders: set[Steps] = set()
    lock = threading.Lock()
    status = path.stat()
    for member in archive.infolist():
        steps = tuple(step for step in member.filename.replace("\\", "/").split("/") if step not in ("", ".", ".."))
        if not steps or any(_ignored(step) for step in steps):
            continue
        folders |= {steps[:i] for i in range(1, len(steps) + member.is_dir())}
        if not member.is_dir():
            stamp = (status.st_size, status.st_mtime_ns, member.CRC)
            if member.flag_bits & 1:
                raise UserError("password-protected", where=path, do="unpack it first, and give the folder")
            files.append(_File(steps, stamp, partial(_read_member, archive, member, lock), "/".join(steps)))
    return _Tree(files, folders)


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


def _unwrapped(tree: _Tree) -> _Tree:
    """Unwrap the single top folder that many zips have."""
    top = tree.children.get((), [])
    if len(top) != 1 or part_of(top[0][0]) or top[0] in tree.direct or not tree.children.get(top[0]):
        return tree
    inside = [replace(file, steps=file.steps[1:]) for file in tree.files if len(file.steps) > 1]
    return _Tree(inside, [folder[1:] for folder in tree.folders if len(folder) > 1])


def _arrange(tree: _Tree, argument: str, root: str) -> Listing:
    """Find parts and classes in a tree."""
    bases, problems = _bases(tree, root)
    groups = {part: tree.by_class(base) for part, base in bases.items()}
    for group in groups.values():
        for folder in [folder for folder, files in group.items() if not any(map(_is_image, files))]:
            problems.append(_empty(folder))
            problems += [_unused(file.name, "not an image by its extension") for file in group.pop(folder)]
    folders = {_class(folder): _printable("/".join(folder)) for group in groups.values() for folder in group}
    classes = tuple(sorted(folders, key=natural))
    label = {name: i for i, name in enumerate(classes)}
    parts = {}
    for part, group in groups.items():
        files = [(label[_class(folder)], file) for folder in group for file in filter(_is_image, group[folder])]
        names, labels = [file.name for _, file in files], [number for number, _ in files]
        parts[part] = Part(names, labels, partial(iter, [file.read for _, file in files]))
        others = [file for found in group.values() for file in found if not _is_image(file)]
        problems += [_unused(file.name, "not an image by its extension") for file in others]
    problems += look_alikes(folders)
    place = user_path(argument, f"folder:{argument}").resolve()
    stamp = hashlib.sha256(os.fsencode(place))
    for file in tree.files:
        stamp.update(repr((file.steps, file.stamp)).encode())
    name = f"folder:{_printable(argument)}"
    return Listing(name, _printable(str(place)), root, classes, parts, stamp.hexdigest(), tuple(problems))


def _bases(tree: _Tree, root: str) -> tuple[dict[str, Steps], list[Problem]]:
    """Return the folder of each part (the root is train if there are no parts), and unused entries next to them."""
    top = tree.children.get((), [])
    if not top:
        raise UserError("files, but no class folders" if tree.files else "an empty folder", where=root, do=LAYOUT)
    only_parts = all(part_of(folder[0]) for folder in top)
    bases: dict[str, Steps] = {}
    for folder in top:  # a class may be called train: then it holds pictures, and there are other classes next to it
        part = part_of(folder[0])
        if part and tree.children.get(folder) and (only_parts or folder not in tree.direct):
            if part in bases:
                both = f"{bases[part][0]} and {folder[0]}"
                raise UserError(f"{both} both name the {part} part", where=root, do="keep one of them")
            bases[part] = folder
        elif only_parts:
            where = f"{root}/{_printable(folder[0])}"
            raise UserError("no class folders here", where=where, do=LAYOUT)
    if "train" not in bases and not only_parts:
        bases = {"train": ()}
    used = [(), *bases.values()]
    loose = [
        _unused(file.name, "not in a class folder")
        for base in dict.fromkeys(used)
        for file in tree.direct.get(base, [])
    ]
    beside = [folder for folder in top if folder not in used and () not in bases.values()]
    names = [_unused(_printable(folder[0]), "not the name of a part (train, val, test)") for folder in beside]
    return {part: bases[part] for part in PARTS if part in bases}, loose + names


def _empty(folder: Steps) -> Problem:
    reason = f"an empty class folder: put images ({' '.join(ENDINGS)}) into it, or remove it"
    return Problem(path=_printable("/".join(folder)), kind="empty", reason=reason)


def _unused(name: str, reason: str) -> Problem:
    return Problem(path=name, kind="doubtful", reason=f"not used: {reason}")


def _is_image(file: _File) -> bool:
    return file.steps[-1].lower().endswith(tuple(ENDINGS))


def _class(folder: Steps) -> str:
    """Return a class's name in composed Unicode, the same on every system."""
    return unicodedata.normalize("NFC", _printable(folder[-1]))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED


def _printable(name: str) -> str:
    """Return a name in which bytes that are not UTF-8 are replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
