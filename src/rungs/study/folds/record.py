"""The record of a cross-validation, as JSON: the out-of-fold prediction of every image. Units: `rungs.run.record`."""

from __future__ import annotations

import base64
from pathlib import Path

from rungs.recipe.spec import Recipe
from rungs.run.folder import FINAL, FOLDS, RunDir, StudyDir
from rungs.run.predictions import Ints, column
from rungs.run.record import DataRecord, Environment, EvalResult, FoldsScore, ModelRecord, Record


class FoldRow(Record, frozen=True, kw_only=True):
    """One fold: the run that was trained on the others and tested on it."""

    fold: int  # counted from 0, `data.fold`
    folder: str  # of the run, in that of the cross-validation
    images: int  # tested
    train: int
    validation: int  # they chose the epoch, and the temperature
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %, Wilson
    balanced_accuracy: float
    loss: float
    best_epoch: int
    epochs: int
    temperature: float
    wall_s: float


class FoldsRecord(Record, frozen=True, kw_only=True):
    """A recipe, cross-validated."""

    schema: int = 1
    command: str
    recipe: Recipe  # as it was given; those of the runs are resolved
    data: DataRecord  # of the final net
    model: ModelRecord
    environment: Environment
    folds: tuple[FoldRow, ...]
    result: EvalResult  # of all images, each by the net of its fold; `per_image` in the order of the source
    fold_of: str  # base64 of uint8 (N,): the fold of each image
    paths: tuple[str, ...] = ()  # N files, where images come from files
    sd: float  # of the folds' accuracies, k - 1 in the denominator
    interval: tuple[float, float]  # 95 %, of the accuracy: see `rungs.study.statistics.of_folds`
    final_epochs: int
    started: str  # UTC, ISO 8601
    finished: str
    wall_s: float  # of all runs together

    @property
    def score(self) -> FoldsScore:
        """What the final net's own record says of it."""
        n, accuracy = self.result.n, self.result.accuracy
        return FoldsScore(folds=len(self.folds), images=n, accuracy=accuracy, interval=self.interval)

    @property
    def of_each(self) -> Ints:
        """The fold of each image, int64 (N,)."""
        return column(self.fold_of, "u1").astype("int64")


def packed(folds: Ints) -> str:
    """Return the fold of each image (N,) as a record keeps it."""
    return base64.b64encode(folds.astype("u1").tobytes()).decode()


class FoldsDir(StudyDir[FoldsRecord]):
    """A cross-validation.

    recipe.toml      the recipe as it was given
    fold-1 …         a run for each fold
    final            the run of the final net
    predictions.csv  the out-of-fold prediction of each image
    """

    name, what, kind = FOLDS, "a cross-validation", FoldsRecord

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.recipe = self.path / "recipe.toml"
        self.final = RunDir(self.path / FINAL)
        self.predictions = self.path / "predictions.csv"

    def fold(self, number: int) -> RunDir:
        """Return the run of a fold, counted from 0; its folder is counted from 1."""
        return RunDir(self.path / f"fold-{number + 1}")
