"""What keeps a run without a warning from being called good."""

from __future__ import annotations

import samples
from msgspec.structs import replace

from rungs.diagnose.curves import UNDERFIT
from rungs.diagnose.sound import HALF, sound
from rungs.run.record import EvalResult, RunRecord


def learnt(share: float, *, scored: bool) -> RunRecord:
    record = samples.healthy()
    if scored:
        return replace(record, train=replace(samples.result(10, 45000, 0.9), accuracy=share))
    return replace(
        record, train=None, history=tuple(replace(row, train_accuracy=share) for row in record.history), best_epoch=None
    )


def test_the_shares_in_the_threshold_are_those_that_decide() -> None:
    for scored, share in ((True, UNDERFIT), (False, HALF)):
        good, modest = sound(learnt(share, scored=scored)), sound(learnt(share - 0.001, scored=scored))
        assert (good.level, modest.level) == ("good", "note")
        assert good.threshold == modest.threshold and f"{100 * share:.0f} %" in good.threshold


def lopsided() -> EvalResult:
    """1,000 images, 950 of one class, and hardly more than those classified correctly."""
    table = ((945, 5), (40, 10))
    result = samples.result(2, 1000, 0.9)
    recall = (945 / 950, 10 / 50)
    return replace(
        result, n=1000, accuracy=0.955, accuracy_interval=samples.wilson(0.955, 1000), confusion=table, recall=recall
    )


def test_many_images_of_one_class_are_not_too_few() -> None:
    record = replace(samples.sized(2, 8), validation=lopsided())
    found = sound(record)
    assert (found.rule, found.title) == ("no-better", "No better than the most frequent class")
    assert found.cure == "--set data.balance=sampling" and "95.0 %" in found.text and "59.7 %" in found.text
    training = replace(record.recipe.training, class_weights="balanced")
    assert sound(replace(record, recipe=replace(record.recipe, training=training))).cure is None
    few = replace(lopsided(), n=40, accuracy_interval=samples.wilson(0.95, 40), confusion=((38, 0), (2, 0)))
    assert sound(replace(record, validation=few)).rule == "too-few-to-tell"
