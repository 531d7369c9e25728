"""What is kept of an epoch while it trains: the losses of its tenths, and how mixed its batches are."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from small import small
from torch import Tensor

from rungs import data
from rungs.training import feed
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.loop import train_epochs, train_together
from rungs.training.pack import join
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

ALONE = World(0, 1, torch.device("cpu"))
PLAIN = ("augment.train=[]", "training.precision=fp32", "training.convolution=direct", "training.ema_decay=none",
         "optim.nesterov=false")  # fmt: skip


def setup_of(*overrides: str, seed: int = 0) -> Setup:
    recipe = replace(small(*PLAIN, *overrides), seed=seed)
    return assemble(*load_dataset(recipe, False, data.load(recipe.data.source, None)), ALONE)


@pytest.mark.parametrize(("batch", "parts"), [(40, 10), (17, 10), (100, 4), (400, 1)])
def test_the_tenths_of_an_epoch_add_up_to_it(batch: int, parts: int) -> None:
    setup = setup_of(f"training.batch_size={batch}", "training.epochs=1")
    (row,) = train_epochs(setup, [], Screen())
    assert len(row.tenths) == parts
    ends = [400 * (k + 1) // parts for k in range(parts)]
    if 400 % (batch * parts) == 0:  # parts of equal size
        assert sum(row.tenths) / parts == pytest.approx(row.train_loss, rel=1e-9)
    assert min(row.tenths) <= row.train_loss <= max(row.tenths) and ends[-1] == 400


def test_batches_of_one_class_are_told_from_mixed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of("training.batch_size=10", "training.epochs=1")
    (mixed,) = train_epochs(setup, [], Screen())
    by_class = setup.parts.train.labels.argsort(stable=True)
    monkeypatch.setattr(feed, "order", lambda n, seed, epoch: by_class[:n])
    (sorted_,) = train_epochs(setup_of("training.batch_size=10", "training.epochs=1"), [], Screen())
    assert mixed.class_share is not None and mixed.class_share < 0.5
    assert sorted_.class_share is not None and sorted_.class_share > 0.9


@pytest.mark.parametrize("augments", ["[]", "[{name='mixup'}]"])
def test_the_members_of_a_pack_keep_what_they_keep_alone(augments: str) -> None:
    overrides = ("training.batch_size=20", "training.epochs=1", f"augment.train={augments}")
    alone = [next(train_epochs(setup_of(*overrides, seed=seed), [], Screen())) for seed in (0, 3)]
    together = next(train_together(join([setup_of(*overrides, seed=seed) for seed in (0, 3)]), [], Screen()))
    for own, row in zip(alone, together, strict=True):
        assert not isinstance(row, Exception)
        assert row.tenths == pytest.approx(own.tenths, rel=1e-3)
        assert row.class_share == pytest.approx(own.class_share)


def test_ranks_add_up_their_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks that do the same have the same means: all sums are doubled."""
    setup = setup_of("training.batch_size=40", "training.epochs=1")
    (row,) = train_epochs(setup, [], Screen())
    twice = setup_of("training.batch_size=40", "training.epochs=1")

    def doubled(self: World, value: Tensor) -> Tensor:
        return value * 2

    monkeypatch.setattr(World, "sum", doubled)
    (both,) = train_epochs(twice, [], Screen())
    assert both.tenths == row.tenths and both.class_share == row.class_share and both.train_loss == row.train_loss
