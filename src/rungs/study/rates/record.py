"""The record of a learning-rate range test and its checking runs, as JSON.

A rate is a value of `optim.lr`; the other rates of an optimiser are scaled in proportion.
"""

from __future__ import annotations

from typing import Literal

from rungs.recipe.spec import Recipe
from rungs.run.folder import StudyDir
from rungs.run.record import DataRecord, Difference, Environment, Estimate, ModelRecord, Record

Role = Literal["recipe", "steepest", "steepest / 3", "steepest x 3", "minimum / 10", "recipe / 3", "recipe x 3", "next"]
"""Why a rate was checked: the recipe's own; the steepest fall of the smoothed loss, or a third or three times that; a
tenth of the rate at the minimum; or the next one beyond the best so far."""


class SweepRecord(Record, frozen=True, kw_only=True):
    """One sweep: one value per step, from the lowest rate up."""

    seed: int
    losses: tuple[float, ...]  # of the training batch before the step (augmented, smoothed labels)
    smoothed: tuple[float, ...]
    diverged_at: float | None  # the rate at which it ended early; None: it did not diverge


class RateCheck(Record, frozen=True, kw_only=True):
    """One rate, checked by short runs and judged on validation after their last epoch."""

    rate: float
    roles: tuple[Role, ...]
    overrides: tuple[str, ...]  # field=value, as after --set; () for the recipe's own rate
    losses: tuple[float | None, ...]  # one per seed; None: that run diverged
    accuracies: tuple[float | None, ...]
    loss: Estimate | None  # None if a run diverged
    accuracy: Estimate | None
    difference: Difference | None = None  # of the loss, from the suggestion; None for itself, or if a run diverged


class RateRecord(Record, frozen=True, kw_only=True):
    """A recipe's learning rate, found by the range test and checked by short runs."""

    schema: int = 1
    recipe: Recipe  # resolved
    data: DataRecord  # of the first seed
    model: ModelRecord
    environment: Environment
    command: str  # that produces this record
    longer_command: str  # the same with longer sweeps and checks
    train_command: str  # that trains the recipe with its own rate
    seeds: tuple[int, ...]  # of sweeps and checks
    rates: tuple[float, ...]  # of the steps of a sweep, ascending
    smoothing: float  # decay of the exponential mean
    sweeps: tuple[SweepRecord, ...]
    median: tuple[float, ...]  # of the smoothed losses over the seeds; shorter than `rates` if most diverged
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
        """The check of the range test's estimate; None without one."""
        return next((check for check in self.checks if "steepest" in check.roles), None)

    @property
    def own(self) -> RateCheck:
        """The check of the recipe's own rate."""
        return next(check for check in self.checks if "recipe" in check.roles)

    @property
    def indistinguishable(self) -> list[RateCheck]:
        """The checks of rates that cannot be distinguished from the suggested one."""
        return [check for check in self.checks if check.difference and check.difference.verdict != "real loss"]

    @property
    def next_command(self) -> str:
        """The recommended command: train with the suggested rate, or search longer if there is none.

        The recipe's own rate is kept if it cannot be distinguished from the suggested one: no evidence favours a
        change.
        """
        if self.best is None:
            return self.longer_command
        if self.own in self.indistinguishable:
            return self.train_command
        return " ".join([self.train_command, *(f"--set {one}" for one in self.best.overrides)])


class RateDir(StudyDir[RateRecord]):
    """A learning-rate range test."""

    name, what, kind = "rates.json", "a range test", RateRecord
