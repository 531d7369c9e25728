"""The entropy of smoothed and mixed labels: by formula, by drawing, and taken off wherever losses are compared."""

from __future__ import annotations

import math

import pytest
import samples
import torch
from msgspec.structs import replace
from scipy.special import digamma

from rungs.data.augment.draw import Draw
from rungs.data.augment.mix import cutmix, mixup
from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.diagnose.label_floor import above_floor, entropy, label_floor, loss_at, mixed_entropy, share_words
from rungs.recipe.augments import AnyAugment, Crop, CutMix, Mixup
from rungs.run.record import RunRecord


def with_labels(record: RunRecord, smoothing: float = 0.0, *augments: AnyAugment) -> RunRecord:
    recipe = record.recipe
    training = replace(recipe.training, label_smoothing=smoothing)
    return replace(record, recipe=replace(recipe, training=training, augment=replace(recipe.augment, train=augments)))


def test_whole_labels_have_none() -> None:
    record = with_labels(samples.healthy(), 0.0, Crop())
    assert label_floor(record) == 0
    assert loss_at(record, 0.5) == pytest.approx(0.5 * math.log(10))
    assert above_floor(record) == [row.train_loss for row in record.history]
    assert share_words(record, 0.3) == "0.3 ln K"


def test_smoothing_leaves_the_entropy_of_the_smoothed_label() -> None:
    high, low = 0.91, 0.01
    by_hand = -high * math.log(high) - 9 * low * math.log(low)
    record = with_labels(samples.healthy(), 0.1)
    assert label_floor(record) == pytest.approx(by_hand) == pytest.approx(0.5003, abs=1e-4)
    assert loss_at(record, 1.0) == pytest.approx(math.log(10))  # a uniform prediction costs ln K, whatever the label
    assert loss_at(record, 0.0) == label_floor(record)
    assert share_words(record, 0.5).startswith("1.401, 0.5 of the way from its labels' floor, 0.500,")


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0, 100.0])
def test_mixing_leaves_the_mean_entropy_of_its_weight(alpha: float) -> None:
    exact = digamma(2 * alpha + 1) - digamma(alpha + 1)
    assert mixed_entropy(alpha, 0.0, 10, pasted=False) == pytest.approx(exact, rel=1e-4)


def test_only_images_of_two_classes_are_mixed_and_only_in_a_share_of_the_batches() -> None:
    record = with_labels(samples.healthy(), 0.0, Mixup(alpha=1.0, p=0.5))
    assert label_floor(record) == pytest.approx(0.5 * 0.9 * 0.5, rel=1e-6)
    lopsided = replace(record, data=replace(record.data, counts={"train": (900, *[0] * 8, 100)}))
    assert label_floor(lopsided) == pytest.approx(0.5 * 0.18 * 0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("mix", "alpha", "smoothing", "pasted"),
    [(mixup, 0.2, 0.0, False), (mixup, 1.0, 0.2, False), (cutmix, 1.0, 0.1, True), (cutmix, 0.3, 0.0, True)],
)
def test_it_is_that_of_the_labels_that_are_really_drawn(mix, alpha: float, smoothing: float, pasted: bool) -> None:  # type: ignore[no-untyped-def]
    """Two images of two classes: half of the permutations exchange them, the others leave the labels whole."""
    draw = Draw(torch.Generator().manual_seed(0), 0, torch.arange(2), 10)
    images, truth = torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])
    labels = torch.stack([mix(images, truth, draw, alpha=alpha, p=1.0)[1][0] for _ in range(4000)])
    labels = (1 - smoothing) * labels + smoothing / 10
    entropies = -(labels * labels.clamp(min=1e-30).log()).sum(1)
    plain = entropy(1.0, smoothing, 10)
    expected = (plain + mixed_entropy(alpha, smoothing, 10, pasted=pasted)) / 2
    error = float(entropies.std()) / math.sqrt(len(entropies))
    assert float(entropies.mean()) == pytest.approx(expected, abs=4 * error)


def test_labels_without_any_information_leave_nothing_to_learn() -> None:
    record = with_labels(samples.healthy(), 0.999, Mixup(alpha=1e6), CutMix(alpha=1e6))
    assert 0 < math.log(10) - label_floor(record) < 1e-4
    examine(record)


def test_a_loss_near_its_floor_is_not_called_unlearnt() -> None:
    """At 1.4 three fifths of the loss of guessing seem to be left; of labels smoothed by 0.3 it is one fifth."""
    record = samples.healthy()
    losses = [1.9, 1.7, 1.6, 1.5, 1.42, 1.4]
    rows = tuple(
        replace(row, train_loss=loss, step=8 * (i + 1), learning_rate=0.1)
        for i, (row, loss) in enumerate(zip(record.history, losses, strict=False))
    )
    record = replace(record, history=rows, best_epoch=6)
    batch = replace(record.recipe.training, batch_size=512)
    record = replace(record, recipe=replace(record.recipe, training=batch))
    assert "few-steps" in {finding.rule for finding in examine(with_labels(record, 0.0))}
    smoothed = with_labels(record, 0.3)
    assert label_floor(smoothed) == pytest.approx(1.1765, abs=1e-4)
    level = replace(smoothed, history=(*rows[:-2], replace(rows[-2], train_loss=1.4), rows[-1]))
    assert "few-steps" not in {finding.rule for finding in examine(level)}


def test_a_loss_that_never_left_guessing_is_seen_above_a_floor_as_without() -> None:
    rows = tuple(replace(row, train_loss=2.3 + 0.002 * (row.epoch % 2)) for row in samples.history(10))
    for smoothing in (0.0, 0.3):
        stuck = with_labels(replace(samples.healthy(), history=rows, best_epoch=10), smoothing)
        assert "stuck" in {finding.rule for finding in examine(stuck)}
    half_way = tuple(replace(row, train_loss=2.2 - 0.02 * row.epoch) for row in samples.history(10))
    smoothed = with_labels(replace(samples.healthy(), history=half_way, best_epoch=10), 0.3)
    assert not {"stuck", "diverged"} & {finding.rule for finding in examine(smoothed)}


def test_validation_that_loses_confidence_but_no_accuracy_does_not_overfit() -> None:
    losses = [1.2, 0.8, 0.5, 0.4, 0.35, 0.4, 0.45, 0.5, 0.5, 0.52]
    rows = tuple(
        replace(row, validation_loss=loss, validation_accuracy=min(0.95, 0.4 + 0.1 * i))
        for i, (row, loss) in enumerate(zip(samples.history(10), losses, strict=True))
    )
    record = replace(samples.healthy(), history=rows, best_epoch=5)
    assert "overfitting" in {finding.rule for finding in examine(with_labels(record, 0.0))}
    mixed = with_labels(record, 0.0, Mixup(alpha=1.0))
    found = examine(mixed)
    assert found[0].rule == "sound"
    worse = tuple(replace(row, validation_accuracy=0.75 if row.epoch > 5 else 0.8) for row in rows)
    assert "overfitting" in {finding.rule for finding in examine(replace(mixed, history=worse))}


def test_the_curves_are_said_to_have_a_floor() -> None:
    text = interpretation(with_labels(samples.healthy(), 0.1, Crop()))
    assert (
        "It cannot fall below 0.500, the entropy of its smoothed or mixed labels; validation labels are neither."
        in text
    )
