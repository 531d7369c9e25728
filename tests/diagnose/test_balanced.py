"""Balanced sampling and class weights change what a training accuracy or loss is: compare like with like."""

from __future__ import annotations

import math

import pytest
import samples
from msgspec.structs import replace

from rungs.diagnose.configuration import double_softmax, floor
from rungs.diagnose.evaluation_mode import evaluation_mode
from rungs.diagnose.label_floor import label_floor, mixed_entropy
from rungs.diagnose.regularisation import strong_augmentation
from rungs.recipe.augments import Cutout, Mixup
from rungs.run.record import EvalResult, RunRecord


def scored(*rows: tuple[int, ...]) -> EvalResult:
    images = [sum(row) for row in rows]
    n, hits = sum(images), sum(row[k] for k, row in enumerate(rows))
    recall = tuple(row[k] / sum(row) if sum(row) else None for k, row in enumerate(rows))
    result = samples.result(len(rows), 100, 0.5)
    return replace(
        result,
        n=n,
        accuracy=hits / n,
        accuracy_interval=samples.wilson(hits / n, n),
        confusion=rows,
        recall=recall,
        precision=recall,
        f1=recall,
    )


def balanced(running: float, kept: EvalResult, balance: str = "sampling") -> RunRecord:
    """Return a run with this running accuracy in all epochs, and the kept weights' on its training images."""
    record = samples.sized(3, 8)
    rows = tuple(replace(row, train_accuracy=running) for row in record.history)
    recipe = replace(record.recipe, data=replace(record.recipe.data, balance=balance))
    counts = {**record.data.counts, "train": tuple(map(sum, kept.confusion))}
    data = replace(record.data, counts=counts)
    return replace(record, recipe=recipe, data=data, history=rows, train=kept, best_epoch=len(rows))


RARE_ARE_KNOWN = scored((750, 200, 50), (0, 100, 0), (0, 0, 100))  # 79 % of the images, a mean recall of 92 %


def test_a_balanced_running_accuracy_is_compared_with_the_mean_recall() -> None:
    assert evaluation_mode(balanced(0.92, RARE_ARE_KNOWN, "none")) is not None  # as without balance
    assert evaluation_mode(balanced(0.92, RARE_ARE_KNOWN)) is None
    spoilt = evaluation_mode(balanced(0.99, RARE_ARE_KNOWN))
    assert spoilt is not None and "91.7 % of the same images, all classes counted alike" in spoilt.text


def test_a_class_without_images_has_no_recall_to_count() -> None:
    kept = scored((750, 250, 0), (0, 100, 0), (0, 0, 0))  # mean recall of the two that are there: 87.5 %
    assert evaluation_mode(balanced(0.88, kept)) is None
    assert evaluation_mode(balanced(0.99, kept)) is not None


def test_augmentation_is_not_blamed_for_classes_that_balance_shows_more_often() -> None:
    common_are_known = scored((990, 10, 0), (60, 40, 0), (60, 0, 40))  # 89 %, mean recall 60 %
    cutout = (Cutout(size=32),)
    for balance, blamed in (("none", True), ("sampling", False)):
        record = balanced(0.6, common_are_known, balance)
        augment = replace(record.recipe.augment, train=cutout)
        found = strong_augmentation(replace(record, recipe=replace(record.recipe, augment=augment)))
        assert (found is not None) == blamed


def test_mixed_labels_of_weighted_classes_have_the_floor_of_what_the_loss_counts() -> None:
    record = balanced(0.9, RARE_ARE_KNOWN, "none")
    record = replace(record, recipe=replace(record.recipe, augment=replace(record.recipe.augment, train=(Mixup(),))))
    mixed = mixed_entropy(Mixup().alpha, 0.0, 3, pasted=False) * Mixup().p

    def floor(balance: str, weights: object) -> float:
        recipe = record.recipe
        recipe = replace(
            recipe,
            data=replace(recipe.data, balance=balance),
            training=replace(recipe.training, class_weights=weights),
        )
        return label_floor(replace(record, recipe=recipe))

    shares = (10 / 12, 1 / 12, 1 / 12)
    assert floor("none", "none") == pytest.approx(mixed * (1 - sum(s * s for s in shares)))
    for even in (("sampling", "none"), ("none", "balanced"), ("sampling", "balanced"), ("none", (1.0, 10.0, 10.0))):
        assert floor(*even) == pytest.approx(mixed * 2 / 3)
    # by hand, pairs of classes drawn by their shares, each weighing the mean of its two classes' weights
    weights = (1.0, 2.0, 5.0)
    total = sum(w * s for w, s in zip(weights, shares, strict=True))
    unlike = sum(
        shares[a] * shares[b] * (weights[a] + weights[b]) / 2 / total for a in range(3) for b in range(3) if a != b
    )
    assert floor("none", weights) == pytest.approx(mixed * unlike)
    assert floor("none", weights) < math.log(3)


def test_a_weighted_loss_is_not_held_against_an_accuracy_that_counts_images_alike() -> None:
    record = samples.healthy()
    rows = tuple(
        replace(row, train_accuracy=0.9, train_loss=floor(10) + 0.1, validation_accuracy=0.5, validation_loss=1.7)
        for row in record.history
    )
    weighted = replace(record.recipe.training, class_weights="balanced")
    record = replace(record, history=rows)
    assert double_softmax(record) is not None
    assert double_softmax(replace(record, recipe=replace(record.recipe, training=weighted))) is None
