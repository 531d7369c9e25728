"""What is odd about a picture that can be used."""

from __future__ import annotations

from pathlib import PurePosixPath

from rungs.data.decode import Header, Pixels
from rungs.data.sources.listing import ENDINGS

MAX_ASPECT = 4
"""A picture with a larger aspect ratio loses most of its content in a square crop."""

SEVERAL = {"TIFF": "several pages: only the first page is used", "HEIC": "several pictures: only the main one is used"}


def doubts(name: str, header: Header, pixels: Pixels) -> list[str]:
    """Return what is odd about a usable picture, a phrase each.

    Args:
        name: Of its file, with the extension.
        header: Of the file.
        pixels: uint8 (3, H, W), decoded.
    """
    promised = ENDINGS.get(PurePosixPath(name).suffix.lower(), header.format)
    short, long = sorted((header.width, header.height))
    size = pixels.shape[-1]
    found = {
        f"a {header.format} image, despite its name": promised != header.format,
        f"{header.width} x {header.height} pixels are enlarged to {size} x {size}": 2 * short < size,
        f"{header.width} x {header.height} pixels: only the middle is used": long > MAX_ASPECT * short,
        "a single colour": bool((pixels == pixels[:, :1, :1]).all()),
        SEVERAL.get(header.format, "animated: only the first frame is used"): header.animated,
    }
    return [reason for reason, holds in found.items() if holds]
