"""A pack trains each of its runs as it would be trained alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from small import run, small

from rungs import data
from rungs.errors import UserError
from rungs.models import fast_convolution
from rungs.models.stacked import DropoutGenerators, unstackable
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.ship.bundle import load_weights
from rungs.training import convolutions, feed, loop, pack, pack_run
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.interrupt import Interrupted
from rungs.training.loop import Diverged, train_epochs, train_together
from rungs.training.pack import join, unpackable
from rungs.training.pack_run import run_pack
from rungs.training.run import Session
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

ALONE = World(0, 1, torch.device("cpu"))
SHORT = (
    "training.precision=fp32",
    "training.epochs=2",
    "data.train=150",
    "data.validation=50",
    "evaluation.mistakes=0",
)
EXACT = ("epoch", "step", "learning_rate")
CLOSE = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy")
PLAIN = ("training.clip_norm=none", "training.ema_decay=none", "augment.train=[]", "model.dropout=[]")
NETS = {
    "layered": "model={name='layered',convs=[{channels=6,pool='max',norm='after'},{channels=8,kernel_size=3,padding=1,"
    "pool='average',activation='sigmoid'}],linears=[{features=16,norm='before',affine=false,dropout=0.2}]}",
    "mix": "model={name='mixconv',channels=[6,8],convs=[2,3],combine='mix-softmax',batch_norm=true,pool=true}",
    "resnet": "model={name='resnet18',stem='cifar',width=8}",
    "strided": "model={name='plain',stages=[[6],[8]],hidden=[16],downsample='stride',dilation=2,feature_dropout=0.1}",
}


def kits_of(recipe: Recipe, *seeds: int) -> list[Setup]:
    return [assemble(*load_dataset(replace(recipe, seed=seed), False), ALONE) for seed in seeds]


def recipe_of(*overrides: str) -> Recipe:
    return small(*SHORT, *overrides)


def require_alike(ours: tuple[EpochRow, ...], theirs: tuple[EpochRow, ...], tolerance: float = 1e-4) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert [getattr(one, name) for name in EXACT] == [getattr(other, name) for name in EXACT]
        for name in CLOSE:
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=tolerance), name


def state_of(setup: Setup) -> dict[str, torch.Tensor]:
    """All that a checkpoint keeps of a run: weights, buffers, moving average, the optimiser's states."""
    found = dict(setup.model.state_dict())
    if setup.ema is not None:
        found |= {f"ema.{name}": tensor for name, tensor in setup.ema.state_dict().items()}
    for i, state in setup.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{i}.{key}": value for key, value in state.items() if value is not None}
    return found


@pytest.mark.parametrize(
    "overrides",
    [
        (),  # SGD with Nesterov's momentum and decay, BatchNorm, dropout, augmentation, mixup, a clipped norm, an EMA
        ("optim={name='adamw',lr=0.003,weight_decay=0.1}", "training.clip_norm=0.5", "evaluation.watch_test=true"),
        (*PLAIN, "optim={name='adam',lr=0.003,weight_decay=0.01}", "training.loss=nll"),
        (*PLAIN, "optim={name='rmsprop',lr=0.001}", "data.validation=0"),
        ("data.balance=sampling", "training.class_weights=[1,2,1,1,1,1,1,1,1,5]"),
        (*PLAIN, "optim={name='sgd',lr=0.05}", "training.loss=softmax-cross-entropy",
         "augment.validation=[{name='flip'}]"),
        *[(net, "optim={name='sgd',lr=0.01}") for net in NETS.values()],
    ],
    ids=["sgd", "adamw", "adam", "rmsprop", "balanced", "bare", *NETS],
)  # fmt: skip
def test_each_run_of_a_pack_is_the_run_alone(overrides: tuple[str, ...]) -> None:
    recipe = recipe_of(*overrides)
    alone, members = kits_of(recipe, 0, 1, 7), kits_of(recipe, 0, 1, 7)
    expected = [tuple(train_epochs(setup, [], Screen())) for setup in alone]
    together = join(members)
    histories = list(zip(*train_together(together, [], Screen()), strict=True))
    together.copy_to_members()
    assert len({rows[-1].train_loss for rows in expected}) == 3
    for rows, own, setup, member in zip(histories, expected, alone, members, strict=True):
        require_alike(rows, own, 0.011 if "resnet" in recipe.model.__class__.__name__.lower() else 1e-4)
        assert [row.packed for row in rows] == [3, 3] and [row.packed for row in own] == [1, 1]
        wanted, found = state_of(setup), state_of(member)
        assert wanted.keys() == found.keys()
        for name, tensor in wanted.items():
            assert found[name].stride() == tensor.stride(), name
            assert torch.allclose(found[name].double(), tensor.double(), rtol=1e-2, atol=2e-3), name


