"""Small pictures, encoded, for tests of decoding."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 128 + 0 * x], -1).astype(np.uint8))


def quarters() -> Image.Image:
    """Red and green above, blue and white below, on 16 x 8 pixels."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8], pixels[:4, 8:], pixels[4:, :8], pixels[4:, 8:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours near the corners: above left, above right, below left, below right."""
    return [tuple(int(v) for v in pixels[:, y, x]) for y in (1, -2) for x in (1, -2)]
