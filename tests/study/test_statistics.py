from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rungs.study.statistics import estimate, holm, of_folds, paired

VALUES = st.lists(st.floats(0, 1).map(lambda x: round(x, 4)), min_size=2, max_size=12)
PS = st.lists(st.none() | st.floats(0, 1), max_size=7)


# Estimates


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_an_estimate_is_that_of_scipy(values: list[float]) -> None:
    found = estimate(values)
    assert (found.n, found.mean) == (len(values), pytest.approx(np.mean(values)))
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if found.sd:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (found.low, found.high) == pytest.approx(expected)


def test_one_value_has_no_spread_and_only_the_interval_it_is_given() -> None:
    found = estimate([0.7], (0.69, 0.71))
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 0.7, None, 0.69, 0.71)
    bare = estimate([0.7])
    assert (bare.sd, bare.low, bare.high) == (None, None, None)
    assert estimate([0.7, 0.8], (0.0, 1.0)) == estimate([0.7, 0.8])  # from two values on it does not matter


@pytest.mark.parametrize("n", range(2, 12))
@pytest.mark.parametrize("value", [0.1, 0.7, 0.9413, 1 / 3])
def test_equal_values_have_no_spread_to_the_last_bit(n: int, value: float) -> None:
    found = estimate([value] * n)
    assert (found.mean, found.sd, found.low, found.high) == (value, 0.0, value, value)


def test_no_values_are_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_what_they_promise(n: int) -> None:
    draws = 6000
    rows = np.random.default_rng(n).normal(0.7, 0.01, (draws, n)).tolist()
    inside = 0
    for row in rows:
        found = estimate(row)
        assert found.low is not None and found.high is not None
        inside += found.low <= 0.7 <= found.high
    assert inside / draws == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / draws))


# Pairs


def test_pairs_are_of_equal_seeds_in_order() -> None:
    assert paired({2: 0.5, 0: 0.75, 7: 0.1}, {0: 0.5, 1: 0.9, 2: 0.75}) == (0.25, -0.25)
    assert paired({0: 1.0}, {1: 1.0}) == ()
    assert paired({}, {}) == ()


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


# --- folds --------------------------------------------------------------------------------------------


RATIO = 1 / 4
"""n_test / n_train of five folds without validation images."""


def test_the_interval_of_folds_by_hand() -> None:
    """Nadeau and Bengio 2003: five folds, mean 90 %, s^2 = 0.00025, (1/5 + 1/4) s^2, t(97.5 %, 4) = 2.776."""
    accuracies = [0.88, 0.89, 0.90, 0.91, 0.92]
    half = 2.7764451 * (0.45 * 0.00025) ** 0.5
    assert of_folds(accuracies, 0.9, (0.899, 0.901), RATIO) == pytest.approx((0.9 - half, 0.9 + half))
    assert of_folds(accuracies, 0.9, (0.5, 0.95), RATIO) == pytest.approx(
        (0.5, 0.95)
    )  # the wider of the two at each end
    assert of_folds([1.0, 1.0, 1.0], 1.0, (0.9, 1.0), RATIO) == (0.9, 1.0)


def test_the_interval_of_folds_holds_the_truth_as_often_as_it_says() -> None:
    """Scores of k folds correlate by n_test / (n_test + n_train) = 1/k; without the correction too few do."""
    dice, folds, n = np.random.default_rng(0), 5, 4000
    shared, own = dice.normal(size=(n, 1)), dice.normal(size=(n, folds))
    scores = 0.5 + 0.01 * ((1 / folds) ** 0.5 * shared + (1 - 1 / folds) ** 0.5 * own)
    corrected = [of_folds(row.tolist(), row.mean(), (row.mean(), row.mean()), RATIO) for row in scores]
    naive = [estimate(row.tolist()) for row in scores]
    assert np.mean([low <= 0.5 <= high for low, high in corrected]) == pytest.approx(0.95, abs=0.01)
    assert np.mean([e.low <= 0.5 <= e.high for e in naive]) < 0.88  # type: ignore[operator]
    assert [(e.low, e.high) for e in (estimate(row.tolist(), ratio=RATIO) for row in scores[:9])] == [
        pytest.approx(ends) for ends in corrected[:9]
    ]