@pytest.mark.parametrize("augment", ["[]", "[{name='crop',padding=1}]"])
def test_the_images_of_a_pack_come_in_one_fetch_where_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch, augment: str
) -> None:
    recipe = recipe_of(f"augment.train={augment}")
    source = data.load(recipe.data.source, recipe.data.image_size)
    setups = [assemble(*load_dataset(replace(recipe, seed=seed), False, source), ALONE) for seed in (0, 1, 7)]
    pack_of_three = join(setups)
    for epoch in range(recipe.training.epochs):
        expected = list(feed.together([feed.training_batches(setup, epoch) for setup in setups]))
        found = list(feed.batches_of_members(pack_of_three, epoch))
        assert len(found) == len(expected) > 1
        for (x, y, whole), (images, labels, size) in zip(found, expected, strict=True):
            assert torch.equal(x, images) and torch.equal(y, labels) and whole == size
    asked: list[int] = []
    monkeypatch.setattr(feed, "training_batches", lambda setup, epoch: iter(asked.append(epoch) or ()))
    list(feed.batches_of_members(pack_of_three, 0))
    assert len(asked) == (3 if "crop" in augment else 0)


@pytest.mark.parametrize(("dropout", "records"), [("[0.1]", False), ("[]", True)])
def test_a_pack_that_draws_dropout_is_not_recorded_as_a_cuda_graph(dropout: str, records: bool) -> None:
    gpu = World(0, 1, torch.device("cuda"))
    setups = [dataclasses.replace(setup, world=gpu) for setup in kits_of(recipe_of(f"model.dropout={dropout}"), 0, 1)]
    assert join(setups).records is records and setups[0].records


WIDE = (
    "model={name='plain',stages=[[64,64]],hidden=[],batch_norm=true}", "optim={name='sgd',lr=0.05}",
    "data.image_size=12", "data.train=100", "data.validation=20", "training.convolution=winograd",
)  # fmt: skip
"""A net whose second layer is computed the Winograd way."""


