"""Classes with few images: what their scores can tell, in words, and what would help."""

from __future__ import annotations

import samples
from msgspec.structs import replace

from rungs.diagnose.few_images import few_images
from rungs.report import run_tables
from rungs.run.record import RunRecord


def with_rare(train: int, test: int, hits: int) -> RunRecord:
    """Return a sound run whose last class has so many images."""
    record = samples.healthy()
    assert record.test is not None
    counts = {**record.data.counts, "train": (*record.data.counts["train"][:-1], train)}
    row = [0] * len(record.data.classes)
    row[0], row[-1] = test - hits, hits
    table = (*record.test.confusion[:-1], tuple(row))
    return replace(record, data=replace(record.data, counts=counts), test=replace(record.test, confusion=table))


def test_enough_images_are_not_spoken_of() -> None:
    assert few_images(samples.healthy()) is None
    assert few_images(with_rare(20, 20, 10)) is None


def test_few_test_images_are_told_with_the_interval_and_what_helps() -> None:
    found = few_images(with_rare(400, 10, 5))
    assert found is not None and found.level == "note" and found.evidence is not None
    assert "Few test images: truck (10)." in found.text and "training images" not in found.text
    assert "5 of the 10 of 'truck' are recognised" in found.text
    assert "from 24 to 76 %" in found.text and "moves it by 10 points" in found.text  # Wilson's
    assert "--folds 5" in found.text and "data.balance" not in found.text


def test_few_training_images_ask_for_balance_unless_there_is_some() -> None:
    record = with_rare(3, 100, 50)
    found = few_images(record)
    assert found is not None and "Few training images: truck (3)." in found.text
    assert "data.balance=sampling" in found.text and "data.folds" not in found.text
    recipe = replace(record.recipe, data=replace(record.recipe.data, balance="sampling"))
    balanced = few_images(replace(record, recipe=recipe))
    assert balanced is not None and "data.balance" not in balanced.text


def test_an_absent_class_is_for_another_rule() -> None:
    assert few_images(with_rare(400, 0, 0)) is None


def test_the_table_of_classes_has_the_intervals() -> None:
    result = with_rare(400, 10, 5).test
    assert result is not None
    assert run_tables.recall_interval(result, 9).startswith("23.66") and "76.34 %" in run_tables.recall_interval(
        result, 9
    )
    absent = with_rare(400, 0, 0).test
    assert absent is not None and run_tables.recall_interval(absent, 9) == ""
