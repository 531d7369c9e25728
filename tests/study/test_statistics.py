from __future__ import annotations

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rungs.run.record import Difference, to_json
from rungs.study import statistics
from rungs.study.statistics import estimate, holm, more_seeds, p_value, paired, prediction

VALUES = st.lists(st.floats(0, 1).map(lambda x: round(x, 4)), min_size=2, max_size=12)
PS = st.lists(st.none() | st.floats(0, 1), max_size=7)


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def compare(metric: str, changes: list[tuple[str, str, dict[int, float], dict[int, float]]]) -> dict[str, Difference]:
    """Compare all rungs by one metric."""
    return statistics.compare([(rung, against, metric, values, base) for rung, against, values, base in changes])


def one(metric: str, *differences: float) -> Difference:
    """The only rung of a ladder, against a base of zeros."""
    return compare(metric, [("rung", "base", by_seed(*differences), by_seed(*[0.0] * len(differences)))])["rung"]


# Estimates and predictions


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_an_estimate_is_that_of_scipy(values: list[float]) -> None:
    found = estimate(values)
    assert (found.n, found.mean) == (len(values), pytest.approx(np.mean(values)))
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if found.sd:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)


def test_a_prediction_is_the_textbooks() -> None:
    values = [0.61, 0.64, 0.62, 0.66]
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) * math.sqrt(1 + 1 / 4)
    assert prediction(values) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


def test_one_value_has_no_spread_and_only_the_interval_it_is_given() -> None:
    found = estimate([0.7], (0.69, 0.71))
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 0.7, None, 0.69, 0.71)
    bare = estimate([0.7])
    assert (bare.sd, bare.low, bare.high) == (None, None, None)
    assert prediction([0.7], (0.69, 0.71)) == (0.69, 0.71)
    assert prediction([0.7]) is None


def test_from_two_values_on_the_interval_of_one_does_not_matter() -> None:
    assert estimate([0.7, 0.8], (0.0, 1.0)) == estimate([0.7, 0.8])
    assert prediction([0.7, 0.8], (0.0, 1.0)) == prediction([0.7, 0.8])


@pytest.mark.parametrize("n", range(2, 12))
@pytest.mark.parametrize("value", [0.1, 0.7, 0.9413, 1 / 3])
def test_equal_values_have_no_spread_to_the_last_bit(n: int, value: float) -> None:
    found = estimate([value] * n)
    assert (found.mean, found.sd, found.low, found.high) == (value, 0.0, value, value)
    assert prediction([value] * n) == (value, value)


def test_no_values_are_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_what_they_promise(n: int) -> None:
    draws = 6000
    rows = np.random.default_rng(n).normal(0.7, 0.01, (draws, n + 1)).tolist()
    mean_inside = next_inside = 0
    for row in rows:
        found, ahead = estimate(row[:n]), prediction(row[:n])
        assert found.low is not None and found.high is not None and ahead is not None
        mean_inside += found.low <= 0.7 <= found.high
        next_inside += ahead[0] <= row[n] <= ahead[1]
    noise = 4 * math.sqrt(0.95 * 0.05 / draws)
    assert mean_inside / draws == pytest.approx(0.95, abs=noise)
    assert next_inside / draws == pytest.approx(0.95, abs=noise)


# Pairs and tests


