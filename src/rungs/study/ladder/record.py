"""The record of a ladder and its folder."""

from __future__ import annotations

from typing import Literal

from rungs.recipe.spec import Claim, Recipe
from rungs.run.folder import StudyDir
from rungs.run.record import DataRecord, Difference, Environment, Estimate, Finding, LayerRow, Record


class CellRecord(Record, frozen=True, kw_only=True):
    """One cell of a ladder, a rung with one seed: the results of its run, without pictures and weights."""

    seed: int  # or the fold, counted from 0
    folder: str  # of the run, relative to the climb's
    status: Literal["finished", "interrupted", "diverged", "failed"]
    ending: str  # why training ended, or what failed
    values: dict[str, float] = {}  # each of `CELL_VALUES` that was measured
    best_epoch: int | None = None
    curves: dict[str, tuple[float, ...]] = {}  # each of `CURVES` that was measured, one value per epoch
    findings: tuple[Finding, ...] = ()  # of the run's diagnosis
    interpretation: str = ""  # of its curves, in sentences
    code: tuple[str, ...] = ()  # versions of rungs and torch
    machine: str = ""  # "AMD EPYC, 2 cores, fp32"; "" in records of earlier versions: that of the study
    commit: str = ""  # of the source tree; "" for an installed package
    data_hash: str = ""
    hashes: dict[str, str] = {}  # of each part of the data
    fold_ratio: float = 0.0  # n_test / n_train of a fold; 0: not of a fold, or of an earlier version
    record_only: bool = False  # trained elsewhere: its run's folder is not here
    test_openings: int | None = None  # of its test set, from its log when the study was summarised

    @property
    def has_ended(self) -> bool:
        """Whether training it again would not change its result: it finished, or it diverged."""
        return self.status in ("finished", "diverged")

    @property
    def own_s(self) -> float:
        """Seconds from its start to its end; in a pack, its share."""
        return self.values.get("wall_s", 0.0) / self.values.get("packed", 1.0)


class Answer(Record, frozen=True, kw_only=True):
    """A claim and its measurement."""

    metric: str
    kind: Literal["value", "change"] = "value"  # a change: against the rung that this one builds on
    claimed: float
    tolerance: float
    margin: float = 0.0  # half-width of "within"
    measured: float | None
    n: int = 0  # seeds
    low: float | None  # where a value like the claimed one is expected, with 95 % probability
    high: float | None
    verdict: Literal[
        "within", "better", "worse", "cannot tell", "equal", "different", "not comparable", "reproduced"
    ]  # "equal" and "different": of parameters; "reproduced": in records of earlier versions
    why: str
    source: str


class PlannedRung(Record, frozen=True, kw_only=True):
    """A rung as its ladder plans it, trained or not."""

    name: str
    seeds: int  # counted from 0
    recipe: str  # its digest, with seed 0


class RungRecord(Record, frozen=True, kw_only=True):
    """One rung over all seeds."""

    name: str
    about: str
    on: str | None  # the rung that it builds on; None for the first
    changes: tuple[str, ...]  # what it sets, field=value
    assumptions: tuple[str, ...]
    parameters: int
    flops: int  # forward, one image
    layers: tuple[LayerRow, ...]
    cells: tuple[CellRecord, ...]
    estimates: dict[str, Estimate]  # of `CELL_VALUES`, over the finished cells
    difference: Difference | None
    answers: tuple[Answer, ...]
    claims: tuple[Claim, ...] = ()  # as the ladder's file has them
    confusion: tuple[tuple[int, ...], ...]  # (K, K), of the test (else validation) sets of all seeds together


class LadderRecord(Record, frozen=True, kw_only=True):
    """The results of a climb."""

    schema: int = 1
    name: str
    about: str
    headline: str
    source: str
    builds_on: Literal["previous", "base"]
    command: str  # that made this record
    reduced: tuple[str, ...]  # how it differs from the ladder's file
    seeds: tuple[int, ...]
    planned: tuple[PlannedRung, ...] = ()  # all rungs, in order; () in records of earlier versions
    margin: float = 0.01  # "no difference": an interval within this of zero
    looks: tuple[int, ...] = ()  # numbers of pairs of runs at which its differences were judged
    recipe: Recipe  # of the first rung and seed, resolved
    data: DataRecord  # of the first seed
    environment: Environment
    rungs: tuple[RungRecord, ...]
    started: str  # UTC, ISO 8601: of the first cell
    finished: str
    train_s: float  # of all cells together

    @property
    def folds(self) -> int:
        """The number of folds that take the place of seeds; 0: none do."""
        return self.recipe.data.folds or 0

    @property
    def judged_by(self) -> str:
        """The metric that compares rungs: with folds of the images that each left out, else on validation if any."""
        validated = any("validation_accuracy" in rung.estimates for rung in self.rungs)
        return "validation_accuracy" if validated and not self.folds else "test_accuracy"


class LadderDir(StudyDir[LadderRecord]):
    """A climb; it also holds a run folder per cell, RUNG-seedN-…."""

    name, what, kind = "ladder.json", "a climb", LadderRecord
