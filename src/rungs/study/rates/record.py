"""The record of a learning-rate range test and of the short runs that checked it. JSON like all records.

A rate is what `optim.lr` is set to; the other rates of an optimiser keep their proportion to it.
"""

from __future__ import annotations

from typing import Literal

from rungs.recipe.spec import Recipe
from rungs.run.folder import StudyDir
from rungs.run.record import DataRecord, Difference, Environment, Estimate, ModelRecord, Record

Role = Literal["recipe", "steepest", "steepest / 3", "steepest x 3", "minimum / 10", "recipe / 3", "recipe x 3", "next"]
"""Why a rate was checked: it is the recipe's own; where the smoothed loss fell fastest, or a third or three times of
it; a tenth of the rate at the minimum; or the next one beyond the best so far."""


class SweepRecord(Record, frozen=True, kw_only=True):
    """One sweep: a value a step, from the lowest rate on."""

    seed: int
    losses: tuple[float, ...]  # of the training batch before the step, as it was trained (augmented, smoothed labels)
    smoothed: tuple[float, ...]
    diverged_at: float | None  # the rate at which it ended early; None: it did not


class RateCheck(Record, frozen=True, kw_only=True):
    """One rate, trained with in short runs, judged on validation after their last epoch."""

    rate: float
    roles: tuple[Role, ...]
    overrides: tuple[str, ...]  # field=value, as after --set; () for the recipe's own rate
    losses: tuple[float | None, ...]  # a value a seed; None: that run diverged
    accuracies: tuple[float | None, ...]
    loss: Estimate | None  # None where a run diverged
    accuracy: Estimate | None
    difference: Difference | None = None  # of the loss, from the suggestion; None for itself, or where a run diverged


class RateRecord(Record, frozen=True, kw_only=True):
    """A recipe's learning rate, sought by the range test and checked by short runs."""

    schema: int = 1
    recipe: Recipe  # resolved
    data: DataRecord  # of the first seed
    model: ModelRecord
    environment: Environment
    command: str  # that makes this record
    longer_command: str  # that does the same with longer sweeps and checks
    train_command: str  # that trains the recipe as it was given, without another rate
    seeds: tuple[int, ...]  # of sweeps and checks
    rates: tuple[float, ...]  # of the steps of a sweep, rising
    smoothing: float  # decay of the exponential mean
    sweeps: tuple[SweepRecord, ...]
    median: tuple[float, ...]  # of the smoothed losses over the seeds; shorter than `rates` where most diverged
    steepest: float | None  # the rate where it falls fastest; None: it hardly falls
    lowest: float | None  # the rate at its minimum
    diverged_at: float | None  # the rate at which most sweeps had ended
    epochs: int  # of each check
    steps: int  # of each check
    checks: tuple[RateCheck, ...]  # by rate
    suggestion: float | None  # of the lowest mean validation loss; None: no check learnt anything
    started: str  # UTC, ISO 8601
    wall_s: float

    @property
    def best(self) -> RateCheck | None:
        """The check of the suggested rate."""
        return next((check for check in self.checks if check.rate == self.suggestion), None)

    @property
    def guess(self) -> RateCheck | None:
        """The check of the range test's own guess; None where it made none."""
        return next((check for check in self.checks if "steepest" in check.roles), None)

    @property
    def own(self) -> RateCheck:
        """The check of the recipe's own rate."""
        return next(check for check in self.checks if "recipe" in check.roles)

    @property
    def untold(self) -> list[RateCheck]:
        """The checks of rates that cannot be told apart from the suggested one."""
        return [check for check in self.checks if check.difference and check.difference.verdict != "real loss"]

    @property
    def next_command(self) -> str:
        """What to do with the answer: train with the rate, or look longer where there is none.

        The recipe's own rate stays where it cannot be told apart from the suggested one: nothing says that to change
        it helps.
        """
        if self.best is None:
            return self.longer_command
        if self.own in self.untold:
            return self.train_command
        return " ".join([self.train_command, *(f"--set {one}" for one in self.best.overrides)])


class RateDir(StudyDir[RateRecord]):
    """A range test of learning rates."""

    name, what, kind = "rates.json", "a range test", RateRecord
