"""What a net said of each image, out of a record and into arrays; no torch, so that reports can read it, too."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rungs.errors import UserError
from rungs.run.record import PerImage

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """What a net said of N images, in the order of their set."""

    truth: Ints  # (N,)
    said: Ints  # (N,)
    sure: Floats  # (N,), the probability of what was said
    loss: Floats  # (N,)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def right(self) -> Bools:
        """Which images were classified right, (N,)."""
        return np.asarray(self.truth == self.said)


def decode(kept: PerImage, where: object = None) -> Predictions:
    """Return the arrays of a record's `PerImage`.

    Raises:
        UserError: It is no base64, or its columns differ in length.
    """
    try:
        truth, said = (_column(text, "<u2").astype(np.int64) for text in (kept.truth, kept.said))
        sure, loss = (_column(text, "<f4").astype(np.float64) for text in (kept.sure, kept.loss))
    except (binascii.Error, ValueError) as error:
        raise UserError(f"what is kept of each image is damaged: {error}", where=where, do=_AGAIN) from error
    if not len(truth) == len(said) == len(sure) == len(loss):
        raise UserError("what is kept of each image is damaged: its columns differ in length", where=where, do=_AGAIN)
    return Predictions(truth, said, sure, loss)


def _column(text: str, kind: str) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)


_AGAIN = "is run.json whole? else train the run again"