def test_pairs_are_of_equal_seeds_in_order() -> None:
    assert paired({2: 0.5, 0: 0.75, 7: 0.1}, {0: 0.5, 1: 0.9, 2: 0.75}) == (0.25, -0.25)
    assert paired({0: 1.0}, {1: 1.0}) == ()
    assert paired({}, {}) == ()


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_p_is_that_of_scipy(n: int, seed: int) -> None:
    rung, base = np.random.default_rng(seed).normal(0.7, 0.01, (2, n))
    differences = paired(by_seed(*rung.tolist()), by_seed(*base.tolist()))
    assert p_value(differences) == pytest.approx(stats.ttest_rel(rung, base).pvalue)
    assert p_value(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_a_tiny_p_is_that_of_scipy() -> None:
    differences = [1.0, 1.001, 0.999, 1.0005, 0.9995]
    assert p_value(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-6)


def test_p_of_few_and_of_equal_differences() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert p_value([]) is None
        assert p_value([0.1]) is None
        assert p_value([0.0, 0.0, 0.0]) == 1.0
        assert p_value([0.1, 0.1, 0.1]) == 0.25
        assert p_value([-0.1, -0.1]) == 0.5
        assert p_value([0.1, math.nextafter(0.1, 1)]) == 0.5  # equal but for rounding
        assert p_value([0.0, 5e-324] * 50) is not None


# Holm


def test_holm_of_a_worked_example() -> None:
    """The four p values of Wikipedia's "Holm-Bonferroni method": H1 and H4 are rejected at 0.05, the others not."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def closed(ps: list[float]) -> list[float]:
    """Holm is the closure of Bonferroni's test: the worst min(1, size x smallest p) of all sets that hold a test."""
    everyone = range(len(ps))
    sets = [chosen for size in range(1, len(ps) + 1) for chosen in combinations(everyone, size)]
    return [max(min(1.0, len(s) * min(ps[j] for j in s)) for s in sets if i in s) for i in everyone]


@settings(max_examples=100, deadline=None)
@given(PS)
def test_holm_is_the_closure_of_bonferroni(ps: list[float | None]) -> None:
    corrected = holm(ps)
    assert [p is None for p in corrected] == [p is None for p in ps]
    assert [p for p in corrected if p is not None] == pytest.approx(closed([p for p in ps if p is not None]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_stays_a_probability(ps: list[float]) -> None:
    corrected = [p for p in holm(ps) if p is not None]
    assert all(p <= q <= 1 for p, q in zip(ps, corrected, strict=True))
    order = np.argsort(ps, kind="stable")
    assert np.all(np.diff(np.asarray(corrected)[order]) >= 0)


# Comparisons


def test_a_real_gain() -> None:
    found = one("validation_accuracy", 0.021, 0.023, 0.025)
    low, high = stats.t.interval(0.95, 2, 0.023, 0.002 / math.sqrt(3))
    assert (found.against, found.metric, found.n) == ("base", "validation_accuracy", 3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.023, low, high))
    assert found.p == found.p_holm == pytest.approx(stats.ttest_1samp([0.021, 0.023, 0.025], 0).pvalue)
    assert (found.verdict, found.more_seeds) == ("real gain", None)
    assert found.words == "gains 2.30 points (95 % interval 1.80 to 2.80; p = 0.00251 after Holm)"


def test_a_real_loss() -> None:
    found = one("test_accuracy", -0.021, -0.023, -0.025)
    assert found.verdict == "real loss"
    assert found.words == "loses 2.30 points (95 % interval 1.80 to 2.80; p = 0.00251 after Holm)"
    assert found.mean == pytest.approx(-0.023)


def test_less_loss_is_a_gain() -> None:
    lower, higher = one("validation_loss", -0.021, -0.023, -0.025), one("validation_loss", 0.021, 0.023, 0.025)
    assert (lower.verdict, higher.verdict) == ("real gain", "real loss")
    assert lower.mean == pytest.approx(-0.023)
    ends = "0.0230 (95 % interval 0.0180 to 0.0280; p = 0.00251 after Holm)"
    assert lower.words == f"lowers the loss by {ends}"
    assert higher.words == f"raises the loss by {ends}"


def test_a_tiny_p_is_not_printed_as_zero() -> None:
    assert one("test_accuracy", 0.0200, 0.0201, 0.0202, 0.0199).words == (
        "gains 2.00 points (95 % interval 1.98 to 2.03; p < 0.001 after Holm)"
    )


def test_no_difference() -> None:
    found = one("test_accuracy", 0.006, -0.004, 0.001)
    assert (found.verdict, found.more_seeds) == ("no difference", None)
    assert found.words == "no difference that 3 seeds can show: +0.10 points (-1.14 to +1.34)"
    assert one("test_loss", 0.006, -0.004, 0.001).words == (
        "no difference that 3 seeds can show: +0.0010 (-0.0114 to +0.0134)"
    )


def test_equal_runs_are_no_difference() -> None:
    found = one("test_accuracy", 0.0, 0.0, 0.0)
    assert (found.p, found.p_holm, found.verdict, found.more_seeds) == (1.0, 1.0, "no difference", None)
    assert found.words == "no difference that 3 seeds can show: +0.00 points (+0.00 to +0.00)"
    assert one("test_accuracy", -0.01, 0.01, 0.0).verdict == "no difference"  # mean zero, whatever the spread
    assert "-0.00" not in one("test_accuracy", -1e-6, 0.0, 0.0).words.split("(")[0]


def test_undecided() -> None:
    found = one("test_accuracy", 0.014, 0.002, 0.008)
    assert (found.verdict, found.more_seeds) == ("undecided", 2)
    assert found.words == "undecided: +0.80 points (-0.69 to +2.29); about 2 more seeds would decide it"
    near = one("test_accuracy", 0.0123, 0.004, 0.009)
    assert near.more_seeds == 1
    assert near.words.endswith("; about 1 more seed would decide it")


def test_one_pair_is_undecided() -> None:
    found = one("test_accuracy", 0.008)
    assert (found.n, found.low, found.high, found.p, found.p_holm) == (1, None, None, None, None)
    assert (found.verdict, found.more_seeds) == ("undecided", 2)
    needs = "a test needs 3 pairs: run 2 more seeds"
    assert found.words == f"undecided: +0.80 points in one pair; {needs}"
    assert one("test_loss", -0.008).words == f"undecided: -0.0080 in one pair; {needs}"


def test_pairs_that_agree_to_the_image_have_the_chance_of_equal_signs() -> None:
    """On 180 images three seeds gain the same image now and then: p is 1/4, not 0."""
    found = one("test_accuracy", 1 / 180, 1 / 180, 2 / 180 - 1 / 180)
    assert found.p == 0.25 and found.verdict != "real gain"
    assert p_value([0.01] * 8) == 2 * 0.5**8


def test_two_pairs_that_agree_prove_nothing() -> None:
    """On a small test set two seeds often gain the same image; p would be 0."""
    found = one("test_accuracy", 0.005, 0.005)
    assert (found.verdict, found.more_seeds, found.p_holm) == ("undecided", 1, None)
    interval = "(+0.50 to +0.50)"
    assert found.words == f"undecided: +0.50 points in 2 pairs {interval}; a test needs 3 pairs: run 1 more seed"


def test_without_a_common_seed_there_is_no_comparison() -> None:
    assert compare("test_accuracy", []) == {}
    changes = [
        ("a", "base", {0: 0.5, 1: 0.6}, {2: 0.5}),
        ("b", "a", {}, {0: 0.5}),
        ("c", "b", {0: 0.5, 3: 0.1}, {0: 0.4}),
    ]
    found = compare("test_accuracy", changes)
    assert list(found) == ["c"]
    assert (found["c"].n, found["c"].against, found["c"].mean) == (1, "b", pytest.approx(0.1))


def test_what_would_be_real_alone_is_not_among_ten() -> None:
    alone = [0.010, 0.014, 0.006, 0.010]
    assert one("test_accuracy", *alone).verdict == "real gain"
    rest = [0.01, -0.01, 0.012, -0.012]
    zeros = by_seed(0.0, 0.0, 0.0, 0.0)
    changes = [("change", "base", by_seed(*alone), zeros)]
    changes += [(f"idle{i}", "base", by_seed(*rest), zeros) for i in range(9)]
    found = compare("test_accuracy", changes)
    change = found["change"]
    assert change.p is not None and change.p_holm == pytest.approx(10 * change.p)
    assert (change.verdict, change.more_seeds) == ("undecided", 1)
    assert change.words == (
        "undecided: +1.00 points (+0.48 to +1.52, but p = 0.0875 after Holm); about 1 more seed would decide it"
    )
    assert all(found[f"idle{i}"].verdict == "no difference" for i in range(9))


def test_one_pair_does_not_count_for_holm() -> None:
    zeros = by_seed(0.0, 0.0, 0.0)
    sure = by_seed(0.021, 0.023, 0.025)
    found = compare("test_accuracy", [("sure", "base", sure, zeros), ("single", "base", {0: 0.1}, zeros)])
    assert found["sure"].p == found["sure"].p_holm
    assert found["single"].verdict == "undecided"


# How many more seeds


def by_formula(differences: list[float], level: float) -> int | None:
    n, centre, sd = len(differences), abs(np.mean(differences)), np.std(differences, ddof=1)
    for more in range(1, statistics.MOST_MORE_SEEDS + 1):
        if centre > stats.t.ppf(1 - level / 2, n + more - 1) * sd / math.sqrt(n + more):
            return more
    return None


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 2.5), st.integers(2, 8), st.integers(1, 10), st.integers(0, 999))
def test_more_seeds_is_the_smallest_number_by_the_formula(effect: float, n: int, tests: int, seed: int) -> None:
    mine = (np.random.default_rng(seed).normal(effect, 1, n)).tolist()
    idle = [[-1.0, 1.0]] * (tests - 1)  # p = 1: the first rank stays ours
    assert more_seeds([mine, *idle]) == (by_formula(mine, 0.05 / tests), *[None] * (tests - 1))


