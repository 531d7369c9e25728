"""Parts of a data set that do not match: labels in another order, images of another kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import samples
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.parts import chance
from rungs.run.record import EvalResult, Finding, RunRecord


def scored(table: Sequence[Sequence[int]]) -> EvalResult:
    """Return the result of a confusion table."""
    counts = np.array(table)
    n, hits = int(counts.sum()), counts.diagonal()
    accuracy = float(hits.sum() / n)
    return replace(
        samples.result(len(table), n, 0.5),
        n=n,
        accuracy=accuracy,
        accuracy_interval=samples.wilson(accuracy, n),
        confusion=tuple(tuple(map(int, row)) for row in counts),
        recall=tuple(map(float, hits / np.maximum(1, counts.sum(1)))),
    )


def table(predicted: Sequence[int], right: int = 90, per_class: int = 100) -> list[list[int]]:
    """Return a table where most images of class k are taken for `predicted[k]`, the others for any other alike."""
    classes = len(predicted)
    rest = (per_class - right) // (classes - 1)
    rows = [[rest] * classes for _ in range(classes)]
    for k, other in enumerate(predicted):
        rows[k][other] += per_class - rest * classes
    return rows


def run(test: Sequence[int] | EvalResult, right: int = 90, validation: EvalResult | None = None) -> RunRecord:
    result = test if isinstance(test, EvalResult) else scored(table(test, right))
    record = samples.sized(len(result.confusion), 10)
    good = scored(table(range(len(result.confusion)), 95))
    return replace(record, train=good, validation=validation or good, test=result)


def first(record: RunRecord) -> Finding:
    return examine(record)[0]


def test_chance_is_the_agreement_of_unrelated_predictions() -> None:
    assert chance(scored(table(range(10), 10))) == pytest.approx(0.1)
    assert chance(scored([[900, 0], [100, 0]])) == pytest.approx(0.9)  # always the same class
    assert chance(scored([[0, 900], [0, 100]])) == pytest.approx(0.1)


def test_classes_in_another_order_are_named() -> None:
    finding = first(run([1, 2, 0, 4, 3, 5, 6, 7, 8, 9]))
    assert finding.rule == "parts-mismatch" and finding.level == "warning" and finding.cure is None
    assert finding.title == "Labels or images of the test part do not match"
    names = run(range(10)).data.classes
    assert f"{names[0]!r} is taken for {names[1]!r} in 91 of 100 images" in finding.text
    assert "and 2 more classes likewise" in finding.text


def test_exchanged_classes_are_named_though_the_net_is_not_sure_of_either() -> None:
    right = table(range(10), 100, per_class=200)
    right[3], right[5] = [8] * 10, [8] * 10
    right[3][3], right[3][5], right[5][5], right[5][3] = 60, 76, 115, 21  # it prefers class 5
    exchanged = [list(row) for row in right]
    exchanged[3], exchanged[5] = right[5], right[3]
    sound = replace(run(scored(right), validation=scored(right)), train=scored(right))
    sound = replace(sound, history=tuple(replace(row, train_accuracy=0.5) for row in sound.history))
    assert "parts-mismatch" not in {one.rule for one in examine(sound)}
    finding = first(replace(sound, test=scored(exchanged)))
    names = sound.data.classes
    assert finding.rule == "parts-mismatch"
    assert f"{names[3]!r} is taken for {names[5]!r} in 115 of 200" in finding.text


def test_validation_at_chance_beside_training_that_learnt_something_is_a_mismatch() -> None:
    record = run(scored(table(range(10), 10)), validation=scored(table(range(10), 10)))
    rows = tuple(replace(row, train_accuracy=0.45, validation_accuracy=0.1) for row in record.history)
    finding = first(replace(record, history=rows, train=scored(table(range(10), 40))))
    assert finding.rule == "parts-mismatch" and "no better than guessing" in finding.text


def test_two_exchanged_classes_are_enough_and_one_confused_one_is_not() -> None:
    assert first(run([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])).rule == "parts-mismatch"
    assert first(run([0, 1, 2, 8, 4, 5, 6, 7, 8, 9])).rule != "parts-mismatch"
    unknown = run([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])
    weak = scored(table([0, 1, 2, 8, 4, 5, 6, 7, 3, 9]))  # in training, too, it takes them for one another
    assert first(replace(unknown, train=weak)).rule != "parts-mismatch"


def test_worse_than_chance_is_labels_and_not_a_net_that_learnt_nothing() -> None:
    below = scored([[20, 80], [75, 25]])
    record = replace(run(below), train=None, validation=None, history=())
    assert first(record).rule == "parts-mismatch"
    assert "22.50 % of 200 test images" in first(record).text
    assert "fewer than the 50.00 % that predictions without any knowledge would give" in first(record).text
    level = replace(record, test=scored([[45, 55], [52, 48]]))
    assert first(level).rule == "guessing"
    single = replace(level.recipe, training=replace(level.recipe.training, epochs=1))
    assert "Done: 0 of 1 epoch." in first(replace(level, recipe=single)).text
    one_class = replace(record, test=scored([[0, 900], [0, 100]]), validation=None)  # always the rare class
    assert "guessing" in {finding.rule for finding in examine(one_class)}
    assert "parts-mismatch" not in {finding.rule for finding in examine(one_class)}


def test_learnt_images_that_say_nothing_about_others() -> None:
    record = run([0] * 10, 10)
    assert first(record).rule == "parts-mismatch"
    assert "learnt by heart" in first(record).text
    unlearnt = tuple(replace(row, train_accuracy=0.12) for row in record.history)
    assert first(replace(record, train=record.test, history=unlearnt, validation=record.test)).rule == "guessing"
    few = scored(table([0] * 10, 4, 4))  # of 40 images 4 are right: it could be a net that is right about a fifth
    assert few.accuracy == 0.1 and first(run(few)).rule != "parts-mismatch"


def test_validation_that_never_matches_is_seen_though_it_chose_the_first_epoch() -> None:
    """Its loss is smallest before anything is learnt; the weights of that epoch say little, the last epochs much."""
    early = scored(table(range(10), 14))
    record = replace(run(early, validation=early), test=None, train=scored(table(range(10), 25)), best_epoch=1)
    rows = tuple(
        replace(row, validation_accuracy=accuracy, train_accuracy=0.3 + 0.07 * i)
        for i, (row, accuracy) in enumerate(zip(record.history, [0.14, 0.1, *[0.02] * 8], strict=True))
    )
    assert first(replace(record, history=rows)).rule == "parts-mismatch"
    assert "2.00 % of 1000 validation images" in first(replace(record, history=rows)).text
    level = tuple(replace(row, validation_accuracy=0.1) for row in rows)
    assert "if evaluation mode spoils the net" in first(replace(record, history=level)).text
    better = tuple(replace(row, validation_accuracy=0.14) for row in rows)
    assert "parts-mismatch" not in {finding.rule for finding in examine(replace(record, history=better))}


def test_two_parts_that_are_not_known_point_at_the_training_labels() -> None:
    nothing = scored(table([0] * 10, 10))
    record = run(nothing, validation=nothing)
    assert "labels of the training images are wrong or random" in first(record).text


def test_a_test_far_below_validation_is_of_another_kind() -> None:
    record = run(range(10), 60)
    assert "other-test" in {finding.rule for finding in examine(record) if finding.level == "warning"}
    assert "confused-pair" not in {finding.rule for finding in examine(record)}
    assert "other-test" not in {finding.rule for finding in examine(run(range(10), 88))}
