"""The record of a search, as JSON: every trial, what it showed, and how the best few did on fresh seeds.

Units are those of `rungs.run.record`. A "value" is the metric that the search goes by, on validation: of a trial, at
the epoch that the recipe's monitor chose. No number here but `test` comes from the test set.
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

    number: int  # from 0, in the order in which they were asked for
    params: dict[str, Scalar]  # field -> value; a list or a table by its JSON
    state: Literal["complete", "pruned", "running", "waiting", "failed"]
    value: float | None  # of a pruned one, chosen from the epochs that it had
    epochs: int  # done
    curve: tuple[float | None, ...]  # the metric after each epoch
    train_s: float
    worker: str  # "here:PID", seen from where the record was made, or "another machine"; "" where it is not known
    folder: str  # of its run, inside the search's; "" without one
    ending: str
    started: str  # UTC, ISO 8601; "" where it is waiting
    finished: str  # "" where it is not
    takes_up: int | None = None  # number of the trial whose worker stopped or died, which this one goes on with
    diverged: bool = False  # its training did: it is never called the best


class Finalist(Record, frozen=True, kw_only=True):
    """The recipe as it was, or one of the best trials, trained again on fresh seeds."""

    name: str  # of its rung in the finals: "recipe" or "trial-12"
    trial: int | None  # None: the recipe as it was
    overrides: tuple[str, ...]  # field=value, as after --set
    searched: float | None  # its value in the search, where it was a trial
    rerun: Estimate  # of the same metric, over the fresh seeds
    optimism: Estimate | None = (
        None  # in the metric's units, positive: flattered; searched minus re-run, of a loss the reverse
    )


def most_promising(finalists: Sequence[Finalist], *, is_loss: bool) -> Finalist | None:
    """Return the finalist whose searched value was the best: what a search without re-runs would have named."""
    tried = [
        (one.searched if is_loss else -one.searched, i) for i, one in enumerate(finalists) if one.searched is not None
    ]
    return finalists[min(tried)[1]] if tried else None


class SearchRecord(Record, frozen=True, kw_only=True):
    """A search."""

    schema: int = 1
    name: str
    command: str  # that makes this record, or joins the search
    dashboard: str  # the command that opens optuna-dashboard on the storage
    space: Space
    recipe: Recipe  # that the trials vary, resolved
    reduced: tuple[str, ...]  # what makes it shorter or smaller than the recipe, a phrase each
    metric: Metric
    sampler: str
    pruner: str
    storage: str  # its address, without a password
    trials: tuple[TrialRecord, ...]
    importance: dict[str, float]  # field -> share of what the fields explain of the metric's variance, sums to 1
    importance_by: str = ""  # how it was estimated
    finals: LadderRecord | None = None  # "recipe" and the best trials, each against the recipe in pairs of seeds
    finalists: tuple[Finalist, ...] = ()  # best first, by the re-runs
    winner: str | None = None  # name of a finalist
    verdict: str = ""  # in sentences: who won, by how much, whether it can be told from the recipe as it was
    test: Estimate | None = None  # test accuracy of the winner's re-runs, opened once, after it was named
    test_accuracies: tuple[float, ...] = ()  # a value a seed
    data: DataRecord
    environment: Environment
    started: str  # UTC, ISO 8601
    finished: str
    train_s: float  # of all trials and re-runs together


class SearchDir(StudyDir[SearchRecord]):
    """A search. It holds the run folder of each set of values and of each re-run, and Optuna's journal, too."""

    name, what, kind = "search.json", "a search", SearchRecord

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.journal = self.path / "journal.log"  # where no other storage was given
        self.trials = self.path / "trials"
        self.finals = self.path / "finals"
        self.claim = (
            self.path / "finals.claim"
        )  # says that the finals are this folder's, where a database has the trials
