"""The record of a search, as JSON: every trial with its result, and the best few on fresh seeds.

Units are those of `rungs.run.record`. A "value" is the validation metric that the search optimises, at the epoch
that the recipe's monitor chose. Only `test` and `test_accuracies` come from the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from rungs.recipe.spec import Recipe
from rungs.run.folder import StudyDir
from rungs.run.record import DataRecord, Environment, Estimate, Record
from rungs.study.ladder.record import LadderRecord
from rungs.study.search.space import Scalar, Space

Metric: TypeAlias = Literal["validation_accuracy", "validation_loss"]


class TrialRecord(Record, frozen=True, kw_only=True):
    """One set of values, trained with the search's seed."""

    number: int  # from 0, in the order of sampling
    params: dict[str, Scalar]  # field -> value; a list or a table by its JSON
    state: Literal["complete", "pruned", "running", "waiting", "failed"]
    value: float | None  # of a pruned trial, over the epochs until then
    epochs: int  # done
    curve: tuple[float | None, ...]  # the metric after each epoch
    train_s: float
    worker: str  # "here:PID" on the machine that wrote the record, or "another machine"; "" if unknown
    folder: str  # of its run, inside the search's; "" without one
    ending: str
    started: str  # UTC, ISO 8601; "" while waiting
    finished: str  # "" if it has not
    takes_up: int | None = None  # number of the trial that this one resumes after its worker stopped or died
    diverged: bool = False  # its training diverged: it never counts as the best


class Finalist(Record, frozen=True, kw_only=True):
    """The unchanged recipe or one of the best trials, retrained on fresh seeds."""

    name: str  # of its rung in the finals: "recipe" or "trial-12"
    trial: int | None  # None: the unchanged recipe
    overrides: tuple[str, ...]  # field=value, as after --set
    searched: float | None  # its value in the search, if it was a trial
    rerun: Estimate  # of the same metric, over the fresh seeds
    optimism: Estimate | None = None  # searched minus re-run, reversed for a loss: positive is optimistic


def most_promising(finalists: Sequence[Finalist], *, is_loss: bool) -> Finalist | None:
    """Return the finalist with the best value in the search: the winner if there were no re-runs."""
    tried = [
        (one.searched if is_loss else -one.searched, i) for i, one in enumerate(finalists) if one.searched is not None
    ]
    return finalists[min(tried)[1]] if tried else None


class SearchRecord(Record, frozen=True, kw_only=True):
    """A search."""

    schema: int = 2  # 1: without `corrected` and `optimism`
    name: str
    command: str  # that writes this record, or joins the search
    dashboard: str  # the command that opens optuna-dashboard on the storage
    space: Space
    recipe: Recipe  # that the trials vary, resolved
    reduced: tuple[str, ...]  # what makes it shorter or smaller than the recipe, a phrase each
    metric: Metric
    sampler: str
    pruner: str
    storage: str  # its address, without a password
    trials: tuple[TrialRecord, ...]
    importance: dict[str, float]  # field -> share of the metric's explained variance, sums to 1
    importance_by: str = ""  # how it was estimated
    finals: LadderRecord | None = None  # "recipe" and the best trials, each against the recipe, paired by seed
    finalists: tuple[Finalist, ...] = ()  # best first, by the re-runs
    winner: str | None = None  # name of a finalist
    corrected: Estimate | None = None  # the winner's value over seeds, corrected for the choice (`second_choice`)
    optimism: Estimate | None = None  # the winner's searched value minus `corrected`, reversed for a loss
    verdict: str = ""  # in sentences: who won, by how much, whether it is distinguishable from the unchanged recipe
    test: Estimate | None = None  # test accuracy of the winner's re-runs, opened once, after it was named
    test_accuracies: tuple[float, ...] = ()  # one per seed
    data: DataRecord
    environment: Environment
    started: str  # UTC, ISO 8601
    finished: str
    train_s: float  # of all trials and re-runs together


class SearchDir(StudyDir[SearchRecord]):
    """A search. It holds a run folder for each set of values and each re-run, and Optuna's journal."""

    name, what, kind = "search.json", "a search", SearchRecord

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.journal = self.path / "journal.log"  # unless --storage is given
        self.trials = self.path / "trials"
        self.finals = self.path / "finals"
        self.claim = self.path / "finals.claim"  # token of this folder's claim to the finals, with a database
