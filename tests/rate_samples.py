"""A made-up but plausible range test with its checks, for the tests of its words, table and picture; no torch."""

from __future__ import annotations

import math
from typing import Any

import samples
from msgspec.structs import replace

from rungs.run.record import Difference, Estimate
from rungs.study.rates.record import RateCheck, RateRecord, Role, SweepRecord

SEEDS = (0, 1, 2)
STEPS = 120
RATES = tuple(1e-6 * 1e7 ** (i / (STEPS - 1)) for i in range(STEPS))


def sweep(seed: int) -> SweepRecord:
    """A loss that falls from 2.3 to 1.1 around 0.006, and rises from 0.05 until it is lost at about 0.9."""
    losses, logs = [], [math.log10(rate) for rate in RATES]
    for i, log in enumerate(logs[:102]):
        fall = 1.2 / (1 + math.exp(-4 * (log + 2.2)))
        losses.append(2.3 - fall + 10 ** (1.5 * log) * 3 + 0.05 * math.sin(7 * i + seed))
    return SweepRecord(seed=seed, losses=tuple(losses), smoothed=tuple(losses), diverged_at=RATES[102])


def check(rate: float, role: Role, *losses: float | None, own: bool = False) -> RateCheck:
    known = [loss for loss in losses if loss is not None]
    mean = sum(known) / len(known) if known else 0.0
    whole = len(known) == len(losses)
    return RateCheck(
        rate=rate,
        roles=(role,),
        overrides=() if own else (f"optim.lr={rate:g}",),
        losses=losses,
        accuracies=tuple(None if loss is None else 1 - loss / 4 for loss in losses),
        loss=Estimate(n=3, mean=mean, sd=0.02, low=mean - 0.05, high=mean + 0.05) if whole else None,
        accuracy=Estimate(n=3, mean=1 - mean / 4, sd=0.005, low=0.98 - mean / 4, high=1.02 - mean / 4)
        if whole
        else None,
    )


def difference(mean: float, verdict: Any) -> Difference:
    return Difference(
        against="0.018",
        metric="validation_loss",
        n=3,
        mean=mean,
        low=mean - 0.01,
        high=mean + 0.01,
        p=0.01,
        p_holm=0.04 if verdict == "real loss" else 0.4,
        verdict=verdict,
        words="raises the loss by 0.0500 (95 % interval 0.0400 to 0.0600; p = 0.04 after Holm)",
    )


def rates(**changed: Any) -> RateRecord:
    """Five rates: the guess is not distinguishable from the best, the recipe's own is worse, the largest diverged."""
    run = samples.healthy()
    sweeps = tuple(sweep(seed) for seed in SEEDS)
    median = tuple(sorted(values)[1] for values in zip(*(one.smoothed for one in sweeps), strict=True))
    checks = (
        replace(check(0.001, "recipe", 0.30, 0.31, 0.32, own=True), difference=difference(0.05, "real loss")),
        replace(check(0.006, "steepest", 0.26, 0.27, 0.29), difference=difference(0.012, "undecided")),
        check(0.018, "steepest x 3", 0.25, 0.26, 0.27),
        replace(check(0.054, "next", 0.40, 0.41, 0.45), difference=difference(0.16, "real loss")),
        check(0.16, "next", 0.5, None, None),
    )
    record = RateRecord(
        recipe=run.recipe,
        data=run.data,
        model=run.model,
        environment=run.environment,
        command="rungs lr-find lab-003",
        longer_command="rungs lr-find lab-003 --steps 480",
        train_command="rungs train lab-003",
        seeds=SEEDS,
        rates=RATES,
        smoothing=0.765,
        sweeps=sweeps,
        median=median,
        steepest=0.00612,
        lowest=0.0257,
        diverged_at=RATES[102],
        epochs=7,
        steps=133,
        checks=checks,
        suggestion=0.018,
        started="2026-01-02T10:00:00+00:00",
        wall_s=41.0,
    )
    return replace(record, **changed)


def asleep() -> RateRecord:
    """A net that learns nothing in the time it is given: no guess, no suggestion."""
    flat = tuple(2.302 + 0.002 * math.sin(i) for i in range(STEPS))
    sweeps = tuple(SweepRecord(seed=s, losses=flat, smoothed=flat, diverged_at=None) for s in SEEDS)
    checks = (
        check(0.0033, "recipe / 3", 2.301, 2.302, 2.303),
        check(0.01, "recipe", 2.301, 2.302, 2.303, own=True),
        check(0.03, "recipe x 3", 2.3, 2.301, 2.302),
    )
    empty: dict[str, Any] = {"steepest": None, "lowest": None, "diverged_at": None, "suggestion": None}
    return rates(sweeps=sweeps, median=flat, checks=checks, **empty)
