"""Claims and measurements."""

from __future__ import annotations

import math
from statistics import fmean, variance

import numpy as np
import pytest
from scipy import stats

from rungs.recipe.spec import Claim
from rungs.run.record import to_json
from rungs.study.ladder.claims import Measured, answer, claimed_changes, interval, measured, measured_change
from rungs.study.variation import Pool

VALUES = (0.640, 0.645, 0.650)
CALM, RESTLESS = Pool(0.0001, 14), Pool(0.0025, 14)
"""Seed sd of half a point, and of 2.4 points, at 64.5 %."""


def claim(value: float, tolerance: float = 0.0, metric: str = "test_accuracy", runs: int = 1) -> Claim:
    return Claim(metric=metric, value=value, source="a paper", tolerance=tolerance, runs=runs)  # type: ignore[arg-type]


def accuracy(*values: float, pool: Pool | None = CALM) -> Measured:
    return measured("test_accuracy", values, pool)


def test_the_interval_is_that_of_another_run_with_the_pooled_sd() -> None:
    found = answer(claim(0.65), accuracy(*VALUES))
    spread = (4 * 0.0001 * 0.645 * 0.355 + 2 * variance(VALUES)) / 6
    half = stats.t.ppf(0.975, 6) * math.sqrt(spread * (1 / 3 + 1))
    assert (found.low, found.high) == pytest.approx((0.645 - half, 0.645 + half))
    assert (found.measured, found.claimed, found.n, found.margin) == (pytest.approx(0.645), 0.65, 3, 0.02)
    assert (found.verdict, found.source) == ("within", "a paper")
    assert found.why == "the whole interval is within 1.87 points of the claim"


def test_ignorance_is_not_agreement() -> None:
    found = answer(claim(0.65), accuracy(*VALUES, pool=RESTLESS))
    assert found.verdict == "cannot tell"
    assert found.why == "the interval contains the claim, and values up to 6.08 points from it"
    assert answer(claim(0.65), accuracy(0.64, pool=None)).verdict == "cannot tell"


def test_a_claim_beside_what_was_measured() -> None:
    better, worse = answer(claim(0.6), accuracy(*VALUES)), answer(claim(0.7), accuracy(*VALUES))
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.why == "the claim is below the interval"
    assert worse.why == "the claim is above the interval"


def test_the_mean_of_many_runs_is_a_sharper_claim() -> None:
    one, many = (answer(claim(0.656, runs=runs), accuracy(*VALUES), 0.015) for runs in (1, 200))
    assert one.low is not None and many.low is not None and one.low < many.low
    assert (one.verdict, many.verdict) == ("cannot tell", "worse")


def test_a_rounding_wider_than_the_margin_is_the_margin() -> None:
    found = answer(claim(0.68, 0.05), accuracy(*VALUES))
    assert (found.margin, found.tolerance, found.verdict) == (0.05, 0.05, "within")
    assert answer(claim(0.664, 0.01), accuracy(*VALUES)).verdict == "cannot tell"  # its rounding reaches into ours


def test_a_larger_loss_is_worse() -> None:
    known = Measured((1.000, 1.010, 1.020), 1.0, Pool(0.0001, 8))
    larger, smaller, equal = (answer(claim(v, metric="validation_loss"), known) for v in (0.9, 1.2, 1.01))
    assert (larger.verdict, smaller.verdict, equal.verdict) == ("worse", "better", "within")
    assert equal.margin == 0.05


def test_an_accuracy_ends_at_zero_and_one() -> None:
    assert answer(claim(0.99), accuracy(0.98, 0.999)).high == 1.0
    assert answer(claim(0.01), accuracy(0.0, 0.02)).low == 0.0


def test_the_images_of_one_run_count_where_the_claim_is_about_others() -> None:
    same, other = (measured("validation_accuracy", [0.6], None, 100, shared=shared) for shared in (True, False))
    one, two = (interval(claim(0.6, metric="validation_accuracy"), found) for found in (same, other))
    assert one is not None and two is not None and two[1] - two[0] > one[1] - one[0]