def test_a_later_rank_waits_for_the_ones_before_it() -> None:
    """0.05 alone would let the second pass at once; Holm first wants the first, at 0.025."""
    first, second = [0.0, 0.008, 0.016, 0.006, 0.008], [0.0, 0.008, 0.0166, 0.005, 0.008]
    p_first, p_second = p_value(first), p_value(second)
    assert p_first is not None and p_second is not None and 0.025 < p_first < p_second < 0.05
    more = more_seeds([second, first])
    assert more[1] == by_formula(first, 0.025)
    assert more[0] == max(by_formula(first, 0.025) or 0, by_formula(second, 0.05) or 0)


def test_more_seeds_of_few_and_of_equal_differences() -> None:
    assert more_seeds([]) == ()
    assert more_seeds([[0.1], [0.0, 0.0], [-0.1, 0.1]]) == (None, None, None)


@pytest.mark.parametrize(("tests", "effect"), [(1, 0.6), (8, 0.9)])
def test_with_so_many_more_seeds_the_power_is_about_one_half(tests: int, effect: float) -> None:
    """If mean and sd are the true ones; a little more than half, as a whole number of seeds is rounded up."""
    shape = np.array([-1.0, -0.5, 0.5, 1.0])
    seen = effect + shape / shape.std(ddof=1)  # mean effect, sd 1
    (more, *_) = more_seeds([seen.tolist(), *[[-1.0, 1.0]] * (tests - 1)])
    assert more is not None and more > 5
    fresh = np.random.default_rng(0).normal(effect, 1, (20000, 4 + more))
    power = np.mean(stats.ttest_1samp(fresh, 0, axis=1).pvalue < 0.05 / tests)
    assert 0.45 < power < 0.6


