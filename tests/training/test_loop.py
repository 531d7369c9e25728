"""What one step, one epoch and one assembled setup are, checked by hand."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from typing import TypeVar

import pytest
import torch
from small import small
from torch.nn import functional as F

from rungs.data.stats import mean_std
from rungs.errors import UserError
from rungs.training import loop
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.feed import training_batches
from rungs.training.loop import Diverged, train_epochs, validate
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

T = TypeVar("T")

BARE = (
    "augment.train=[]", "model.batch_norm=false", "model.dropout=[]", "training.precision=fp32", "training.epochs=1",
    "training.ema_decay=none", "training.clip_norm=none", "training.label_smoothing=0", "schedule.name=constant",
    "schedule.warmup_epochs=0", "optim.momentum=0", "optim.nesterov=false", "optim.weight_decay=0",
)  # fmt: skip
"""A recipe whose steps can be repeated in three lines."""


def kit_of(*overrides: str) -> Setup:
    recipe, dataset = load_dataset(small(*overrides), False)
    return assemble(recipe, dataset, World(0, 1, torch.device("cpu")))


def weights(setup: Setup) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in setup.model.parameters()])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_a_step_follows_the_mean_gradient_of_its_batch(smoothing: float) -> None:
    setup = kit_of(*BARE, "data.train=77", "training.batch_size=77", f"training.label_smoothing={smoothing}")
    part, by_hand = setup.parts.train, copy.deepcopy(setup.model)
    loss = F.cross_entropy(by_hand(part.images.float() / 255), part.labels, label_smoothing=smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    (row,) = train_epochs(setup, [], Screen())
    assert row.train_loss == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(setup.model.parameters(), by_hand.parameters(), strict=True):
        assert theirs.grad is not None
        assert torch.allclose(ours, theirs - 0.05 * theirs.grad, atol=1e-6)


def test_a_gradient_is_clipped_to_its_norm() -> None:
    setup = kit_of(*BARE, "data.train=50", "training.batch_size=50", "training.clip_norm=0.01")
    before = weights(setup)
    list(train_epochs(setup, [], Screen()))
    assert float((weights(setup) - before).norm()) == pytest.approx(0.05 * 0.01, rel=1e-3)


@pytest.mark.parametrize("size", [2, 7, 19, 76, 100])
def test_micro_batches_add_up_to_the_step_of_the_whole_batch(size: int) -> None:
    whole, cut = (
        kit_of(*BARE, "data.train=154", "training.batch_size=77", f"training.micro_batch={micro}")
        for micro in ("none", size)
    )
    (first,), (second,) = (list(train_epochs(setup, [], Screen())) for setup in (whole, cut))
    assert second.train_loss == pytest.approx(first.train_loss, rel=1e-6)
    assert (second.step, second.train_accuracy) == (first.step, first.train_accuracy)
    torch.testing.assert_close(weights(cut), weights(whole), atol=1e-6, rtol=0)


def test_a_batch_norm_sees_a_micro_batch() -> None:
    seen: list[int] = []
    setup = kit_of("training.micro_batch=20", "training.epochs=1")
    norm = next(module for module in setup.model.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])) if module.training else None)
    list(train_epochs(setup, [], Screen()))
    assert seen == [20, 20, 10] * 8


SPEEDRUN = (
    "model.name=speedrun", "model.widths=[8, 8, 8]", "model.stages=none", "optim.name=muon", "optim.lr=0.1",
    "optim.head_lr=0.5", "optim.bias_lr=0.2", "schedule.name=linear", "training.ema_decay=none",
    "data.image_size=24", "data.train=100",
)  # fmt: skip


def test_each_epoch_has_its_image_size() -> None:
    setup = kit_of(*SPEEDRUN, "training.image_scales=[0.5, 0.65, 1]", "training.epochs=4")
    seen: list[int] = []
    setup.model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].shape[2]) if module.training else None
    )
    rows = list(train_epochs(setup, [], Screen()))
    assert seen == [12] * 2 + [16] * 2 + [24] * 4  # two steps an epoch
    assert [setup.forward_flops[size] for size in (12, 16, 24)] == sorted(setup.forward_flops.values())
    x, _, _ = next(training_batches(setup, 0))
    assert 0 <= x.min() < x.max() <= 1
    assert rows[-1].validation_accuracy is not None


def test_groups_have_their_own_rates() -> None:
    setup = kit_of(*SPEEDRUN, "training.epochs=2")
    rows = list(train_epochs(setup, [], Screen()))
    rates = [group["lr"] for group in setup.optimizer.param_groups]
    assert rates == pytest.approx([share * rows[-1].learning_rate for share in (1.0, 5.0, 2.0)])


def test_a_net_for_one_size_is_not_trained_on_another() -> None:
    with pytest.raises(UserError, match="cannot take images of 4 pixels"):
        kit_of("training.image_scales=[0.5, 1]")


def test_mean_and_std_are_of_the_training_part_alone() -> None:
    _, dataset = load_dataset(small("data.train=60"), False)
    assert (dataset.record.mean, dataset.record.std) == mean_std(dataset.parts.train.blocks())
    assert dataset.parts.validation is not None
    assert dataset.record.mean != mean_std(dataset.parts.validation.blocks())[0]


def test_initial_weights_come_from_the_seed_and_nothing_else() -> None:
    first = weights(kit_of())
    torch.manual_seed(99)
    assert torch.equal(weights(kit_of()), first)
    assert not torch.equal(weights(kit_of("seed=1")), first)


def test_a_kit_is_channels_last_and_in_the_precision_asked_for() -> None:
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        setup = kit_of(f"training.precision={precision}")
        kernels = [p for p in setup.model.parameters() if p.ndim == 4]
        assert len(kernels) == 2
        assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
        x, _, _ = next(training_batches(setup, 0))
        with setup.autocast():
            assert setup.model(x).dtype == dtype


def test_validation_is_augmented_where_the_recipe_says_so() -> None:
    plain, turned = kit_of(), kit_of("augment.validation=[{name='rotate', degrees=180}]")
    assert torch.equal(weights(plain), weights(turned))
    assert validate(plain, 0) == validate(plain, 1)
    assert validate(turned, 0) == validate(turned, 0)
    assert len({validate(plain, 0), validate(turned, 0), validate(turned, 1)}) == 3


def test_each_rank_draws_its_own_augmentation() -> None:
    setup = kit_of("augment.train=[{name='cutout', size=3}]")
    part = setup.parts.train
    alike = dataclasses.replace(part, pixels=part.pixels[:1].expand_as(part.pixels), rows=None)
    alike = dataclasses.replace(alike, labels=torch.zeros(len(alike.pixels), dtype=torch.int64))
    setup.parts = dataclasses.replace(setup.parts, train=alike)
    seen = []
    for rank in (0, 1):
        setup.world = World(rank, 2, torch.device("cpu"))
        x, _, whole = next(training_batches(setup, 0))
        assert (len(x), whole) == (25, 50)
        seen.append(x)
    assert not torch.equal(*seen)


class Unasked(World):
    """A rank whose partners are not there."""

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        return value


def test_each_epoch_and_rank_has_its_own_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    derive = loop.derive

    def watching(*key: object) -> int:
        asked.append(key)
        return derive(*key)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "derive", watching)
    setup = kit_of("training.epochs=2")
    setup.world = Unasked(1, 2, torch.device("cpu"))
    list(train_epochs(setup, [], Screen()))
    assert asked == [(0, "dropout", 0, 1), (0, "dropout", 1, 1)]


class Counting(Screen):
    """Counts the batches that were trained."""

    batches = 0

    def watch(self, batches: Iterable[T], epoch: int, steps: int) -> Iterator[T]:
        for batch in batches:
            self.batches += 1
            yield batch


def test_a_loss_that_is_no_number_is_noticed_within_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECK_EVERY", 3)
    setup, screen = kit_of(*BARE, "optim.lr=1e30", "training.batch_size=20"), Counting()
    with pytest.raises(Diverged, match="in epoch 1, by step"):
        list(train_epochs(setup, [], screen))
    assert screen.batches <= 6 < setup.steps_per_epoch
