"""The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, no network, no files.

They are the test part of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998).
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rungs.data.imageset import Source, image_set
from rungs.data.reading import DEFAULT, Reading
from rungs.errors import UserError

CONTENT = "3f8a13557545848d453f3b352afd6d25d4ead4bd646c0ffcc6e8b10ef46a444f"
"""`content_hash` of the set at 8x8, computed from scikit-learn 1.9."""


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Return the digits: grey levels 0..16 become round(255 x / 16), the same in all three channels.

    The set has no test part of its own, so one is split off. `canonical` is whether this version of
    scikit-learn still ships the same images.

    Args:
        argument: Must be None.
        image_size: Height and width in pixels; None: 8.
        reading: How images are cropped and resized.

    Raises:
        UserError: There is an argument.
    """
    if argument is not None:
        raise UserError("digits are embedded and take no path", where=f"digits:{argument}", do="give --data digits")
    table = _table()
    grey = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
    images = np.repeat(grey[:, None], 3, axis=1)  # (N, 3, 8, 8)
    labels = table[:, -1].astype(np.int64)
    classes = [str(digit) for digit in range(10)]
    native = image_set(images, labels, classes, None)
    train = image_set(images, labels, classes, image_size, reading)
    origin, canonical = f"scikit-learn {version('scikit-learn')}", native.hash == CONTENT
    return Source("digits", origin, train, canonical=canonical, extent=((8, 8), (8, 8)))


def _table() -> npt.NDArray[np.float64]:
    """Return (N, 65), a row per image: 64 grey levels and the digit.

    scikit-learn's file is read directly where it lies: to import the package takes longer than a small training.
    """
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return np.loadtxt(path, delimiter=",")
    from sklearn.datasets import load_digits

    table = load_digits()
    return np.column_stack([table.data, table.target])
