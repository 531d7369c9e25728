"""Records: the plain results of training, as JSON. Reports, plots and comparisons read these and nothing else.

Accuracies are fractions of 1, losses are mean natural-log cross-entropies, times are seconds (`_s`),
`flops` count a multiplication and an addition as two operations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from rungs.errors import UserError
from rungs.specs import Recipe


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records: immutable, written by name."""


class EpochRow(Record, frozen=True, kw_only=True):
    """One finished epoch. Training values are means over the epoch as it was trained (augmented, dropout on)."""

    epoch: int  # 1 is the first
    step: int  # optimiser steps since the start
    learning_rate: float  # of the last step
    train_loss: float
    train_accuracy: float
    validation_loss: float | None  # None: the recipe has no validation set
    validation_accuracy: float | None
    train_s: float
    validation_s: float
    images_per_s: float  # training images, all ranks together


class Problem(Record, frozen=True, kw_only=True):
    """A file of a data source that is not what it should be."""

    path: str
    kind: Literal["unreadable", "empty", "duplicate", "doubtful"]
    reason: str


class DataRecord(Record, frozen=True, kw_only=True):
    """What was trained on. `counts` are images per class for each part."""

    source: str
    origin: str  # where it was found
    hash: str  # SHA-256 over the parts: their source's content and which of its images they hold
    canonical: bool | None  # True: the published data set, to the byte; None: there is no published one
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]  # "train", "validation", "test" -> (K,)
    image_size: int  # pixels
    mean: tuple[float, float, float]  # of the training part, pixels in [0, 1]
    std: tuple[float, float, float]
    skipped: tuple[Problem, ...] = ()  # left out at the user's word (--skip-unreadable)
    leaks: dict[str, int] = {}  # part -> its images that equal one of a part before it, pixel for pixel


class LayerRow(Record, frozen=True, kw_only=True):
    """One layer of a net, for a single image. Shapes are without the batch."""

    name: str
    kind: str  # the class name, Conv2d
    detail: str  # "3->32, 3x3, stride 1, pad 1"
    output: tuple[int, ...]
    parameters: int
    flops: int  # forward


class ModelRecord(Record, frozen=True, kw_only=True):
    """A net as built."""

    name: str
    parameters: int
    flops: int  # forward, one image
    layers: tuple[LayerRow, ...]


class Mistake(Record, frozen=True, kw_only=True):
    """A wrongly classified image, with its picture."""

    index: int  # position in the scored set
    path: str | None  # where a set knows the files of its images
    truth: int
    said: int
    probability: float  # given to what was said
    loss: float
    picture: str  # base64 of a PNG


class EvalResult(Record, frozen=True, kw_only=True):
    """A net scored once on one set."""

    n: int
    loss: float
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson
    confusion: tuple[tuple[int, ...], ...]  # (K, K) counts, row: truth, column: said
    precision: tuple[float, ...]  # (K,); NaN-free: 0 where nothing was said
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    calibration_error: float  # expected calibration error, 15 bins
    calibration: tuple[tuple[float, float, int], ...]  # per bin: mean confidence, accuracy, count
    mistakes: tuple[Mistake, ...] = ()  # worst first, by loss


class Environment(Record, frozen=True, kw_only=True):
    """The machine and the software."""

    rungs: str
    commit: str | None  # of the source tree, with "+" when it has changes; None: an installed package
    python: str
    torch: str
    platform: str
    device: str  # "NVIDIA H200", "AMD EPYC"
    cores: int
    ranks: int
    precision: str
    precision_reason: str


class Finding(Record, frozen=True, kw_only=True):
    """What a rule saw in a record."""

    rule: str
    level: Literal["good", "note", "warning"]
    title: str
    text: str  # for a student
    cure: str | None = None


class RunRecord(Record, frozen=True, kw_only=True):
    """One recipe trained once."""

    schema: int = 1
    fingerprint: str
    status: Literal["finished", "interrupted", "diverged"]
    ending: str  # one sentence: why training ended
    recipe: Recipe  # resolved: every "auto" and default replaced by what was used
    changed: tuple[str, ...] = ()  # fields that differ from the shipped recipe of its name: its claims are of that one
    code: tuple[str, ...] = ()  # versions of rungs and torch that trained it; more than one where it was resumed
    data: DataRecord
    model: ModelRecord
    environment: Environment
    history: tuple[EpochRow, ...]
    best_epoch: int | None  # chosen on validation; the last epoch without one
    train: EvalResult | None = None  # the best weights on the training images, as they are
    validation: EvalResult | None = None
    test: EvalResult | None = None
    started: str  # UTC, ISO 8601
    finished: str
    wall_s: float  # from start to record, of all sessions together
    peak_memory_bytes: int  # of the process on a CPU, of the allocator on a GPU


T = TypeVar("T", bound=Record)


def to_json(record: Record) -> bytes:
    """Write a record as JSON, indented so that a person can read it and git can compare it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def from_json(data: bytes, kind: type[T], where: str | Path) -> T:
    """Read a record back.

    Raises:
        UserError: It is not JSON, or not a record of this kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise UserError(
            f"not a {kind.__name__}: {error}", where=where, do="is this file whole, and a record of rungs?"
        ) from error
