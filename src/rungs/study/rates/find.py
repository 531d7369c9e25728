"""A learning rate, guessed by the range test and checked by real short runs.

The guess is the rate at which the smoothed loss of the sweep falls fastest on a logarithmic axis; a tenth of the rate
at its minimum is checked, too. Both are in common use (Smith 2017, arXiv:1506.01186; Howard & Gugger 2020,
arXiv:2002.04688). Neither has to be right, so that short runs decide.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
from msgspec.structs import replace
from torch import Tensor

from rungs import data
from rungs.data.batches import spans
from rungs.errors import UserError
from rungs.recipe import toml as recipes
from rungs.recipe.shorten import stretched
from rungs.recipe.spec import Recipe
from rungs.run.record import Estimate
from rungs.study.intervals import compare, estimate
from rungs.study.rates.record import RateCheck, RateRecord, Role, SweepRecord
from rungs.training.device import World, enough_memory
from rungs.training.rate_range import SMOOTHED_DECADES, growing_rates, short_run, shortened, smoothing, sweep
from rungs.training.setup import Material, assemble, gather

FALL = 0.05
"""A sweep whose loss falls by a smaller share of its start has found nothing: batches scatter by about as much."""
APART = 3.0
"""Factor between the rates that are checked."""
SAME, NEAR = 1.1, 1.5
"""Rates that differ by a smaller factor are one; a rate nearer than `NEAR` to one that must be checked is left out."""
MOST_NEXT = 3
"""Rates beyond the first ones that are checked at most, while the best lies at the edge."""
LEARNT = 0.95
"""A run whose validation loss is above this share of ln K, the loss of guessing among K classes, has learnt nothing."""
LESS = "use smaller batches, smaller images or a smaller net"

Tell: TypeAlias = Callable[[str], None]
"""Called with a few words on what happens now."""


@dataclass(frozen=True)
class Reading:
    """What is read off the median curve of the sweeps."""

    median: tuple[float, ...]
    steepest: float | None
    lowest: float | None
    diverged_at: float | None


def find(
    recipe: Recipe,
    world: World,
    *,
    rates: tuple[float, float, int],
    seeds: int,
    epochs: int | None,
    skip_unreadable: bool,
    commands: tuple[str, str, str],
    tell: Tell,
) -> RateRecord:
    """Sweep, guess, check, and return the record; the test set stays closed, nothing is written.

    Args:
        recipe: Whose rate is sought.
        world: One process.
        rates: The lowest, the highest, and the number of steps between them.
        seeds: How many sweeps, and runs of each rate that is checked; from the recipe's own seed on.
        epochs: Of each check; None: about as many steps as a sweep has, of a long epoch the beginning.
        skip_unreadable: Leave unreadable files out.
        commands: That make the record; that make a longer one; that train the same recipe.
        tell: Called with what happens now.

    Raises:
        UserError: Bad data, no validation set, or a net that does not fit the data or the memory.
    """
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    tell("loading data")
    table = Table.lay(recipe, world, seeds, rates[2], epochs, skip_unreadable)
    swept = growing_rates(*rates)
    with enough_memory(LESS):
        kit = assemble(*table.gathered[0], world, table.moved)
        sweeps = [table.sweep(i, swept, tell) for i in range(seeds)]
        found = read(sweeps, swept)
        checks = check_all(table, found, tell)
    suggestion = choose(checks, len(table.classes))
    return RateRecord(
        recipe=replace(kit.recipe, evaluation=recipe.evaluation),
        data=table.gathered[0][1].record,
        model=kit.description,
        environment=kit.environment,
        command=commands[0],
        longer_command=commands[1],
        train_command=commands[2],
        seeds=table.seeds,
        rates=swept,
        smoothing=smoothing(swept),
        sweeps=tuple(sweeps),
        median=found.median,
        steepest=found.steepest,
        lowest=found.lowest,
        diverged_at=found.diverged_at,
        epochs=table.epochs,
        steps=table.epochs * table.steps_per_epoch,
        checks=compared(checks, suggestion, table.seeds),
        suggestion=suggestion,
        started=started,
        wall_s=time.perf_counter() - began,
    )


@dataclass
class Table:
    """What sweeps and checks share: the recipe, its data for each seed, the length of a check."""

    recipe: Recipe
    world: World
    gathered: list[tuple[Recipe, Material]]  # a seed each, resolved
    epochs: int
    images: int  # training images of a check, at most
    moved: dict[int, Tensor]

    @classmethod
    def lay(
        cls, recipe: Recipe, world: World, seeds: int, steps: int, epochs: int | None, skip_unreadable: bool
    ) -> Table:
        """Load the data, divide it for each seed, and decide how long a check is."""
        closed = replace(recipe, evaluation=replace(recipe.evaluation, score_test=False, watch_test=False))
        source = data.load(recipe.data.source, recipe.data.image_size)
        gathered = [
            gather(replace(closed, seed=seed), skip_unreadable, source)
            for seed in range(recipe.seed, recipe.seed + seeds)
        ]
        parts = gathered[0][1].parts
        if parts.validation is None:
            do = "set data.validation above 0"
            raise UserError("rates are judged on a validation set, and there is none", where=recipe.data.source, do=do)
        images, batch = len(parts.train), recipe.training.batch_size
        if epochs is None:
            epochs = math.ceil(steps / len(spans(images, batch)))
            images = min(images, steps * batch)
        return cls(recipe, world, gathered, epochs, images, {})

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(recipe.seed for recipe, _ in self.gathered)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.gathered[0][1].record.classes

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch of a check."""
        return len(spans(self.images, self.recipe.training.batch_size))

    def sweep(self, i: int, rates: Sequence[float], tell: Tell) -> SweepRecord:
        """Sweep with one of the seeds."""
        tell(f"sweep {i + 1} of {len(self.gathered)}")
        recipe, material = self.gathered[i]
        done = sweep(recipe, material, self.world, rates, self.moved)
        return SweepRecord(seed=recipe.seed, losses=done.losses, smoothed=done.smoothed, diverged_at=done.diverged_at)

    def check(self, rate: float, roles: Sequence[Role], tell: Tell) -> RateCheck:
        """Train with a rate, once a seed, the recipe's schedule compressed to the length of a check."""
        overrides, rows = assignments(self.recipe, rate), []
        for i, (recipe, material) in enumerate(self.gathered):
            tell(f"checking {rate:g}, run {i + 1} of {len(self.gathered)}")
            changed = stretched(recipes.choose(recipe, overrides), self.epochs / recipe.training.epochs)
            changed = replace(changed, stopping=replace(changed.stopping, patience=None))
            rows.append(short_run(changed, shortened(material, self.images, recipe.seed), self.world, self.moved))
        losses = tuple(None if row is None else row.validation_loss for row in rows)
        accuracies = tuple(None if row is None else row.validation_accuracy for row in rows)
        return RateCheck(
            rate=rate,
            roles=tuple(roles),
            overrides=overrides,
            losses=losses,
            accuracies=accuracies,
            loss=_estimate(losses),
            accuracy=_estimate(accuracies),
        )


