from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rungs.report import format as fmt


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (fmt.percent(0.8294), "82.94 %"),
        (fmt.percent(None), "–"),  # noqa: RUF001
        (fmt.points(-0.0112), "-1.12 points"),
        (fmt.count(1234567), "1,234,567"),
        (fmt.seconds(0.25), "0.2 s"),
        (fmt.seconds(1083.2), "18 min 3 s"),
        (fmt.seconds(59.7), "1 min 0 s"),
        (fmt.seconds(7320), "2 h 2 min"),
        (fmt.flops(268_435_456), "268 MFLOP"),
        (fmt.flops(18_000_000), "18.0 MFLOP"),
        (fmt.flops(1_110_000_000), "1.11 GFLOP"),
        (fmt.flops(999_600_000), "1.00 GFLOP"),
        (fmt.flops(650), "650 FLOP"),
        (fmt.confidence(0.9961), "> 99 %"),
        (fmt.confidence(0.974), "97 %"),
        (fmt.many(1, "core"), "1 core"),
        (fmt.many(2, "core"), "2 cores"),
        (fmt.flops(9_990_000), "9.99 MFLOP"),
        (fmt.flops(1_280), "1.28 kFLOP"),
        (fmt.size(999), "999 B"),
        (fmt.size(1_234_567_890), "1.2 GB"),
        (fmt.shape((64, 32, 32)), "64 × 32 × 32"),  # noqa: RUF001
        (fmt.short("Brachvogel", 6), "Brach…"),
        (fmt.named("New York"), "New York"),
        (fmt.named("cat "), "'cat '"),
        (fmt.named(" cat"), "' cat'"),
    ],
)
def test_written_like_this(written: str, expected: str) -> None:
    assert written == expected


@given(st.integers(0, 10**15))
def test_a_count_keeps_its_digits(number: int) -> None:
    assert int(fmt.count(number).replace(",", "")) == number


@given(st.floats(0, 1e7))
def test_sixty_is_never_written(value: float) -> None:
    assert not {"60"} & set(fmt.seconds(value).split()[2::2])
    assert fmt.seconds(value) not in ("60 s", "60 min 0 s")
