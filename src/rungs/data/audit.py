"""The contents of a source: counts, duplicates, problems, and a sheet of examples."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rungs.data.duplicates import Duplicates, Place
from rungs.data.twins import compared, near_between, near_within, whole
from rungs.errors import UserError
from rungs.run.record import NearPair, Problem, Record

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet, Source

LISTED = 20
"""Problems that an error lists; the rest are only counted."""

TILE = (64, 128)
"""Pixels: examples on a sheet are scaled up to at least the first and down to at most the second."""


class PartContents(Record, frozen=True):
    """One part of a source."""

    n: int
    counts: tuple[int, ...]  # images per class, (K,)
    hash: str


class Contents(Record, frozen=True):
    """The contents of a source."""

    name: str
    origin: str
    canonical: bool | None
    image_size: int  # pixels, once decoded
    extent: tuple[tuple[int, int], tuple[int, int]] | None  # of `Source`: smallest and largest (width, height)
    classes: tuple[str, ...]
    parts: dict[str, PartContents]  # "train", "validation", "test"
    problems: tuple[Problem, ...]  # of files, and images that are identical once decoded or look alike
    near: tuple[NearPair, ...] = ()  # all images that look alike, also in one part, the likeliest first
    near_compared: int | None = None  # as in `DataRecord`; None: a published data set, of which none are searched
    notes: tuple[str, ...] = ()  # how the files were read


def contents(source: Source) -> Contents:
    """Return the contents of a source, with duplicates found by comparing all images."""
    parts = whole(source)
    near = [] if source.canonical else near_within(source)
    return Contents(
        name=source.name,
        origin=source.origin,
        canonical=source.canonical,
        image_size=source.train.image_size,
        extent=source.extent,
        classes=source.train.classes,
        parts={part: PartContents(n=len(s), counts=s.counts(), hash=s.hash) for part, s in parts.items()},
        problems=(
            *source.problems,
            *_duplicates(parts, {p.path for p in source.problems if p.kind == "duplicate"}),
            *(() if source.canonical else _leaks(near_between(source, parts))),
        ),
        near=tuple(near),
        near_compared=None if source.canonical else compared(source),
        notes=source.notes,
    )


def require_trainable(source: Source, skip_unreadable: bool) -> tuple[Problem, ...]:
    """Return the files that are left out of a source, if they may be.

    Raises:
        UserError: There are unreadable or empty files and they may not be skipped; or a class is left without a
            training image, or a part without an image.
    """
    lost = require_readable(source, skip_unreadable)
    train = source.train
    bare = [name for name, count in zip(train.classes, train.counts(), strict=True) if not count]
    if bare:
        what = f"no readable training image of {', '.join(bare[:LISTED])}"
        raise UserError(what, where=source.name, do="fix the files, add some, or remove the class")
    if empty := [part for part, images in whole(source).items() if not len(images)]:
        what = f"no readable image in the {' and '.join(empty)} part{'s' * (len(empty) > 1)}"
        raise UserError(what, where=source.name, do="fix the files, add some, or remove the part")
    return lost


def require_readable(source: Source, skip_unreadable: bool) -> tuple[Problem, ...]:
    """Return the files that are left out of a source, if they may be.

    Raises:
        UserError: There are unreadable or empty files and they may not be skipped.
    """
    lost = tuple(problem for problem in source.problems if problem.kind in ("unreadable", "empty"))
    if lost and not skip_unreadable:
        lines = [f"  {problem.path}: {problem.reason}" for problem in lost[:LISTED]]
        more = [f"  ... and {len(lost) - LISTED} more: rungs data {source.name}"] if len(lost) > LISTED else []
        what = "\n".join([f"{len(lost)} file{'s' * (len(lost) > 1)} cannot be used", *lines, *more])
        raise UserError(what, where=source.name, do="fix or remove them, or skip them with --skip-unreadable")
    return lost


def contact_sheet(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    columns: int = 10,
    rows: int = 20,
    counted: bool = True,
) -> bytes:
    """Draw the first `columns` images of each of the first `rows` classes, one row per class, as PNG.

    Args:
        images: uint8 (N, 3, H, W).
        labels: (N,), positions in `classes`.
        classes: K names.
        columns: Images per class.
        rows: Classes shown; a line below gives the number of the others.
        counted: Whether to write the number of images below each name.
    """
    sheet = _Sheet(images.shape[-1], classes[:rows], columns, more=len(classes) - rows)
    for row, name in enumerate(classes[:rows]):
        index = np.flatnonzero(labels == row)
        sheet.write(row, name, f"{len(index):,} image{'s' * (len(index) != 1)}" if counted else "")
        for column, i in enumerate(index[:columns]):
            sheet.paste(row, column, images[i])
    return sheet.png()


def _duplicates(parts: dict[str, ImageSet], known: set[str]) -> list[Problem]:
    """Find identical images, except those in `known`."""
    duplicates = Duplicates("the same pixels as", next(iter(parts.values())).classes)
    problems = []
    for part, images in parts.items():
        pixels = images.images.numpy()  # of a source: not a copy
        for i, label in enumerate(images.labels.tolist()):
            place = Place(part, images.paths[i] if images.paths else f"{part} image {i}", label)
            problem = duplicates.add(hashlib.sha256(pixels[i].tobytes()).digest(), place)
            if problem and place.name not in known:
                problems.append(problem)
    return problems


def _leaks(pairs: Sequence[NearPair]) -> list[Problem]:
    """Return the images of one part that look like one of another, suspects left out."""
    return [
        Problem(
            path=pair.image,
            kind="near duplicate",
            reason=f"looks like {pair.other}: perhaps a leak from {pair.other_part} to {pair.part}",
        )
        for pair in pairs
        if not pair.suspect
    ]


class _Sheet:
    """A canvas with a column of names and a grid of tiles; lengths in pixels."""

    margin, gap, line, size = 12, 4, 20, 15

    def __init__(self, side: int, names: Sequence[str], columns: int, more: int) -> None:
        self.factor = math.ceil(TILE[0] / side)
        self.tile = min(side * self.factor, TILE[1])
        self.font = ImageFont.load_default(self.size)
        self.small = ImageFont.load_default(self.size - 3)
        widest = max([self.font.getlength(_line(name)) for name in names] + [90])
        self.gutter = int(min(widest, 220)) + 2 * self.margin
        width = self.gutter + columns * (self.tile + self.gap) + self.margin
        height = 2 * self.margin + len(names) * (self.tile + self.gap) + self.line * (more > 0)
        self.canvas = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.canvas)
        if more > 0:
            where = (self.margin, height - self.margin - self.line + 4)
            self.draw.text(where, f"and {more} more class{'es' * (more > 1)}", "#666", self.small)

    def write(self, row: int, name: str, below: str) -> None:
        middle = self.margin + row * (self.tile + self.gap) + self.tile // 2
        self.draw.text((self.margin, middle - 1), self._fitted(_line(name)), "black", self.font, anchor="ls")
        self.draw.text((self.margin, middle + 4), below, "#666", self.small, anchor="lt")

    def paste(self, row: int, column: int, image: npt.NDArray[np.uint8]) -> None:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))  # (3, H, W) -> (H, W, 3)
        enlarged = self.tile == picture.width * self.factor
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.BICUBIC
        where = (self.gutter + column * (self.tile + self.gap), self.margin + row * (self.tile + self.gap))
        self.canvas.paste(picture.resize((self.tile, self.tile), how), where)

    def png(self) -> bytes:
        file = io.BytesIO()
        self.canvas.save(file, "PNG", optimize=True)
        return file.getvalue()

    def _fitted(self, name: str) -> str:
        room = self.gutter - 2 * self.margin
        if self.font.getlength(name) <= room:
            return name
        while name and self.font.getlength(f"{name}...") > room:
            name = name[:-1]
        return f"{name}..."


def _line(name: str) -> str:
    return " ".join(name.split())
