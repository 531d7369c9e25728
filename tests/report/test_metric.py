"""A metric in words and numbers."""

from __future__ import annotations

import pytest

from rungs.report import metric
from rungs.run.record import Estimate


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("validation_accuracy", "validation accuracy"),
        ("test_tta_accuracy", "test accuracy with TTA"),
        ("validation_tta_loss", "validation loss with TTA"),
        ("highest_test_accuracy", "test accuracy, maximum over epochs"),
        ("train_s", "training time"),
        ("parameters", "parameters"),
    ],
)
def test_what_a_metric_is_called(name: str, words: str) -> None:
    assert metric.metric_words(name) == words


@pytest.mark.parametrize(
    ("name", "number", "written"),
    [
        ("test_accuracy", 0.8294, "82.94 %"),
        ("test_loss", 0.51234, "0.5123"),
        ("parameters", 62006.0, "62,006"),
        ("epochs", 12.5, "12.5"),
        ("train_s", 1083.2, "18 min 3 s"),
        ("peak_memory_bytes", 1.2e9, "1.2 GB"),
        ("train_flops", 268435456.0, "268 MFLOP"),
        ("test_accuracy", None, "–"),  # noqa: RUF001
    ],
)
def test_a_value(name: str, number: float | None, written: str) -> None:
    assert metric.value(name, number) == written


def test_intervals_end_where_no_value_can_be() -> None:
    assert metric.bounds("test_accuracy", 0.98, 1.02) == "98.00 – 100.00 %"  # noqa: RUF001
    assert metric.bounds("test_loss", -0.1, 0.25) == "0.0000 – 0.2500"  # noqa: RUF001
    assert metric.bounds("test_loss", None, None) == ""
    assert metric.between("test_accuracy", 0.8219, 1.2) == "82.19 to 100.00 %"
    assert metric.between("test_loss", 0.5, 0.6) == "0.5000 to 0.6000"


def test_differences_have_a_sign_and_zero_has_none_below() -> None:
    assert metric.difference("test_accuracy", 0.0112) == "+1.12 points"
    assert metric.difference("test_loss", -0.0123) == "-0.0123"
    assert metric.signed("test_accuracy", -0.00001) == "+0.00"
    assert metric.amount("test_accuracy", -0.0112) == "1.12 points"
    assert metric.difference_bounds("test_accuracy", -0.001, 0.023) == "-0.10 to +2.30"
    assert metric.difference_bounds("test_loss", None, None) == ""


def test_which_way_is_better() -> None:
    assert metric.is_loss("validation_loss") and not metric.is_loss("validation_accuracy")
    assert metric.verb("test_accuracy", 0.1) == "gains" and metric.verb("test_accuracy", -0.1) == "loses"
    assert metric.verb("test_loss", 0.1) == "raises the loss by"
    assert metric.verb("test_loss", -0.1) == "lowers the loss by"


def test_spread_and_tolerance() -> None:
    seeds = Estimate(n=3, mean=0.8, sd=0.0031, low=0.79, high=0.81)
    assert metric.spread("test_accuracy", seeds) == "± 0.31 sd"
    assert metric.spread("test_loss", seeds) == "± 0.0031 sd"
    assert metric.spread("test_loss", Estimate(n=1, mean=0.8, sd=None, low=None, high=None)) == "one seed"
    assert metric.with_tolerance("test_accuracy", 0.8, 0.005) == "80.00 ± 0.5 %"
    assert metric.with_tolerance("parameters", 62000, 100) == "62,000 ± 100"
    assert metric.with_tolerance("test_accuracy", 0.8, 0) == "80.00 %"
