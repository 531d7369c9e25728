from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from rungs.evaluate.metrics import calibration, evaluate, wilson
from rungs.evaluate.mistakes import worst


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


def test_a_class_never_said_and_never_true_gives_zeros() -> None:
    result = evaluate(torch.tensor([[5.0, 0, 0], [5.0, 0, 0]]), torch.tensor([0, 1]))
    assert result.precision == (0.5, 0.0, 0.0)
    assert result.recall == (1.0, 0.0, 0.0)
    assert result.f1[2] == 0.0


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
