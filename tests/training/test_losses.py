"""The losses as the seeds write them, and a test set that is watched."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.torch import load_file
from small import run, small
from torch import Tensor

from rungs.run.record import EpochRow, RunRecord
from rungs.training.step import summed_loss

FLOOR = math.log(1 + 9 / math.e)
"""Of a softmax too many, for 10 classes: its best outputs are 1 for the right class and 0 for the others."""
BARE = ("augment.train=[]", "training.label_smoothing=0", "training.precision=fp32")
WATCHED = ("evaluation.watch_test=true",)

logits_of_3 = st.lists(st.lists(st.floats(-30, 30, width=32), min_size=10, max_size=10), min_size=3, max_size=3)
labels_of_3 = st.lists(st.integers(0, 9), min_size=3, max_size=3)


def by_hand(outputs: Tensor, y: Tensor, smoothing: float) -> float:
    """Sum -q ln p over images and classes, in float64, q the smoothed labels."""
    share = torch.nn.functional.one_hot(y, outputs.shape[1]).double() if y.ndim == 1 else y.double()
    share = (1 - smoothing) * share + smoothing / outputs.shape[1]
    return float(-(share * outputs.double().log_softmax(1)).sum())


@settings(deadline=None)
@given(logits_of_3, labels_of_3, st.sampled_from([0.0, 0.05, 0.5]), st.booleans())
def test_nll_is_the_cross_entropy(logits: list[list[float]], labels: list[int], smoothing: float, mixed: bool) -> None:
    outputs, y = torch.tensor(logits), torch.tensor(labels)
    if mixed:
        y = 0.3 * torch.eye(10)[y] + 0.7 * torch.eye(10)[y.flip(0)]
    expected = by_hand(outputs, y, smoothing)
    for name in ("nll", "cross-entropy"):
        assert float(summed_loss(name, outputs, y, smoothing)) == pytest.approx(expected, rel=1e-5, abs=1e-4)


@settings(deadline=None)
@given(logits_of_3, labels_of_3)
def test_a_softmax_too_many_stays_above_its_floor(logits: list[list[float]], labels: list[int]) -> None:
    outputs, y = torch.tensor(logits), torch.tensor(labels)
    loss = float(summed_loss("softmax-cross-entropy", outputs, y))
    assert loss / 3 >= FLOOR - 1e-5
    assert loss == pytest.approx(by_hand(outputs.double().softmax(1), y, 0.0), rel=1e-5)


def test_a_softmax_too_many_reaches_its_floor_in_the_limit() -> None:
    assert pytest.approx(1.4612, abs=5e-5) == FLOOR
    y = torch.arange(10)
    losses = [float(summed_loss("softmax-cross-entropy", sure * torch.eye(10), y)) / 10 for sure in (1, 5, 10, 100)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > FLOOR + 0.5
    assert losses[-1] == pytest.approx(FLOOR, abs=1e-5)
    assert float(summed_loss("cross-entropy", 100 * torch.eye(10), y)) < 1e-3


def test_the_gradients_of_nll_and_cross_entropy_are_the_same() -> None:
    torch.manual_seed(0)
    outputs, y = torch.randn(6, 10), torch.randint(10, (6,))
    gradients = []
    for name in ("nll", "cross-entropy"):
        leaf = outputs.clone().requires_grad_()
        summed_loss(name, leaf, y).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    assert torch.allclose(*gradients, atol=1e-6)


def curve(record: RunRecord, field: str) -> list[float]:
    return [getattr(row, field) for row in record.history]


@pytest.mark.parametrize("overrides", [BARE, BARE[2:]], ids=["bare", "mixed-and-smoothed"])
def test_training_with_nll_is_training_with_cross_entropy(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    names = ("nll", "cross-entropy")
    one, other = (run(small(*overrides, f"training.loss={name}"), tmp_path / name) for name in names)
    assert len(one.history) == 4
    for field in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert curve(one, field) == pytest.approx(curve(other, field), rel=1e-3), field
    assert one.history[-1].train_loss < 0.9 * one.history[0].train_loss


def test_training_with_a_softmax_too_many(tmp_path: Path) -> None:
    literal = small(*BARE, "training.loss=softmax-cross-entropy", "training.epochs=6", "optim.lr=0.3")
    record = run(literal, tmp_path)
    losses = [*curve(record, "train_loss"), *curve(record, "validation_loss")]
    assert min(losses) > FLOOR
    assert max(losses) < FLOOR + 1  # outputs between 0 and 1 cannot make a larger loss
    assert record.history[-1].train_loss < record.history[0].train_loss - 0.05
    assert record.history[-1].train_accuracy > record.history[0].train_accuracy + 0.2
    assert record.validation is not None
    assert record.validation.accuracy > 0.4


def without(record: RunRecord, *fields: str) -> list[EpochRow]:
    gone = {"train_s": 0.0, "validation_s": 0.0, "images_per_s": 0.0, **dict.fromkeys(fields)}
    return [replace(row, **gone) for row in record.history]


def test_watching_the_test_set_changes_nothing_else(tmp_path: Path) -> None:
    blind = run(small(), tmp_path / "blind")
    watched = run(small(*WATCHED), tmp_path / "watched")
    assert all(row.test_loss is None and row.test_accuracy is None for row in blind.history)
    for row in watched.history:
        assert row.test_loss is not None and row.test_loss > 0
        assert row.test_accuracy is not None and 0 <= row.test_accuracy <= 1
    assert len({row.test_loss for row in watched.history}) == 4
    assert without(watched, "test_loss", "test_accuracy") == without(blind)
    assert (watched.best_epoch, watched.test) == (blind.best_epoch, blind.test)
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("blind", "watched"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_watched_score_of_the_best_epoch_is_the_final_one(tmp_path: Path) -> None:
    record = run(small(*WATCHED), tmp_path)
    assert record.best_epoch is not None
    assert record.test is not None
    row = record.history[record.best_epoch - 1]
    assert row.test_accuracy == pytest.approx(record.test.accuracy)
    assert row.test_loss == pytest.approx(record.test.loss, rel=1e-5)


def test_nothing_is_watched_where_there_is_no_test_set(tmp_path: Path) -> None:
    record = run(small(*WATCHED, "data.test=0", "training.epochs=1"), tmp_path)
    assert record.test is None
    assert (record.history[0].test_loss, record.history[0].test_accuracy) == (None, None)


def test_a_watched_run_is_resumed_exactly(tmp_path: Path) -> None:
    straight = run(small(*WATCHED), tmp_path / "straight")
    assert len(run(small(*WATCHED), tmp_path / "halves", stop_after=2).history) == 2
    resumed = run(small(*WATCHED), tmp_path / "halves", resume=True)
    assert without(resumed) == without(straight)
    assert all(row.test_loss is not None for row in resumed.history)
    assert (resumed.best_epoch, resumed.test) == (straight.best_epoch, straight.test)
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("straight", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)