def test_a_pack_computes_directly_what_runs_alone_compute_the_winograd_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []
    way = fast_convolution.conv3x3

    def watched(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        taken.append(tuple(weight.shape))
        return way(x, weight)

    monkeypatch.setattr(fast_convolution, "conv3x3", watched)
    recipe = recipe_of(*WIDE)
    alone, members = kits_of(recipe, 0, 1), kits_of(recipe, 0, 1)
    assert {setup.recipe.training.convolution for setup in (*alone, *members)} == {"winograd"}
    expected = [tuple(train_epochs(setup, [], Screen())) for setup in alone]
    assert set(taken) == {(64, 64, 3, 3)}
    taken.clear()
    together = join(members)
    histories = list(zip(*train_together(together, [], Screen()), strict=True))
    together.copy_to_members()
    assert not taken
    assert len({rows[-1].train_loss for rows in expected}) == 2
    for rows, own, setup, member in zip(histories, expected, alone, members, strict=True):
        require_alike(rows, own)
        wanted, found = state_of(setup), state_of(member)
        assert wanted.keys() == found.keys()
        for name, tensor in wanted.items():
            assert torch.allclose(found[name].double(), tensor.double(), rtol=1e-3, atol=1e-4), name


def test_bf16_is_bf16_in_a_pack() -> None:
    recipe = recipe_of("training.precision=bf16", "training.epochs=1")
    alone, members = kits_of(recipe, 0, 1), kits_of(recipe, 0, 1)
    expected = [next(train_epochs(setup, [], Screen())) for setup in alone]
    together = join(members)
    seen: list[torch.dtype] = []
    together.trained.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    (rows,) = train_together(together, [], Screen())
    assert set(seen) == {torch.bfloat16}
    for row, own in zip(rows, expected, strict=True):
        assert isinstance(row, EpochRow)
        assert row.train_loss == pytest.approx(own.train_loss, rel=1e-2)


def test_a_run_that_diverges_leaves_its_neighbour_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECK_EVERY", 2)
    recipe = recipe_of("optim={name='adam',lr=0.003}")
    alone, (healthy, sick, well) = kits_of(recipe, 0, 2), kits_of(recipe, 0, 1, 2)
    with torch.no_grad():
        next(sick.model.parameters()).fill_(torch.inf)
    together = join([healthy, sick, well])
    first, second = train_together(together, [], Screen())
    together.copy_to_members()
    for ended in (first, second):
        assert isinstance(ended[1], Diverged)
    assert str(first[1]) == "the training loss stopped being finite in epoch 1, by step 2"
    for setup, member, position in zip(alone, (healthy, well), (0, 2), strict=True):
        require_alike((first[position], second[position]), tuple(train_epochs(setup, [], Screen())))  # type: ignore[arg-type]
        assert all(torch.isfinite(tensor).all() for tensor in member.model.state_dict().values())
        wanted = setup.model.state_dict()
        assert all(torch.allclose(t, wanted[name], atol=1e-3) for name, t in member.model.state_dict().items())


def test_each_net_draws_the_dropout_that_it_draws_alone() -> None:
    dice = DropoutGenerators()
    dice.seed([3, 4], torch.device("cpu"))
    drawn = [dice.masks(torch.ones(5, 2, 7), 0.4) for _ in range(2)]
    for i, seed in enumerate((3, 4)):
        torch.manual_seed(seed)
        for masks in drawn:
            assert torch.equal(masks[:, i], torch.nn.functional.dropout(torch.ones(5, 7), 0.4))
    assert not torch.equal(drawn[0][:, 0], drawn[0][:, 1])


def folders(root: Path, many: int) -> list[RunDir]:
    return [RunDir(root / str(seed)) for seed in range(many)]


def packed(recipe: Recipe, root: Path, many: int = 3) -> list[RunRecord]:
    recipes = [replace(recipe, seed=seed) for seed in range(many)]
    results = run_pack(recipes, folders(root, many), ALONE)
    assert all(isinstance(result, RunRecord) for result in results)
    return results  # type: ignore[return-value]


def require_same_runs(recipe: Recipe, records: list[RunRecord], root: Path, home: Path) -> None:
    for seed, record in enumerate(records):
        own = run(replace(recipe, seed=seed), home / f"alone-{seed}")
        require_alike(record.history, own.history)
        told = ("status", "ending", "best_epoch", "fingerprint", "recipe", "data", "model")
        assert [getattr(record, name) for name in told] == [getattr(own, name) for name in told]
        assert record.test is not None and own.test is not None
        assert record.test.loss == pytest.approx(own.test.loss, abs=1e-4)
        assert RunDir(root / str(seed)).read_record() == record
        places = (root / str(seed), home / f"alone-{seed}")
        names = [sorted(path.relative_to(top).as_posix() for path in top.rglob("*")) for top in places]
        assert names[0] == names[1]
        nets = [load_weights(top, torch.device("cpu")).model for top in places]
        for one, other in zip(*(net.state_dict().values() for net in nets), strict=True):
            assert torch.allclose(one.double(), other.double(), atol=1e-3)


def test_a_pack_leaves_the_folders_that_runs_alone_leave_and_each_stops_at_its_own_time(tmp_path: Path) -> None:
    recipe = recipe_of("training.epochs=6", "stopping.patience=1", "stopping.monitor=validation_accuracy")
    records = packed(recipe, tmp_path / "pack")
    assert len({len(record.history) for record in records}) > 1, "choose another rate: all stop at the same time"
    require_same_runs(recipe, records, tmp_path / "pack", tmp_path)


class Stop(Exception):  # noqa: N818
    """Whatever ends a process."""


def stop_at(monkeypatch: pytest.MonkeyPatch, seed: int, epoch: int, error: Callable[[], BaseException]) -> None:
    """End the pack where it would keep an epoch of one run: those before it have it, those after it do not."""
    keep = Session.end_epoch

    def stopping(session: Session, row: EpochRow) -> int | None:
        if (session.setup.recipe.seed, row.epoch) == (seed, epoch):
            raise error()
        return keep(session, row)

    monkeypatch.setattr(Session, "end_epoch", stopping)


def test_a_pack_that_was_cut_off_between_two_runs_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("training.epochs=3")
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 2, Stop)
        with pytest.raises(Stop):
            packed(recipe, tmp_path / "pack")
    stands = [len(folder.history.read_text().splitlines()) for folder in folders(tmp_path / "pack", 3)]
    assert stands == [2, 1, 1]
    groups: list[int] = []
    join_before = pack.join
    monkeypatch.setattr(pack_run, "join", lambda setups: groups.append(len(setups)) or join_before(setups))
    records = packed(recipe, tmp_path / "pack")
    assert groups == [2, 3]  # those behind catch up first
    assert [[row.packed for row in record.history] for record in records] == [[3, 3, 3], [3, 2, 3], [3, 2, 3]]
    require_same_runs(recipe, records, tmp_path / "pack", tmp_path)
    again = packed(recipe, tmp_path / "pack")
    assert again == records and groups == [2, 3]  # nothing is trained twice


