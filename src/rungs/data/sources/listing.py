"""What a source of files holds, by name, before a file is read: parts, classes, names, and the way to the bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rungs.errors import UserError
from rungs.run.record import Problem

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The parts of a source, in order, and how people spell them."""

ENDINGS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WebP", ".gif": "GIF", ".bmp": "BMP"}
"""The endings of image files, and the format that each promises."""

Read: TypeAlias = Callable[[], bytes]
"""Gives a file's bytes, in any thread; raises OSError where they cannot be had."""


@dataclass(frozen=True)
class Part:
    """The files of one part: N names, N labels, and a way to go through them in that order."""

    names: Sequence[str]
    labels: Sequence[int]
    files: Callable[[], Iterable[Read]]


@dataclass(frozen=True)
class Listing:
    """What a source holds, by name.

    Attributes:
        name: As the user gave it, "folder:photos".
        origin: Where it was found, for people.
        root: What stands before each name in paths.
        classes: K names.
        parts: "train", "validation", "test" -> its files.
        stamp: Changes whenever a file may have changed: sizes and times.
        problems: Files that are not in the parts.
    """

    name: str
    origin: str
    root: str
    classes: tuple[str, ...]
    parts: dict[str, Part]
    stamp: str
    problems: tuple[Problem, ...] = ()


def part_of(word: str) -> str | None:
    """Return the part that a folder's or file's name stands for, in any common spelling."""
    return next((part for part, words in PARTS.items() if word.lower() in words), None)


def natural(name: str) -> tuple[list[tuple[str, tuple[int, str]]], str]:
    """Return a key that sorts names as people do: 2 before 10, a beside A."""
    words, numbers = re.split(r"\d+", name), [digits.lstrip("0") for digits in re.findall(r"\d+", name)]
    pairs = zip(words, [*((len(digits), digits) for digits in numbers), (-1, "")], strict=True)
    return [(word.casefold(), number) for word, number in pairs], name


def look_alikes(folders: dict[str, str]) -> list[Problem]:
    """Tell classes whose names differ in capital letters only: some systems would take their folders for one.

    Args:
        folders: A class -> its folder.
    """
    first: dict[str, str] = {}
    alike = {name: first.setdefault(name.casefold(), name) for name in sorted(folders)}
    reason = "a class beside {}: the names differ in capital letters only"
    return [
        Problem(path=folders[name], kind="doubtful", reason=reason.format(other))
        for name, other in alike.items()
        if name != other
    ]


def require_classes(listing: Listing) -> None:
    """Make sure that there is something to learn.

    Raises:
        UserError: No training part, fewer than two classes, a class without training images.
    """
    where = listing.origin
    if "train" not in listing.parts:
        do = f"name one {' or '.join(PARTS['train'])}"
        raise UserError(f"no training part, only {', '.join(listing.parts) or 'nothing'}", where=where, do=do)
    if len(listing.classes) < 2:
        only = f"one class only ({listing.classes[0]})" if listing.classes else "no labelled image"
        raise UserError(f"{only}: there is nothing to tell apart", where=where, do="give at least two classes")
    seen = set(listing.parts["train"].labels)
    missing = [name for label, name in enumerate(listing.classes) if label not in seen]
    if missing:
        what = f"no training images of {', '.join(missing[:10])}{' ...' * (len(missing) > 10)}"
        raise UserError(what, where=where, do="add some, or remove the class from validation and test")


def stamp(file: Path) -> tuple[int, ...]:
    """Return what changes when a file does; size and time alone are the same in all BMPs that one zip gave."""
    try:
        status = file.stat()
    except OSError:  # a broken link: reading it will say so
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
