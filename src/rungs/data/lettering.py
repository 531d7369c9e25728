"""Fonts that have the letters of a text, whatever language a class is named in."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

Font = ImageFont.FreeTypeFont

BUNDLED = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
"""Latin, Greek, Cyrillic, Arabic, Hebrew and more; Pillow's own font lacks even the umlauts."""
UNASSIGNED = "\U0010ffff"


def lettering(text: str, size: int) -> tuple[str, Font]:
    """Return a text as it can be drawn, and the font for it.

    The bundled font if it has all letters, else one of the system's that has; if none has, letters that are missing
    become escapes such as \\u732b, which tell classes apart where boxes would not.

    Args:
        text: Of one line.
        size: Pixels.
    """
    usual = _font(str(BUNDLED), size)
    if not _missing(text, usual):
        return text, usual
    for path in _system_fonts():
        try:
            font = _font(path, size)
        except OSError:  # damaged, or of a kind that FreeType cannot read
            continue
        if not _missing(text, font):
            return text, font
    missing = _missing(text, usual)
    return "".join(ascii(letter)[1:-1] if letter in missing else letter for letter in text), usual


@cache
def _font(path: str, size: int) -> Font:
    return ImageFont.truetype(path, size)


@cache
def _missing(text: str, font: Font) -> set[str]:
    """Return the letters that a font would draw as the box that stands for unknown ones."""
    box = bytes(font.getmask(UNASSIGNED))
    return {letter for letter in set(text) if bytes(font.getmask(letter)) == box}


@cache
def _system_fonts() -> list[str]:
    """Return the paths of the system's fonts, plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    return sorted(findSystemFonts(), key=lambda path: (not {"Regular", "Sans"} & set(Path(path).stem.split("-")), path))
