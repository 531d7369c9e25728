"""A sheet of pairs of images that look alike, side by side with their names and their similarity."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import PurePath

from PIL import Image, ImageDraw

from rungs.data.lettering import Font, lettering
from rungs.run.record import NearPair

TILE, GAP, MARGIN, LINE, COLUMNS = 128, 4, 14, 17, 3
"""Pixels: the side of a picture, the space between two, around all, and a line of text; pairs side by side."""
TEXT = 12
"""Pixels: the size of letters."""
MOST = 60
"""Pairs that are drawn."""


def pair_sheet(pairs: Sequence[NearPair]) -> bytes:
    """Draw pairs that have pictures, in their order, as PNG; suspects have a grey similarity.

    Args:
        pairs: With pictures; the first `MOST` are drawn.
    """
    drawn = pairs[:MOST]
    wide, high = 2 * TILE + GAP, TILE + 3 * LINE + 6
    rows = -(-len(drawn) // COLUMNS)
    columns = min(COLUMNS, len(drawn))
    size = (MARGIN + columns * (wide + MARGIN), MARGIN + rows * (high + MARGIN) + LINE * (len(pairs) > MOST))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for n, pair in enumerate(drawn):
        left, top = MARGIN + n % COLUMNS * (wide + MARGIN), MARGIN + n // COLUMNS * (high + MARGIN)
        for k, picture in enumerate(pair.pictures or ()):
            canvas.paste(_picture(picture), (left + k * (TILE + GAP), top))
        words = f"{pair.similarity:.3f}" + ", mirrored" * pair.mirrored + ", a suspect" * pair.suspect
        lines = (words, f"{pair.part}: {_short(pair.image)}", f"{pair.other_part}: {_short(pair.other)}")
        for k, line in enumerate(lines):
            colour = "#666" if k or pair.suspect else "black"
            text, font = lettering(line, TEXT)
            draw.text((left, top + TILE + 3 + k * LINE), _fitted(text, wide, font), colour, font)
    if len(pairs) > MOST:
        text, font = lettering(f"and {len(pairs) - MOST:,} more pairs", TEXT)
        draw.text((MARGIN, size[1] - MARGIN - 4), text, "#666", font)
    file = io.BytesIO()
    canvas.save(file, "PNG", optimize=True)
    return file.getvalue()


def _picture(text: str) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(text)))
    how = Image.Resampling.NEAREST if picture.width <= TILE // 2 else Image.Resampling.BICUBIC
    return picture.resize((TILE, TILE), how)


def _short(name: str) -> str:
    """Return the file and its folder: these tell images of one source apart."""
    return "/".join(PurePath(name).parts[-2:])


def _fitted(line: str, room: int, font: Font) -> str:
    """Return a line with its middle left out where it is too long: names differ at their ends."""
    kept = len(line)
    while font.getlength(shown := line if kept >= len(line) else f"{line[: kept // 2]}…{line[-(kept // 2) :]}") > room:
        kept -= 2
    return shown
