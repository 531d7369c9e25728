from __future__ import annotations

import base64
import io

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from rungs.evaluate.metrics import calibration, evaluate
from rungs.evaluate.mistakes import worst
from rungs.run.record import EvalResult, from_json, mean_share, to_json
from rungs.run.reliability import FEW, bins, wilson


def sample(n: int = 200, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (n,), generator=generator)
    logits = torch.randn(n, classes, generator=generator) + 2 * torch.nn.functional.one_hot(labels, classes)
    return logits, labels


def test_metrics_agree_with_scikit_learn() -> None:
    logits, labels = sample()
    result = evaluate(logits, labels)
    said, truth = logits.argmax(1).numpy(), labels.numpy()
    precision, recall, f1, _ = precision_recall_fscore_support(truth, said, labels=range(5), zero_division=0)
    assert result.accuracy == pytest.approx(accuracy_score(truth, said))
    assert result.loss == pytest.approx(log_loss(truth, logits.double().softmax(1).numpy()), rel=1e-5)
    assert result.precision == pytest.approx(precision)
    assert result.recall == pytest.approx(recall)
    assert result.f1 == pytest.approx(f1)
    assert np.array_equal(result.confusion, confusion_matrix(truth, said, labels=range(5)))


def test_a_class_never_predicted_gives_zeros_and_one_without_images_nothing() -> None:
    result = evaluate(torch.tensor([[5.0, 0, 0], [5.0, 0, 0]]), torch.tensor([0, 1]))
    assert result.precision == (0.5, 0.0, None)
    assert result.recall == (1.0, 0.0, None)
    assert result.f1 == (pytest.approx(2 / 3), 0.0, None)
    assert result.balanced_accuracy == 0.5 and mean_share(result.precision) == (0.25, 2)


def test_a_class_without_images_that_is_predicted_has_no_precision_either() -> None:
    result = evaluate(torch.tensor([[5.0, 0, 0], [0, 0, 5.0]]), torch.tensor([0, 1]))
    assert (result.precision, result.recall, result.f1) == ((1.0, 0.0, None), (1.0, 0.0, None), (1.0, 0.0, None))


def test_the_mean_recall_is_scikit_learns_balanced_accuracy() -> None:
    logits, labels = sample(classes=6)
    labels = labels.clamp(max=4)  # of the sixth class there is none
    expected = balanced_accuracy_score(labels.numpy(), logits[:, :5].argmax(1).numpy())
    assert evaluate(logits[:, :5], labels).balanced_accuracy == pytest.approx(expected)
    padded = torch.cat([logits[:, :5], torch.full((200, 1), -99.0)], 1)
    assert evaluate(padded, labels).balanced_accuracy == pytest.approx(expected)


def test_zeros_of_classes_without_images_in_older_records_are_read_as_none() -> None:
    new = evaluate(torch.tensor([[5.0, 0, 0], [5.0, 0, 0]]), torch.tensor([0, 1]))
    table = msgspec.json.decode(to_json(new))
    assert table["recall"] == [1.0, 0.0, None]  # null on disk
    for name in ("precision", "recall", "f1"):
        table[name][2] = 0.0
    for name in ("top5_accuracy", "scaled"):
        del table[name]
    assert from_json(msgspec.json.encode(table), EvalResult, "it") == new


def test_the_five_most_probable_classes_count_where_there_are_many() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(500, 12)).astype(np.float32), draw.integers(0, 12, 500)
    logits[np.arange(500), labels] += 0.7
    within = [label in np.argsort(row)[-5:] for row, label in zip(logits, labels, strict=True)]
    result = evaluate(torch.from_numpy(logits), torch.from_numpy(labels))
    assert result.top5_accuracy == pytest.approx(np.mean(within))
    assert result.accuracy < result.top5_accuracy < 1
    ten = evaluate(torch.from_numpy(logits[:, :10]), torch.from_numpy(labels % 10))
    assert ten.top5_accuracy is None


def test_one_image_is_scored() -> None:
    for label in (0, 1):
        result = evaluate(torch.tensor([[2.0, 0, 0]]), torch.tensor([label]), temperature=2.0)
        assert (result.n, result.accuracy, result.balanced_accuracy) == (1, 1.0 - label, 1.0 - label)
        assert result.scaled is not None and result.scaled.loss > 0


def test_a_temperature_changes_loss_and_calibration_alone() -> None:
    logits, labels = sample()
    plain, with_it = evaluate(logits, labels), evaluate(logits, labels, temperature=2.0)
    halved = evaluate(logits / 2, labels)
    assert with_it.scaled is not None and plain.scaled is None
    assert replace(with_it, scaled=None) == plain
    assert with_it.scaled.loss == pytest.approx(halved.loss)
    assert with_it.scaled.calibration_error == pytest.approx(halved.calibration_error)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case: tuple[int, int]) -> None:
    right, n = case
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_calibration_of_a_known_case() -> None:
    """Ten images at 80 %, of which six are right: the error is 0.2."""
    logits = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    labels = torch.tensor([0] * 6 + [1] * 4)
    error, bins = calibration(logits, labels)
    assert error == pytest.approx(0.2)
    (full,) = [b for b in bins if b[2]]
    assert full == pytest.approx((0.8, 0.6, 10))


def test_the_bins_of_a_diagram_have_intervals_and_empty_ones_are_left_out() -> None:
    found = bins(((0.0, 0.0, 0), (0.8, 0.6, 10), (0.97, 1.0, 3)))
    assert [(one.confidence, one.accuracy, one.images) for one in found] == [(80, 60, 10), (97, 100, 3)]
    for one, correct in zip(found, (6, 3), strict=True):
        theirs = binomtest(correct, one.images).proportion_ci(method="wilson")
        assert (one.low, one.high) == pytest.approx((100 * theirs.low, 100 * theirs.high))
    assert [one.images < FEW for one in found] == [False, True]


def test_the_worst_mistakes_come_first_with_their_pictures() -> None:
    logits, labels = sample()
    images = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1).expand(200, 3, 8, 8)
    found = worst(logits, labels, lambda index: images[index], 7, [f"{i}.png" for i in range(200)])
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    wrong = (logits.argmax(1) != labels).nonzero().flatten()
    assert [m.loss for m in found] == pytest.approx(losses[wrong].sort(descending=True).values[:7].tolist())
    for mistake in found:
        assert mistake.predicted != mistake.truth == int(labels[mistake.index])
        assert mistake.path == f"{mistake.index}.png"
        picture = Image.open(io.BytesIO(base64.b64decode(mistake.picture)))
        assert np.asarray(picture)[0, 0, 0] == mistake.index
