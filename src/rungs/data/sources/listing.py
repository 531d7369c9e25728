"""The listing of a source of files, before any is read: parts, classes, names, and how to read the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rungs.data.sources.names import PARTS
from rungs.errors import UserError
from rungs.run.record import Problem

ENDINGS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    ".png": "PNG",
    ".webp": "WebP",
    ".gif": "GIF",
    ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif"), "HEIC"),
}
"""The extensions of image files, and the format that each stands for."""

Read: TypeAlias = Callable[[], bytes]
"""Returns a file's bytes, in any thread; raises OSError if they cannot be read."""


@dataclass(frozen=True)
class Part:
    """The files of one part: N names, N labels, and an iterable over them in that order."""

    names: Sequence[str]
    labels: Sequence[int]
    files: Callable[[], Iterable[Read]]


@dataclass(frozen=True)
class Listing:
    """The files of a source, by name.

    Attributes:
        name: As the user gave it, "folder:photos".
        origin: Where it was found, for people.
        root: The prefix of each name in paths.
        classes: K names.
        parts: "train", "validation", "test" -> its files.
        stamp: Changes whenever a file may have changed: sizes and times.
        problems: Files that are not in the parts.
        notes: How the source was read, for people.
    """

    name: str
    origin: str
    root: str
    classes: tuple[str, ...]
    parts: dict[str, Part]
    stamp: str
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def require_classes(listing: Listing, *, for_training: bool = True) -> None:
    """Require at least two classes, each with training images; of a set to evaluate on, any labelled image.

    Raises:
        UserError: No training part, fewer than two classes, a class without training images; or no image.
    """
    where = listing.origin
    if not for_training and listing.classes:
        return
    if for_training and "train" not in listing.parts:
        do = f"name one {' or '.join(PARTS['train'])}"
        raise UserError(f"no training part, only {', '.join(listing.parts) or 'nothing'}", where=where, do=do)
    if len(listing.classes) < 2:
        only = f"only one class ({listing.classes[0]})" if listing.classes else "no labelled image"
        raise UserError(f"{only}: nothing to classify", where=where, do="give at least two classes")
    seen = set(listing.parts["train"].labels)
    missing = [name for label, name in enumerate(listing.classes) if label not in seen]
    if missing:
        what = f"no training images of {', '.join(missing[:10])}{' ...' * (len(missing) > 10)}"
        raise UserError(what, where=where, do="add some, or remove the class from validation and test")


def stamp(file: Path) -> tuple[int, ...]:
    """Return a stamp that changes with a file; size and time alone are equal for all BMPs from one zip."""
    try:
        status = file.stat()
    except OSError:  # a broken link: reading it will fail
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
