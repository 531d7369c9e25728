"""Decode the per-image predictions of a record; no torch, so that reports can use it."""

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
    """The predictions for N images, in the order of their set."""

    truth: Ints  # (N,)
    predicted: Ints  # (N,)
    confidence: Floats  # (N,), the probability of the predicted class
    loss: Floats  # (N,)

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def correct(self) -> Bools:
        """Which images were classified correctly, (N,)."""
        return np.asarray(self.truth == self.predicted)


def decode(kept: PerImage, where: object = None) -> Predictions:
    """Return the arrays of a record's `PerImage`.

    Raises:
        UserError: It is not base64, or its columns differ in length.
    """
    try:
        truth, predicted = (column(text, "<u2").astype(np.int64) for text in (kept.truth, kept.predicted))
        confidence, loss = (column(text, "<f4").astype(np.float64) for text in (kept.confidence, kept.loss))
    except (binascii.Error, ValueError) as error:
        raise UserError(f"the predictions per image are damaged: {error}", where=where, do=_AGAIN) from error
    if not len(truth) == len(predicted) == len(confidence) == len(loss):
        raise UserError("the predictions per image are damaged: columns differ in length", where=where, do=_AGAIN)
    return Predictions(truth, predicted, confidence, loss)


def encode(found: Predictions) -> PerImage:
    """Return predictions as a record keeps them."""
    return PerImage(
        truth=_packed(found.truth, "<u2"),
        predicted=_packed(found.predicted, "<u2"),
        confidence=_packed(found.confidence, "<f4"),
        loss=_packed(found.loss, "<f4"),
    )


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(values.astype(kind).tobytes()).decode()


def column(text: str, kind: str) -> npt.NDArray[Any]:
    """Return numbers from base64 of `kind`, a numpy type."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=kind)


_AGAIN = "check that run.json is complete, or retrain the run"
