"""The checks of what a user gave: noun first, what is allowed, what was got."""

from __future__ import annotations

import math

import pytest

from rungs.errors import UserError, require_between, require_one_of, require_positive, require_share


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0, 1, 100, "--n must be from 1 to 100, got 0"),
        (101, 1, 100, "--n must be from 1 to 100, got 101"),
        (0.25, 1, 3600, "--n must be from 1 to 3600, got 0.25"),
        (math.nan, 1, 3600, "--n must be from 1 to 3600, got nan"),
        (0, 1, math.inf, "--n must be at least 1, got 0"),
    ],
)
def test_a_number_out_of_range(value: float, low: float, high: float, said: str) -> None:
    with pytest.raises(UserError) as refused:
        require_between(value, low, high, "--n")
    assert refused.value.what == said and refused.value.do == "give --n a number in this range"


def test_what_is_allowed_passes() -> None:
    for value in (1, 100, 1.5, None):
        require_between(value, 1, 100, "--n")
    for share in (1e-9, 1, 1.0, None):
        require_share(share, "--images")
    require_one_of("grid", ("tpe", "grid"), "--sampler")


@pytest.mark.parametrize("value", [0, -0.5, 1.5, math.nan])
def test_no_share(value: float) -> None:
    with pytest.raises(UserError) as refused:
        require_share(value, "--images")
    assert refused.value.what == f"--images must be above 0 and at most 1, got {value:g}" and refused.value.do


def test_a_word_that_is_not_allowed() -> None:
    with pytest.raises(UserError) as refused:
        require_one_of("gird", ("tpe", "grid"), "--sampler")
    assert str(refused.value) == "--sampler: 'gird' is not allowed\n  -> did you mean 'grid'? allowed: grid, tpe"


@pytest.mark.parametrize("value", [0, -0.5, math.nan, math.inf])
def test_no_positive_number(value: float) -> None:
    require_positive(1e-9, "--low", usual="1e-06 to 10")
    with pytest.raises(UserError) as refused:
        require_positive(value, "--low", usual="1e-06 to 10")
    assert refused.value.what == f"--low must be a finite number above 0, got {value:g}"
    assert refused.value.do == "1e-06 to 10 is usual"
