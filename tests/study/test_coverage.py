"""The intervals and tests keep their word: what is called 95 % holds the truth in 95 % of simulated studies.

Each simulation is seeded, so that it passes or fails for good. A share p, estimated from D independent draws, scatters
with sd sqrt(p (1 - p) / D); a test allows for 4 of these (normal tails beyond 4 sd: 6e-5). Where a deliberately wrong
interval is simulated beside the right one, it must fail by more than that, so that the tolerance is not too wide to see
a mistake. Runs are drawn as the intervals take them: from a normal distribution, equal but for the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from rungs.recipe.spec import Claim
from rungs.run import reliability
from rungs.run.reliability import wilson
from rungs.study import differences, statistics
from rungs.study.differences import Change, compare
from rungs.study.ladder import claims
from rungs.study.ladder.claims import Measured, interval
from rungs.study.statistics import LEVEL, estimate

SIGMAS = 4
CONFIDENT = 1 - LEVEL
STUDIES = 4000
"""Draws of each simulation of seeds: 4 sqrt(0.95 * 0.05 / 4000) = 0.0138."""


def tolerance(share: float, draws: int) -> float:
    """4 sd of a share that is estimated from so many independent draws."""
    return SIGMAS * math.sqrt(share * (1 - share) / draws)


def runs(studies: int, n: int, seed: int) -> np.ndarray:
    """Accuracies (studies, n) of runs that differ by the seed alone: mean 0.7, sd 0.02."""
    return np.random.default_rng(seed).normal(0.7, 0.02, (studies, n))


# Wilson: exact, no draws are needed


PS = np.linspace(0.5, 0.995, 100)
"""True accuracies, a grid; the interval is symmetric about 1/2."""


def wilson_coverage(n: int) -> np.ndarray:
    """The chance (100,) that the interval over n images holds each true accuracy: binomial weights, summed."""
    ends = np.array([wilson(right, n) for right in range(n + 1)])  # (n + 1, 2)
    holds = (ends[:, :1] <= PS) & (ends[:, 1:] >= PS)  # (n + 1, 100)
    return (stats.binom.pmf(np.arange(n + 1)[:, None], n, PS) * holds).sum(0)


@pytest.mark.parametrize("n", [50, 200, 1000])
def test_wilson_covers_on_average_and_nowhere_badly(n: int) -> None:
    """A binomial's interval cannot cover 95 % for every p; on average it does (Brown, Cai & DasGupta 2001,
    doi:10.1214/ss/1009213286), and it dips to about 0.92 where p is near 1 and few images are wrong."""
    covered = wilson_coverage(n)
    assert 0.94 <= covered.mean() <= 0.965
    assert covered.min() >= 0.90


def test_wilson_over_drawn_sets_of_images() -> None:
    """10,000 images, as CIFAR-10 has: 20,000 draws over accuracies from 0.5 to 0.995."""
    n, draws = 10_000, 20_000
    rng = np.random.default_rng(7)
    truth = rng.uniform(0.5, 0.995, draws)
    right = rng.binomial(n, truth)
    ends = {count: wilson(int(count), n) for count in np.unique(right)}
    covered = np.mean([ends[count][0] <= p <= ends[count][1] for count, p in zip(right, truth, strict=True)])
    assert abs(covered - CONFIDENT) <= tolerance(CONFIDENT, draws)  # 0.0062


def test_a_90_percent_interval_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "Z95", stats.norm.ppf(0.95))
    for n in (50, 200, 1000):
        assert wilson_coverage(n).mean() < 0.94 - 0.02


# Means over seeds, and one more run


def covers(
    n: int, interval: Callable[[list[float]], tuple[float, float]], truth: np.ndarray | float, seed: int
) -> float:
    """The share of studies of n runs whose interval holds the truth."""
    ends = np.array([interval(row) for row in runs(STUDIES, n, seed).tolist()])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


def mean_interval(values: list[float]) -> tuple[float, float]:
    found = estimate(values)
    assert found.low is not None and found.high is not None
    return found.low, found.high


def next_run(values: list[float]) -> tuple[float, float]:
    """Where a claim is expected that is one more run; a loss, whose sd is that of these runs alone."""
    found = interval(Claim(metric="validation_loss", value=0.7, source=""), Measured(values))
    assert found is not None
    return found


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_of_a_mean_covers_the_true_mean(n: int) -> None:
    assert abs(covers(n, mean_interval, 0.7, seed=n) - CONFIDENT) <= tolerance(CONFIDENT, STUDIES)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_interval_for_a_claim_covers_one_more_run(n: int) -> None:
    further = runs(STUDIES, 1, seed=100 + n)[:, 0]
    assert abs(covers(n, next_run, further, seed=n) - CONFIDENT) <= tolerance(CONFIDENT, STUDIES)


def test_an_interval_of_the_mean_is_none_for_one_more_run() -> None:
    """The mistake that the interval for a claim is there against: 5 runs, and the sixth is inside far less often."""
    further = runs(STUDIES, 1, seed=105)[:, 0]
    assert covers(5, mean_interval, further, seed=5) < CONFIDENT - 3 * tolerance(CONFIDENT, STUDIES)


@pytest.mark.parametrize(
    "quantile",
    [
        pytest.param(lambda n: 1.96, id="normal instead of Student's t"),
        pytest.param(lambda n: float(stats.t.ppf(0.95, n - 1)), id="one-sided"),
        pytest.param(lambda n: float(stats.t.ppf(0.975, n)), id="n degrees of freedom"),
    ],
)
@pytest.mark.parametrize(("n", "interval"), [(3, mean_interval), (3, next_run)])
def test_a_wrong_quantile_would_be_found_out(
    quantile: Callable[[int], float],
    n: int,
    interval: Callable[..., tuple[float, float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statistics, "_quantile", quantile)
    monkeypatch.setattr(claims, "stdtrit", lambda df, p: quantile(round(df) + 1))
    truth = 0.7 if interval is mean_interval else runs(STUDIES, 1, seed=103)[:, 0]
    assert covers(n, interval, truth, seed=3) < CONFIDENT - tolerance(CONFIDENT, STUDIES)


# False alarms of a ladder


LADDERS = 1000
"""Ladders under the null: 4 sqrt(0.05 * 0.95 / 1000) = 0.0276."""


def alarms(rungs: int, seeds: int, metric: str, on_base: bool, seed: int, ladders: int = LADDERS) -> float:
    """The share of ladders in which any rung is called a gain or a loss, though nothing changes anything.

    Each seed moves all of its runs alike, as a split does; against "base" the differences share the base's runs.
    """
    rng = np.random.default_rng(seed)
    values = rng.normal(0.7, 0.01, (ladders, rungs + 1, seeds)) + rng.normal(0, 0.02, (ladders, 1, seeds))
    wrong = 0
    for ladder in values.tolist():
        cells = [dict(enumerate(row)) for row in ladder]
        below = [cells[0]] * rungs if on_base else cells[:-1]
        changes = [
            Change(f"{i}", f"below {i}", metric, one, base)
            for i, (one, base) in enumerate(zip(cells[1:], below, strict=True))
        ]
        wrong += any(found.verdict.startswith("real") for found in compare(changes).values())
    return wrong / ladders


@pytest.mark.parametrize(
    ("rungs", "metric", "on_base", "seeds"),
    [
        (1, "test_loss", True, 3),
        (1, "test_loss", True, 5),
        (1, "test_accuracy", True, 3),
        (10, "test_accuracy", True, 3),
        (10, "test_accuracy", False, 5),
    ],
)
def test_a_ladder_of_nothing_raises_no_false_alarm(rungs: int, metric: str, on_base: bool, seeds: int) -> None:
    rate = alarms(rungs, seeds, metric, on_base, seed=10 * rungs + seeds)
    assert rate <= LEVEL + tolerance(LEVEL, LADDERS)
    if metric == "test_loss":  # a single one, by its own pairs alone: the level is met from both sides
        assert rate >= LEVEL - tolerance(LEVEL, LADDERS)


def test_ten_rungs_without_holm_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tests at 5 % each: an alarm in up to 1 - 0.95^10 = 40 % of the ladders."""
    monkeypatch.setattr(differences, "holm", lambda ps: tuple(ps))
    assert alarms(10, 5, "test_accuracy", True, seed=105, ladders=300) > LEVEL + 2 * tolerance(LEVEL, 300)