@pytest.mark.parametrize("shared_base", [False, True])
def test_ten_changes_that_do_nothing_seldom_look_real(shared_base: bool) -> None:
    """A false finding anywhere in a ladder: at most 5 %, also where a shared base ties the comparisons."""
    ladders, rungs, seeds = 600, 10, 4
    draws = np.random.default_rng(1).normal(0.7, 0.01, (ladders, 2 * rungs, seeds)).tolist()
    false = unjust = 0
    for runs in draws:
        bases = [by_seed(*runs[rungs if shared_base else rungs + i]) for i in range(rungs)]
        changes = [(str(i), "base", by_seed(*runs[i]), bases[i]) for i in range(rungs)]
        found = compare("test_accuracy", changes).values()
        false += any(d.verdict in ("real gain", "real loss") for d in found)
        unjust += any(d.p is not None and d.p < 0.05 for d in found)
    noise = 4 * math.sqrt(0.05 * 0.95 / ladders)
    assert false / ladders <= 0.05 + noise
    assert unjust / ladders > 0.15  # what a ladder without the correction would claim


def test_numbers_of_numpy_become_plain_ones() -> None:
    values = list(np.array([0.64, 0.65]))
    for record in (estimate(values), compare("m_loss", [("a", "b", *[by_seed(*values)] * 2)])["a"]):
        assert to_json(record)
