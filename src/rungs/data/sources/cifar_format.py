"""The two published file formats of CIFAR-10 and CIFAR-100: pickled batches and binary rows.

Described at https://www.cs.toronto.edu/~kriz/cifar.html. Both hold images as 3,072 bytes: the red, the green,
then the blue plane, each 32x32, row by row.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rungs.data.sources.locate import again
from rungs.errors import UserError

Pixels: TypeAlias = npt.NDArray[np.uint8]
Labels: TypeAlias = npt.NDArray[np.int64]

SIZE = 32
"""Pixels, height and width, of all images."""
BYTES = 3 * SIZE * SIZE


@dataclass(frozen=True)
class Pickled:
    """A Python archive: each file a pickled dict."""

    labels_key: bytes
    names_key: bytes

    def names(self, data: bytes, where: Path) -> list[bytes]:
        """Return the class names in a meta file."""
        names = unpickle(data, where).get(self.names_key)
        if not isinstance(names, list):
            raise UserError(f"holds no {self.names_key.decode()}", where=where, do=again(where))
        return names

    def batch(self, data: bytes, where: Path) -> tuple[Pixels, Labels]:
        """Return uint8 (n, 3072) and int64 (n,).

        Raises:
            UserError: Truncated, damaged, or not a batch.
        """
        content = unpickle(data, where)
        array, labels = content.get(b"data"), content.get(self.labels_key)
        if (
            not isinstance(array, _Array)
            or not isinstance(labels, list)
            or not labels
            or array.pixels.shape != (len(labels), BYTES)
            or not all(type(label) is int and abs(label) < 2**31 for label in labels)
        ):
            what = f"not a CIFAR batch: it needs data, uint8 (n, {BYTES}), and a list of n {self.labels_key.decode()}"
            raise UserError(what, where=where, do=again(where))
        return array.pixels, np.array(labels, dtype=np.int64)


@dataclass(frozen=True)
class Binary:
    """A binary archive: each file holds rows of label bytes, of which the last is used, and 3,072 pixel bytes."""

    label_bytes: int

    def names(self, data: bytes, where: Path) -> list[bytes]:
        """Return the class names in a text file, a name a line."""
        return data.split()

    def batch(self, data: bytes, where: Path) -> tuple[Pixels, Labels]:
        """Return uint8 (n, 3072) and int64 (n,).

        A file that was cut between two rows looks like a smaller set; only `Source.canonical` shows it.

        Raises:
            UserError: Not a whole number of rows.
        """
        width = self.label_bytes + BYTES
        if not data or len(data) % width:
            what = f"{len(data):,} bytes are not a multiple of {width:,}, the bytes of an image: truncated or damaged"
            raise UserError(what, where=where, do=again(where))
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, width)
        return rows[:, self.label_bytes :], rows[:, self.label_bytes - 1].astype(np.int64)


def unpickle(data: bytes, where: Path) -> dict[bytes, Any]:
    """Read a pickled dict, allowing only the globals of a CIFAR batch, so that it cannot run code.

    Raises:
        UserError: Truncated, damaged, or it asks for anything else.
    """
    if not data.endswith(pickle.STOP):
        raise UserError("truncated or damaged: the end of the pickle is missing", where=where, do=again(where))
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except _ForbiddenError as error:
        what = f"this pickle asks for {error}: it is not a CIFAR batch"
        raise UserError(what, where=where, do=again(where)) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(f"truncated or damaged: {error}", where=where, do=again(where)) from error
    if not isinstance(content, dict):
        raise UserError("not a CIFAR batch", where=where, do=again(where))
    return content


class _ForbiddenError(Exception):
    """A pickle asked for a global that no CIFAR batch needs."""


class _Dtype:
    """Stands in for `numpy.dtype`; allows only bytes."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        if code not in (b"u1", "u1"):
            raise ValueError(f"numbers of type {code!r}, not bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like: a byte has none."""


class _Array:
    """Stands in for `numpy.ndarray` and its reconstructor.

    NumPy's own trusts the state in a pickle: a damaged or hostile one can crash the process.
    """

    def __init__(self, *_: object) -> None:
        self.pixels: Pixels = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, by_column, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise ValueError("an array that does not hold bytes")
        self.pixels = np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if by_column else "C")


_GLOBALS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # the same, since NumPy 2
}


class _Unpickler(pickle._Unpickler):
    """The pure Python unpickler: a damaged length or memo number cannot make it reserve gigabytes."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _GLOBALS:
            raise _ForbiddenError(f"{module}.{name}")
        return _GLOBALS[module, name]
