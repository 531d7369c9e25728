"""Interpreting the sweeps: the estimate, the rates to check, the choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from rungs.study.differences import Change, compare
from rungs.study.rates.record import RateCheck, Role, SweepRecord
from rungs.study.rates.sweep import SMOOTHED_DECADES

FALL = 0.05
"""A smaller relative fall of the loss gives no estimate: it is within batch-to-batch noise."""
APART = 3.0
"""Factor between the checked rates."""
SAME, NEAR = 1.1, 1.5
"""Rates within factor `SAME` count as equal; a rate within factor `NEAR` of one already chosen is skipped."""
MOST_NEXT = 3
"""Most additional rates to check while the best lies at the edge."""
LEARNT = 0.95
"""A run whose validation loss is above this share of ln K, the loss of guessing among K classes, has learnt nothing."""


@dataclass(frozen=True)
class Reading:
    """Rates read from the median curve of the sweeps."""

    median: tuple[float, ...]
    steepest: float | None
    lowest: float | None
    diverged_at: float | None


def read(sweeps: Sequence[SweepRecord], rates: Sequence[float]) -> Reading:
    """Take the median of the smoothed curves, with a sweep that ended early as infinite, and read its key rates."""
    table = np.full((len(sweeps), len(rates)), np.inf)
    for row, one in zip(table, sweeps, strict=True):
        row[: len(one.smoothed)] = one.smoothed
    whole = np.median(table, axis=0)
    median = whole[: int(np.argmax(np.isinf(whole))) if np.isinf(whole).any() else None]  # up to the first infinity
    diverged_at = rates[len(median)] if len(median) < len(rates) else None
    reach = max(1, round((len(rates) - 1) / math.log10(rates[-1] / rates[0]) * SMOOTHED_DECADES))
    lowest = int(median.argmin()) if len(median) else 0
    if lowest <= reach or median[lowest] > (1 - FALL) * median[reach]:  # before that, the mean is over few batches
        return Reading(tuple(median.tolist()), None, None, diverged_at)
    falls = median[: lowest + 1][: -2 * reach] - median[: lowest + 1][2 * reach :]
    steepest = int(falls.argmax()) + reach if len(falls) else max(0, lowest - reach)
    return Reading(tuple(median.tolist()), rates[steepest], rates[lowest], diverged_at)


def candidates(own: float, found: Reading) -> dict[float, tuple[Role, ...]]:
    """Return the rates to check first: the recipe's own, the estimate, and rates around it.

    These are a third and three times the estimate and a tenth of the rate at the minimum; without an estimate, a third
    and three times the recipe's own. Rates at or beyond divergence are skipped, and so are rates close to an earlier
    one.
    """
    centre: Role = "recipe" if found.steepest is None else "steepest"
    middle = own if found.steepest is None else found.steepest
    wanted: list[tuple[float, Role]] = [(own, "recipe")]
    if found.steepest is not None and found.lowest is not None:
        wanted += [(middle, "steepest"), (found.lowest / 10, "minimum / 10")]
    wanted += [(middle * APART, f"{centre} x 3"), (middle / APART, f"{centre} / 3")]  # type: ignore[list-item]
    kept: dict[float, tuple[Role, ...]] = {}
    for rate, role in wanted:
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
    """Round a rate to two significant digits: checks cannot resolve more."""
    return float(f"{rate:.2g}")


def next_rate(checks: Sequence[RateCheck], diverged_at: float | None, classes: int) -> float | None:
    """Return the next rate to check if the best lies at an edge; None if it lies between others."""
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
    """Return the rate with the lowest mean validation loss; None if no run learnt anything."""
    trained = [check for check in checks if check.loss is not None]
    best = min(trained, key=_mean_loss, default=None)
    return None if best is None or _mean_loss(best) > LEARNT * math.log(classes) else best.rate


def _mean_loss(check: RateCheck) -> float:
    return math.inf if check.loss is None else check.loss.mean


def compared(checks: Sequence[RateCheck], suggestion: float | None, seeds: Sequence[int]) -> tuple[RateCheck, ...]:
    """Return the checks with their differences from the suggested rate, paired by seed, Holm-corrected over all.

    The same runs choose and judge the best, so its lead is slightly optimistic; the page notes this.
    """

    def losses(check: RateCheck) -> dict[int, float]:
        return {seed: loss for seed, loss in zip(seeds, check.losses, strict=True) if loss is not None}

    best = next((check for check in checks if check.rate == suggestion), None)
    if best is None:
        return tuple(checks)
    others = [check for check in checks if check is not best and check.loss is not None]
    found = compare(
        [Change(f"{c.rate:g}", f"{best.rate:g}", "validation_loss", losses(c), losses(best)) for c in others]
    )
    return tuple(replace(check, difference=found.get(f"{check.rate:g}")) for check in checks)