def test_one_loss_without_a_pool_tells_nothing() -> None:
    found = answer(claim(0.9, metric="validation_loss"), measured("validation_loss", [1.0]))
    assert (found.verdict, found.low, found.high, found.measured) == ("cannot tell", None, None, 1.0)
    assert found.why == "1 seed, and nothing measured the sd over seeds"


def test_not_measured_and_not_comparable() -> None:
    found = answer(claim(0.9), accuracy())
    assert (found.verdict, found.why, found.measured) == ("not comparable", "not measured", None)
    other = answer(claim(0.65), accuracy(*VALUES), None, "half the epochs")
    assert (other.verdict, other.why) == ("not comparable", "half the epochs")
    assert answer(claim(0.65), accuracy(), None, "half the epochs").why == "half the epochs"


def test_parameters_are_counted_not_estimated() -> None:
    exact, other = (answer(claim(62006, metric="parameters"), Measured([n])) for n in (62006.0, 62007.0))
    assert (exact.verdict, exact.low, exact.margin, exact.why) == ("equal", None, 0.0, "ours has 62,006")
    assert (other.verdict, other.measured) == ("different", 62007.0)
    assert answer(claim(62000, 100, "parameters"), Measured([62006.0])).verdict == "equal"


def test_a_change_is_judged_as_a_change() -> None:
    """54.1 %, then 53.3 %: that is -0.8 points, whatever the level."""
    (change,) = claimed_changes(
        [claim(0.533, 0.0005, "validation_accuracy"), claim(1.3, metric="validation_loss")],
        [claim(0.541, 0.0005, "validation_accuracy"), claim(1.4, metric="validation_loss")],
    )
    assert (change.value, change.tolerance, change.change) == (pytest.approx(-0.008), 0.001, True)
    assert change.source == "a paper; 54.10 % before"
    ours, base = {0: 0.70, 1: 0.71, 2: 0.72}, {0: 0.708, 1: 0.718, 2: 0.728, 3: 0.9}
    found = answer(change, measured_change("validation_accuracy", ours, base, Pool(0.000004, 14)), 0.01)
    assert (found.kind, found.verdict, found.margin) == ("change", "within", 0.01)
    assert found.measured == pytest.approx(-0.008)
    gain = measured_change("validation_accuracy", {s: v + 0.06 for s, v in ours.items()}, base, CALM)
    assert answer(change, gain, 0.01).verdict == "better"
    assert answer(change, measured_change("validation_accuracy", ours, {7: 0.5}, CALM)).why == "not measured"


def simulated(n: int, off: float, sd: float, draws: int = 400) -> dict[str, float]:
    """Return the share of each verdict on a claim that is off by so much; sd of a run, eight rungs in the ladder."""
    rng, counts = np.random.default_rng(n), dict[str, int]()
    for _ in range(draws):
        values = rng.normal(0.7, sd, n).tolist()
        df = 8 * (n - 1)
        shared = Pool(sd**2 * float(rng.chisquare(df)) / df / 0.21, df) if df else None
        verdict = answer(claim(float(rng.normal(0.7 + off, sd))), accuracy(*values, pool=shared)).verdict
        counts[verdict] = counts.get(verdict, 0) + 1
    return {verdict: number / draws for verdict, number in counts.items()}


@pytest.mark.parametrize(("n", "sd"), [(1, 0.01), (3, 0.01), (5, 0.005)])
def test_a_true_claim_is_seldom_called_different(n: int, sd: float) -> None:
    found = simulated(n, 0.0, sd)
    assert found.get("better", 0) + found.get("worse", 0) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("n", "sd"), [(1, 0.01), (3, 0.01), (5, 0.005)])
def test_a_claim_that_is_off_by_three_points_is_seldom_within_two(n: int, sd: float) -> None:
    assert simulated(n, 0.03, sd).get("within", 0) <= 0.05


def test_five_calm_seeds_can_confirm_a_claim() -> None:
    assert simulated(5, 0.0, 0.003)["within"] >= 0.9


def test_numbers_of_numpy_become_plain_ones() -> None:
    values = np.array([0.64, 0.65])
    assert fmean(values) == 0.645
    assert to_json(answer(claim(0.65), measured("test_accuracy", list(values), CALM)))