def _estimate(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if len(known) == len(values) else None


def assignments(recipe: Recipe, rate: float) -> tuple[str, ...]:
    """Return what sets `optim.lr` to a rate and its companions in proportion; () where it is the recipe's own."""
    spec = recipe.optim
    if rate == spec.lr:
        return ()
    beside = (field for field in ("head_lr", "bias_lr") if hasattr(spec, field))
    others = (f"optim.{field}={getattr(spec, field) * rate / spec.lr:.4g}" for field in beside)
    return (f"optim.lr={rate:g}", *others)


def read(sweeps: Sequence[SweepRecord], rates: Sequence[float]) -> Reading:
    """Take the median of the smoothed curves, a sweep that ended early counting as infinite, and read off its marks."""
    table = np.full((len(sweeps), len(rates)), np.inf)
    for row, one in zip(table, sweeps, strict=True):
        row[: len(one.smoothed)] = one.smoothed
    whole = np.median(table, axis=0)
    median = whole[: int(np.argmax(np.isinf(whole))) if np.isinf(whole).any() else None]  # up to the first infinity
    diverged_at = rates[len(median)] if len(median) < len(rates) else None
    reach = max(1, round((len(rates) - 1) / math.log10(rates[-1] / rates[0]) * SMOOTHED_DECADES))
    lowest = int(median.argmin()) if len(median) else 0
    if lowest <= reach or median[lowest] > (1 - FALL) * median[reach]:  # before that it is a mean of few batches
        return Reading(tuple(median.tolist()), None, None, diverged_at)
    falls = median[: lowest + 1][: -2 * reach] - median[: lowest + 1][2 * reach :]
    steepest = int(falls.argmax()) + reach if len(falls) else max(0, lowest - reach)
    return Reading(tuple(median.tolist()), rates[steepest], rates[lowest], diverged_at)


def candidates(own: float, found: Reading) -> dict[float, tuple[Role, ...]]:
    """Return the rates to check first: the recipe's own, the guess, and around it.

    Around a guess lie a third and three times of it, and a tenth of the rate at the minimum; without one, a third and
    three times of the recipe's own. What lies at or beyond the rate at which the sweeps
    diverged is left out, and what lies near one that stands before it.
    """
    centre: Role = "recipe" if found.steepest is None else "steepest"
    middle = own if found.steepest is None else found.steepest
    wished: list[tuple[float, Role]] = [(own, "recipe")]
    if found.steepest is not None and found.lowest is not None:
        wished += [(middle, "steepest"), (found.lowest / 10, "minimum / 10")]
    wished += [(middle * APART, f"{centre} x 3"), (middle / APART, f"{centre} / 3")]  # type: ignore[list-item]
    kept: dict[float, tuple[Role, ...]] = {}
    for rate, role in wished:
        same = next((one for one in kept if _apart(one, rate) < SAME), None)
        near = role != "steepest" and any(_apart(one, rate) < NEAR for one in kept)
        lost = found.diverged_at is not None and rate >= found.diverged_at
        if same is not None:
            kept[same] = (*kept[same], role)
        elif role == "recipe":
            kept[rate] = (role,)
        elif not (near or lost):
            kept[rounded(rate)] = (role,)
    return kept


def _apart(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def rounded(rate: float) -> float:
    """Return a rate with two digits: no check tells more apart."""
    return float(f"{rate:.2g}")


def check_all(table: Table, found: Reading, tell: Tell) -> tuple[RateCheck, ...]:
    """Check the first rates, then further ones while the best lies at the edge; return all, by rate."""
    checks = [table.check(rate, roles, tell) for rate, roles in candidates(table.recipe.optim.lr, found).items()]
    for _ in range(MOST_NEXT):
        rate = next_rate(checks, found.diverged_at, len(table.classes))
        if rate is None:
            break
        checks.append(table.check(rate, ("next",), tell))
    return tuple(sorted(checks, key=lambda check: check.rate))


def next_rate(checks: Sequence[RateCheck], diverged_at: float | None, classes: int) -> float | None:
    """Return the rate to check beyond the best one where that lies at an edge; None where it lies between others."""
    ordered = sorted(checks, key=lambda check: check.rate)
    first, last = ordered[0], ordered[-1]
    trained = [check for check in ordered if check.loss is not None]
    best = min(trained, key=_mean_loss, default=None)
    if best is None:
        return rounded(first.rate / APART)
    if best is last or (last.loss is not None and _mean_loss(best) > LEARNT * math.log(classes)):
        higher = rounded(last.rate * APART)
        return higher if diverged_at is None or higher < diverged_at else None
    return rounded(first.rate / APART) if best is first else None


def choose(checks: Sequence[RateCheck], classes: int) -> float | None:
    """Return the rate with the lowest mean validation loss; None where no run learnt anything."""
    trained = [check for check in checks if check.loss is not None]
    best = min(trained, key=_mean_loss, default=None)
    return None if best is None or _mean_loss(best) > LEARNT * math.log(classes) else best.rate


def _mean_loss(check: RateCheck) -> float:
    return math.inf if check.loss is None else check.loss.mean


def compared(checks: Sequence[RateCheck], suggestion: float | None, seeds: Sequence[int]) -> tuple[RateCheck, ...]:
    """Return the checks, each with its difference from the suggested rate, in pairs of seeds, after Holm over all.

    Runs that chose the best also judge it, so that it is flattered a little; the page says so.
    """

    def losses(check: RateCheck) -> dict[int, float]:
        return {seed: loss for seed, loss in zip(seeds, check.losses, strict=True) if loss is not None}

    best = next((check for check in checks if check.rate == suggestion), None)
    if best is None:
        return tuple(checks)
    others = [check for check in checks if check is not best and check.loss is not None]
    found = compare([(f"{c.rate:g}", f"{best.rate:g}", "validation_loss", losses(c), losses(best)) for c in others])
    return tuple(replace(check, difference=found.get(f"{check.rate:g}")) for check in checks)
