"""Claims and measurements."""

from __future__ import annotations

import numpy as np
import pytest

from rungs.recipe.spec import Claim
from rungs.run.record import to_json
from rungs.study.ladder.claims import answer
from rungs.study.statistics import prediction


def claim(value: float, tolerance: float = 0.0, metric: str = "test_accuracy") -> Claim:
    return Claim(metric=metric, value=value, source="a paper", tolerance=tolerance)


def test_a_claim_where_one_more_run_would_lie_is_reproduced() -> None:
    values = [0.640, 0.645, 0.650]
    found = answer(claim(0.65), values, None)
    assert (found.low, found.high) == pytest.approx(prediction(values))
    assert (found.measured, found.claimed, found.source) == (pytest.approx(0.645), 0.65, "a paper")
    assert (found.verdict, found.why) == (
        "reproduced",
        "inside 62.02 to 66.98 %, the prediction interval for one more run",
    )


def test_a_tolerance_reaches_to_both_sides() -> None:
    values = [0.640, 0.645, 0.650]
    for value in (0.70, 0.59):
        found = answer(claim(value, 0.04), values, None)
        assert found.tolerance == 0.04
        assert found.verdict == "reproduced"
        assert found.why == "within its tolerance of 62.02 to 66.98 %, the prediction interval for one more run"
        assert answer(claim(value, 0.02), values, None).verdict != "reproduced"


def test_a_claim_beside_what_was_measured() -> None:
    values = [0.640, 0.645, 0.650]
    better, worse = answer(claim(0.6), values, None), answer(claim(0.7), values, None)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.why == "the claim is below 62.02 to 66.98 %, the prediction interval for one more run"
    assert worse.why == "the claim is above 62.02 to 66.98 %, the prediction interval for one more run"


def test_a_larger_loss_is_worse() -> None:
    values = [1.000, 1.010, 1.020]
    larger, smaller, equal = (answer(claim(v, metric="validation_loss"), values, None) for v in (0.9, 1.2, 1.0))
    assert (larger.verdict, smaller.verdict, equal.verdict) == ("worse", "better", "reproduced")
    assert larger.why == "the claim is below 0.9603 to 1.0597, the prediction interval for one more run"
    assert larger.high is not None and larger.high > 1  # a loss has no upper end to cut at


def test_an_accuracy_ends_at_zero_and_one() -> None:
    found = answer(claim(0.99), [0.98, 0.999], None)
    assert (found.high, found.verdict) == (1.0, "reproduced")
    assert answer(claim(0.01), [0.0, 0.02], None).low == 0.0


def test_one_seed_is_held_against_its_images() -> None:
    found = answer(claim(0.65), [0.64], (0.63, 0.66))
    assert (found.low, found.high, found.measured) == (0.63, 0.66, 0.64)
    assert found.verdict == "reproduced"
    assert found.why == "inside 63.00 to 66.00 %, the interval of our single seed over images"
    assert answer(claim(0.7), [0.64], (0.63, 0.66)).verdict == "worse"


def test_one_seed_without_an_interval_says_nothing() -> None:
    found = answer(claim(0.9, metric="validation_loss"), [1.0], None)
    assert (found.verdict, found.why) == ("not comparable", "one seed gives no interval")
    assert (found.measured, found.low, found.high) == (1.0, None, None)


def test_not_measured() -> None:
    found = answer(claim(0.9), [], None)
    assert (found.verdict, found.why) == ("not comparable", "not measured")
    assert (found.measured, found.low, found.high) == (None, None, None)


def test_what_is_not_comparable_is_still_shown() -> None:
    found = answer(claim(0.65), [0.640, 0.645, 0.650], None, "half the epochs")
    assert (found.verdict, found.why) == ("not comparable", "half the epochs")
    assert found.measured == pytest.approx(0.645)
    assert (found.low, found.high) == pytest.approx(prediction([0.640, 0.645, 0.650]))
    assert answer(claim(0.65), [], None, "half the epochs").why == "half the epochs"


def test_parameters_are_counted_not_estimated() -> None:
    exact = answer(claim(62006, metric="parameters"), [62006.0] * 3, None)
    other = answer(claim(62006, metric="parameters"), [62007.0] * 3, None)
    assert (exact.verdict, exact.low, exact.high, exact.why) == ("reproduced", None, None, "ours has 62,006")
    assert (other.verdict, other.measured, other.why) == ("worse", 62007.0, "ours has 62,007")
    assert answer(claim(62000, 100, "parameters"), [62006.0], None).verdict == "reproduced"


def test_a_boundary_is_not_lost_to_rounding() -> None:
    assert 0.3 - 0.1 < 0.2
    assert answer(claim(0.3, 0.1), [0.2, 0.2], None).verdict == "reproduced"
    assert answer(claim(0.1, 0.2), [0.3, 0.3], None).verdict == "reproduced"


def test_numbers_of_numpy_become_plain_ones() -> None:
    assert to_json(answer(claim(0.65), list(np.array([0.64, 0.65])), None))
