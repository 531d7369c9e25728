"""Records of scores: a net on one set of images, with its mistakes. Units: `rungs.run.record`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rungs.run.base import Record


class Mistake(Record, frozen=True, kw_only=True):
    """A wrongly classified image, with its picture."""

    index: int  # position in the scored set
    path: str | None  # for sets of image files
    truth: int
    predicted: int = msgspec.field(name="said")  # the class; older name on disk
    probability: float  # of the predicted class
    loss: float
    picture: str  # base64 of a PNG


class PerImage(Record, frozen=True, kw_only=True):
    """The prediction for each image of a set, in the set's order, as base64 of little-endian numbers."""

    truth: str  # uint16 (N,): the class
    predicted: str = msgspec.field(name="said")  # uint16 (N,): the most probable class; older name on disk
    confidence: str = msgspec.field(name="sure")  # float32 (N,): its probability
    loss: str  # float32 (N,)


class Scaled(Record, frozen=True, kw_only=True):
    """What dividing the logits by a run's temperature makes of a score; the predicted classes stay the same."""

    temperature: float
    loss: float
    calibration_error: float
    calibration: tuple[tuple[float, float, int], ...]  # per bin: mean confidence, accuracy, count


class WithoutTwins(Record, frozen=True, kw_only=True):
    """What a score is without the images that have a near or an identical copy among the training images."""

    twins: int  # images that have one
    twins_accuracy: float  # on these
    n: int  # the other images
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson


class EvalResult(Record, frozen=True, kw_only=True):
    """A net scored once on one set, as it was trained; `scaled`: with its temperature."""

    n: int
    loss: float
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson
    top5_accuracy: float | None = None  # the class is among the five most probable; None: at most 10 classes
    confusion: tuple[tuple[int, ...], ...]  # (K, K) counts, row: truth, column: predicted
    precision: tuple[float | None, ...]  # (K,); None: no image of the class; 0: never predicted
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    calibration_error: float  # expected calibration error, 15 bins
    calibration: tuple[tuple[float, float, int], ...]  # per bin: mean confidence, accuracy, count
    scaled: Scaled | None = None  # None: no temperature was fitted
    mistakes: tuple[Mistake, ...] = ()  # worst first, by loss
    per_image: PerImage | None = None  # of validation and test, to compare two runs image by image
    without_twins: WithoutTwins | None = None  # of test; None: no image of it has a twin in training, or not searched
    notes: tuple[str, ...] = ()  # of a trained net that is scored again: what to know of the images, a sentence each

    def __post_init__(self) -> None:
        """Turn the 0 that earlier versions wrote for a class without images into None."""
        absent = {k for k, row in enumerate(self.confusion) if not sum(row)}
        for name in ("precision", "recall", "f1") if absent else ():
            shares = (None if k in absent else share for k, share in enumerate(getattr(self, name)))
            msgspec.structs.force_setattr(self, name, tuple(shares))

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images: each counts alike, however rare."""
        return mean_share(self.recall)[0]


def mean_share(shares: Sequence[float | None]) -> tuple[float, int]:
    """Return the mean over classes of a precision, a recall or an F1, and over how many classes it is."""
    known = [share for share in shares if share is not None]
    return sum(known) / max(1, len(known)), len(known)