def test_a_run_that_began_alone_with_fast_convolutions_goes_on_in_a_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    monkeypatch.setattr(convolutions, "_measured", lambda *_: {"torch": 2.0, "strips": 1.0})
    recipe = recipe_of()
    begun = run(recipe, tmp_path / "pack" / "0", stop_after=1)
    records = packed(recipe, tmp_path / "pack", many=2)
    assert [record.status for record in records] == ["finished"] * 2
    assert [record.recipe.training.convolution for record in records] == ["fast", "direct"]
    assert records[0].environment.convolutions == begun.environment.convolutions != ()
    assert records[1].environment.convolutions == ()
    assert [[row.packed for row in record.history] for record in records] == [[1, 2], [1, 2]]


def test_a_signal_leaves_every_run_of_a_pack_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("training.epochs=3")
    with monkeypatch.context() as patch:
        stop_at(patch, 0, 2, lambda: Interrupted(15))
        with pytest.raises(Interrupted):
            packed(recipe, tmp_path / "pack", many=2)
    records = [folder.read_record() for folder in folders(tmp_path / "pack", 2)]
    assert [(record.status, len(record.history)) for record in records] == [("interrupted", 1)] * 2
    alone = run(replace(recipe, seed=1), tmp_path / "pack" / "1", resume=True)  # alone, too, it can go on
    assert [row.packed for row in alone.history] == [2, 1, 1]
    require_alike(alone.history, run(replace(recipe, seed=1), tmp_path / "alone").history)


def test_a_folder_that_is_taken_costs_its_own_run_alone(tmp_path: Path) -> None:
    recipe = recipe_of("training.epochs=1")
    taken, *_ = places = folders(tmp_path, 2)
    taken.prepare()
    with taken.locked():
        failed, record = run_pack([replace(recipe, seed=seed) for seed in range(2)], places, ALONE)
    assert isinstance(failed, UserError) and "another process" in str(failed)
    assert isinstance(record, RunRecord) and record.status == "finished"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("schedule={name='plateau'}",), "plateau schedule"),
        (("model={name='mixconv',channels=[4],convs=[2],dropout=0.1}",), "dropout of whole maps"),
    ],
)
def test_what_cannot_be_packed_says_why(overrides: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    recipe = recipe_of(*overrides)
    assert reason in (unpackable(recipe) or "")
    with pytest.raises(UserError, match=reason):
        packed(recipe, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_field_that_packs_do_not_know_keeps_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unpackable(recipe_of()) is None
    monkeypatch.setitem(pack.KNOWN, "training", pack.KNOWN["training"].replace("clip_norm ", ""))
    assert unpackable(recipe_of()) == "packs do not support training.clip_norm"
    assert unpackable(recipe_of("training.clip_norm=none")) is None
    assert "in their fold" in (unpackable(recipe_of("training.clip_norm=none", "data.folds=3")) or "")
    monkeypatch.setattr(pack, "OPTIMIZERS", ("adam",))
    assert "sgd is not element-wise" in (unpackable(recipe_of("training.clip_norm=none")) or "")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (torch.nn.GroupNorm(1, 4), "GroupNorm"),
        (torch.nn.Dropout2d(), "Dropout2d"),
        (torch.nn.Conv2d(4, 4, 1, groups=2), "groups"),
        (torch.nn.BatchNorm2d(4, momentum=None), "moving average"),
    ],
)
def test_a_layer_that_cannot_be_stacked_is_named(layer: torch.nn.Module, reason: str) -> None:
    assert unstackable(torch.nn.Sequential(torch.nn.ReLU())) is None
    assert reason in (unstackable(torch.nn.Sequential(layer)) or "")


def test_runs_that_differ_in_more_than_their_seed_or_span_ranks_are_refused() -> None:
    one, other = kits_of(recipe_of(), 0)[0], kits_of(recipe_of("optim.lr=0.01"), 1)[0]
    with pytest.raises(UserError, match="differ in more than their seed"):
        join([one, other])
    ranks: Any = dataclasses.replace(one, world=World(0, 2, torch.device("cpu")))
    with pytest.raises(UserError, match="several ranks"):
        join([ranks, one])
    assert join([one]) is one
