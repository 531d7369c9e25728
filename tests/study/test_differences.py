"""Differences of a study: interval, p after Holm, verdict and words."""

from __future__ import annotations

import pytest
from scipy import stats

from rungs.run.record import Difference
from rungs.study import differences
from rungs.study.differences import Change, ImageVariance, compare
from rungs.study.variation import Pool


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


POOL = Pool(0.0001, 14)
"""Of a calm ladder: seed sd 0.01 sqrt(p (1 - p)), half a point at 50 %."""


def one(metric: str, *gains: float, pool: Pool | None = POOL, **options: float) -> Difference:
    """The only change of a ladder, against a base of 0.5."""
    base = by_seed(*[0.5] * len(gains))
    change = Change("rung", "base", metric, {seed: 0.5 + gain for seed, gain in enumerate(gains)}, base)
    return compare([change], {metric: pool} if pool else {}, **options)["rung"]


def test_a_real_gain_and_a_real_loss() -> None:
    gain, loss = one("validation_accuracy", 0.021, 0.023, 0.025), one("test_accuracy", -0.021, -0.023, -0.025)
    assert (gain.against, gain.metric, gain.n, gain.verdict) == ("base", "validation_accuracy", 3, "real gain")
    assert gain.mean == pytest.approx(0.023) and gain.sd is not None
    half = stats.t.ppf(0.975, 6) * gain.sd / 3**0.5
    assert (gain.low, gain.high) == pytest.approx((0.023 - half, 0.023 + half))
    assert gain.p == gain.p_holm == pytest.approx(2 * stats.t.sf(0.023 / (gain.sd / 3**0.5), 6))
    assert gain.words == "gains 2.30 points (95 % interval 1.47 to 3.13; p < 0.001 after Holm)"
    assert loss.verdict == "real loss"
    assert loss.words == "loses 2.30 points (95 % interval 1.47 to 3.13; p < 0.001 after Holm)"


def test_less_loss_is_a_gain() -> None:
    lower, higher = (one("validation_loss", *[sign * x for x in (0.021, 0.023, 0.025)], pool=None) for sign in (-1, 1))
    assert (lower.verdict, higher.verdict) == ("real gain", "real loss")
    assert lower.words == "lowers the loss by 0.0230 (95 % interval 0.0180 to 0.0280; p = 0.00251 after Holm)"
    assert higher.words.startswith("raises the loss by 0.0230")


def test_no_difference_is_one_whose_interval_lies_within_the_margin() -> None:
    equal = one("test_accuracy", 0.001, -0.001, 0.0, 0.001, -0.001, 0.0)
    assert equal.verdict == "no difference" and equal.margin == 0.01
    assert equal.words == "no difference beyond 1.00 points: +0.00 points (-0.44 to +0.44)"
    assert one("test_accuracy", 0.001, -0.001, 0.0, margin=0.001).verdict == "undecided"
    wide = one("test_accuracy", 0.0133, 0.07, -0.05)
    assert wide.verdict == "undecided" and wide.low is not None and wide.low < -0.01


def test_undecided_says_its_interval() -> None:
    found = one("test_accuracy", 0.014, 0.002, 0.008)
    assert (found.verdict, found.words) == ("undecided", "undecided: +0.80 points (-0.15 to +1.75)")


def test_one_pair_is_judged_with_the_sd_of_the_other_rungs_and_says_so() -> None:
    found = one("test_accuracy", 0.21)
    assert (found.n, found.verdict, found.sd_from) == (1, "real gain", "ladder")
    assert found.words.endswith("one pair, its sd over seeds taken from the other rungs)")
    alone = one("test_accuracy", 0.03, pool=None)
    assert (alone.verdict, alone.sd_from) == ("undecided", "elsewhere")
    assert alone.words.endswith("one pair, its sd over seeds taken from other recipes)")
    loss = one("test_loss", -0.3, pool=None)
    assert (loss.p, loss.low, loss.sd_from) == (None, None, "")
    assert loss.words == "undecided: -0.3000 in 1 pair, and nothing measured the sd over seeds"


def test_what_is_real_alone_may_not_be_among_ten() -> None:
    gains = (0.011, 0.015, 0.007, 0.011)
    assert one("test_accuracy", *gains).verdict == "real gain"
    base = by_seed(*[0.5] * 4)
    changes = [Change("change", "base", "test_accuracy", {k: 0.5 + g for k, g in enumerate(gains)}, base)]
    idle = (0.01, -0.01, 0.012, -0.012)
    changes += [
        Change(f"idle{i}", "base", "test_accuracy", {k: 0.5 + g for k, g in enumerate(idle)}, base) for i in range(9)
    ]
    found = compare(changes, {"test_accuracy": POOL}, level=0.01)["change"]
    assert found.p is not None and found.p_holm == pytest.approx(10 * found.p)
    assert found.verdict == "undecided" and "after Holm" in found.words


def test_without_a_common_seed_there_is_no_comparison() -> None:
    metric = "test_accuracy"
    changes = [
        Change("a", "base", metric, {0: 0.5, 1: 0.6}, {2: 0.5}),
        Change("b", "a", metric, {}, {0: 0.5}),
        Change("c", "b", metric, {0: 0.5, 3: 0.1}, {0: 0.4}),
    ]
    found = compare(changes)
    assert list(found) == ["c"]
    assert (found["c"].n, found["c"].against, found["c"].mean) == (1, "b", pytest.approx(0.1))
    assert compare([]) == {}


def test_runs_that_diverged_are_named() -> None:
    change = Change(
        "a", "base", "test_accuracy", by_seed(0.6, 0.6, 0.1), by_seed(0.5, 0.5, 0.5), diverged=("1 of 3 runs of a",)
    )
    found = compare([change], {"test_accuracy": POOL})["a"]
    assert found.verdict == "undecided"
    assert found.words.endswith("; 1 of 3 runs of a diverged and count as guessing")


def test_the_choice_of_images_widens_the_interval() -> None:
    values, base = by_seed(0.56, 0.561, 0.559), by_seed(0.5, 0.5, 0.5)
    known = compare([Change("a", "b", "test_accuracy", values, base)])["a"]
    sampling = ImageVariance(count=100, se=0.05, exact_p=0.2)
    few = compare([Change("a", "b", "test_accuracy", values, base, sampling)])["a"]
    assert (known.verdict, few.verdict) == ("real gain", "undecided")
    assert few.p is not None and few.p >= 0.2


def test_the_pool_is_that_of_the_compared_rungs_by_default() -> None:
    changes = [
        Change(name, "base", "test_loss", values, by_seed(0.5, 0.52, 0.51))
        for name, values in (("a", by_seed(0.5, 0.53, 0.5)), ("b", by_seed(0.51, 0.52, 0.52)))
    ]
    found = differences.pools_of(changes)
    assert found["test_loss"].df == 4
    assert compare(changes) == compare(changes, found)
