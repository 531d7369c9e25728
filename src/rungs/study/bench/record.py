"""The record of a bench: how fast a recipe runs on this machine, relative to the machine's limits. As JSON.

Rates are per second, shares are fractions of 1, `flops` count a multiplication and an addition as two operations.
"Traffic" is the bytes that all operations read and write, without caching between operations.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from rungs.recipe.spec import Recipe
from rungs.run.folder import StudyDir
from rungs.run.record import DataRecord, Environment, ModelRecord, Record

Kind = Literal["training", "inference"]
PHASES: dict[Kind, tuple[str, ...]] = {
    "training": ("data", "forward", "backward", "optimiser"),
    "inference": ("data", "forward"),
}
"""The phases of a batch, in order."""
LeverName = Literal["convolution", "precision", "memory", "compile"]


class Spread(Record, frozen=True, kw_only=True):
    """A quantity measured several times."""

    n: int
    median: float
    low: float  # quartiles
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles."""
    low, _, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(n=len(values), median=statistics.median(values), low=low, high=high)


class Ceilings(Record, frozen=True, kw_only=True):
    """The hardware's limits, measured in alternation with the recipe."""

    precision: str  # of the matrix product: the run's
    matmul: Spread  # FLOP/s of the best shape
    matmul_size: int  # that shape, n x n times n x n
    copy: Spread  # bytes/s, read and written
    copy_bytes: int  # of the copied tensor
    by_precision: dict[str, float]  # "fp32", "bf16" -> FLOP/s at the same size, measured side by side


class Work(Record, frozen=True, kw_only=True):
    """The cost of one image, on any machine, and its bound on this one."""

    flops: float  # of convolutions and matrix products
    traffic_bytes: float
    bound_s: float  # if each operation ran at its ceiling: the larger of FLOPs / matmul and traffic / copy, summed


class Phase(Record, frozen=True, kw_only=True):
    """One phase of a batch."""

    name: str  # of `PHASES`
    seconds: Spread  # per batch
    share: float  # of the time of all batches; the shares of one point sum to 1


class Point(Record, frozen=True, kw_only=True):
    """Training or inference with one batch size."""

    kind: Kind
    batch_size: int
    own: bool  # the recipe's own size
    seconds: Spread  # per batch, all phases
    phases: tuple[Phase, ...]
    images_per_s: float  # at the median
    flops_per_s: float
    share: Spread  # of the matrix product's FLOP/s in the same round


class Operation(Record, frozen=True, kw_only=True):
    """A kind of operation in a training step."""

    kind: str  # "convolution, backward"
    share: float  # of the time of all operations; all rows sum to 1
    names: tuple[str, ...]  # torch's, the most expensive first


class Lever(Record, frozen=True, kw_only=True):
    """A choice that decides only speed: the recipe's training step here, in turns with the same step the other way."""

    name: LeverName
    used: str  # "fp32", "winograd", "kept", "no": what this recipe uses here
    other: str  # what it is compared with
    gain: Spread | None = None  # seconds the other way / seconds of the recipe's way: above 1, the recipe's is faster
    why_not: str = ""  # the reason if it was not measured


class BenchRecord(Record, frozen=True, kw_only=True):
    """One recipe, measured on one machine."""

    schema: int = 1
    recipe: Recipe  # resolved
    data: DataRecord
    model: ModelRecord
    environment: Environment
    on_gpu: bool
    threads: int  # CPU threads of torch
    ceilings: Ceilings
    training: Work  # data and augmentation not counted
    inference: Work
    points: tuple[Point, ...]  # by kind, then by batch size
    augmentation_s: float | None  # of the data phase of a training step; None: the recipe has none
    operations: tuple[Operation, ...]  # most time first
    peak_memory_bytes: int  # of training and inference with the recipe's own batch sizes
    left_out: tuple[str, ...]  # skipped batch sizes, and why
    rounds: int
    levers: tuple[Lever, ...] = ()  # the choices that this machine has
    started: str  # UTC, ISO 8601
    wall_s: float

    def own(self, kind: Kind) -> Point:
        """Return the point of the recipe's own batch size."""
        return next(point for point in self.points if point.kind == kind and point.own)

    def lever(self, name: LeverName) -> Lever | None:
        """Return a lever; None if this machine does not have it."""
        return next((lever for lever in self.levers if lever.name == name), None)

    def of(self, kind: Kind) -> tuple[Point, ...]:
        """Return all points of a kind, the smallest batch first."""
        return tuple(point for point in self.points if point.kind == kind)


class BenchDir(StudyDir[BenchRecord]):
    """A bench."""

    name, what, kind = "bench.json", "a bench", BenchRecord
