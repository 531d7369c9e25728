"""Draw a sheet of examples, a row for each class. Does not import torch."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from rungs.data.lettering import lettering

TILE = (64, 128)
"""Pixels: examples are scaled up to at least the first and down to at most the second."""
COLOURS = {"doubtful": "#e69f00", "duplicate": "#009e73", "near duplicate": "#0072b2"}
"""Kinds of problems -> the colour of a frame, told apart by colour-blind people, too (Okabe and Ito, 2008)."""
OTHER = "#cc79a7"
SIZE, SMALL = 15, 12
"""Letters, in pixels."""


def contact_sheet(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    *,
    columns: int = 10,
    rows: int = 20,
    counted: bool = True,
    suspects: Mapping[int, str] | None = None,
) -> bytes:
    """Draw `columns` images of each of `rows` classes, one row per class, as PNG.

    Args:
        images: uint8 (N, 3, H, W).
        labels: (N,), positions in `classes`.
        classes: K names.
        columns: Images per class: its suspects first, then the others in order.
        rows: Classes shown, those with suspects first if there are more; a line below gives the number of the others.
        counted: Whether to write the number of images below each name.
        suspects: Positions of images with problems -> the kind of problem; they have a frame in its colour.
    """
    marks = dict(suspects or {})
    flagged = np.isin(np.arange(len(labels)), list(marks))
    order = sorted(range(len(classes)), key=lambda k: not (flagged & (labels == k)).any())[:rows]
    shown = sorted(order) if len(classes) > rows else range(len(classes))
    index = {k: np.flatnonzero(labels == k) for k in shown}
    index = {k: np.concatenate([every[flagged[every]], every[~flagged[every]]]) for k, every in index.items()}
    kinds = [marks[i] for every in index.values() for i in every[:columns].tolist() if i in marks]
    more = len(classes) - rows
    below = [f"and {more} more class{'es' * (more > 1)}"] if more > 0 else []
    sheet = _Sheet(images.shape[-1], [classes[k] for k in shown], columns, below, sorted(set(kinds)))
    for row, k in enumerate(shown):
        many, odd = len(index[k]), int(flagged[index[k]].sum())
        counts = [f"{many:,} image{'s' * (many != 1)}", f"{odd:,} suspect{'s' * (odd != 1)}"]
        sheet.write(row, classes[k], counts[: 1 + bool(odd)] if counted else [])
        for column, i in enumerate(index[k][:columns].tolist()):
            sheet.paste(row, column, images[i], marks.get(i))
    return sheet.png()


class _Sheet:
    """A canvas with a column of names and a grid of tiles; lengths in pixels."""

    margin, gap, frame, line = 12, 8, 3, 20

    def __init__(self, side: int, names: Sequence[str], columns: int, below: list[str], kinds: list[str]) -> None:
        self.factor = math.ceil(TILE[0] / side)
        self.tile = min(side * self.factor, TILE[1])
        widest = max([_length(_line(name), SIZE) for name in names] + [90])
        self.gutter = int(min(widest, 220)) + 2 * self.margin
        lines = len(below) + bool(kinds)
        width = self.gutter + columns * (self.tile + self.gap) + self.margin
        height = 2 * self.margin + len(names) * (self.tile + self.gap) + self.line * lines
        self.canvas = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.canvas)
        top = height - self.margin - self.line * lines + 4
        if kinds:
            self._legend(kinds, top)
        for text in below:
            self._text((self.margin, top + self.line * bool(kinds)), text, "#666", SMALL)

    def write(self, row: int, name: str, below: Sequence[str]) -> None:
        middle = self.margin + row * (self.tile + self.gap) + self.tile // 2
        self._text((self.margin, middle - 1), self._fitted(_line(name)), "black", SIZE, "ls")
        for i, text in enumerate(below):
            self._text((self.margin, middle + 4 + 15 * i), text, "#666", SMALL, "lt")

    def paste(self, row: int, column: int, image: npt.NDArray[np.uint8], kind: str | None) -> None:
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))  # (3, H, W) -> (H, W, 3)
        enlarged = self.tile == picture.width * self.factor
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.BICUBIC
        x, y = self.gutter + column * (self.tile + self.gap), self.margin + row * (self.tile + self.gap)
        if kind is not None:
            around = (x - self.frame, y - self.frame, x + self.tile + self.frame - 1, y + self.tile + self.frame - 1)
            self.draw.rectangle(around, fill=COLOURS.get(kind, OTHER))
        self.canvas.paste(picture.resize((self.tile, self.tile), how), (x, y))

    def png(self) -> bytes:
        file = io.BytesIO()
        self.canvas.save(file, "PNG", optimize=True)
        return file.getvalue()

    def _legend(self, kinds: Sequence[str], top: int) -> None:
        left = self.margin
        for kind in kinds:
            self.draw.rectangle((left, top + 2, left + 10, top + 12), outline=COLOURS.get(kind, OTHER), width=3)
            self._text((left + 16, top), kind, "#666", SMALL)
            left += 32 + int(_length(kind, SMALL))

    def _text(self, where: tuple[int, int], text: str, colour: str, size: int, anchor: str = "la") -> None:
        drawn, font = lettering(text, size)
        self.draw.text(where, drawn, colour, font, anchor=anchor)

    def _fitted(self, name: str) -> str:
        room = self.gutter - 2 * self.margin
        if _length(name, SIZE) <= room:
            return name
        while name and _length(f"{name}...", SIZE) > room:
            name = name[:-1]
        return f"{name}..."


def _length(text: str, size: int) -> float:
    drawn, font = lettering(text, size)
    return font.getlength(drawn)


def _line(name: str) -> str:
    return " ".join(name.split())
