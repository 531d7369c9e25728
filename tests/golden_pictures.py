"""Three pictures that every installation has, for features that are kept."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image


def _photo(name: str) -> Image.Image:
    """Return a sample photo of scikit-learn."""
    package = find_spec("sklearn")
    assert package and package.origin
    return Image.open(Path(package.origin).parent / "datasets" / "images" / name).convert("RGB")


def _rings() -> Image.Image:
    """Return 300 x 400 pixels of coloured rings, made of whole numbers alone."""
    y, x = np.mgrid[0:300, 0:400]
    squared = (x - 200) ** 2 + (y - 150) ** 2
    return Image.fromarray(np.stack([squared // (40 + 15 * c) % 256 for c in range(3)], 2).astype(np.uint8))


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "china": lambda: _photo("china.jpg"),
    "flower": lambda: _photo("flower.jpg"),
    "rings": _rings,
}
