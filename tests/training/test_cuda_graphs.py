"""Steps recorded as CUDA graphs: recorded where they can be, replayed on what is new, the same as plain steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from small import run, small

from rungs import data
from rungs.evaluate.device import open_device
from rungs.recipe.identity import changes, digest
from rungs.recipe.spec import Recipe
from rungs.run.record import RunRecord
from rungs.training import step
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.loop import train_epochs, train_together
from rungs.training.pack import join
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble
from rungs.training.step import WARM_UP, Stepper

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CPU, ONE, TWO = (World(0, size, torch.device(kind)) for size, kind in ((1, "cpu"), (1, "cuda"), (2, "cuda")))
SPEEDRUN = (
    "model={name='speedrun',widths=[8,16,16]}",
    "optim={name='muon',lr=0.1}",
    "data.image_size=16",
    "augment.train=[]",
)


def losses(record: RunRecord) -> list[float]:
    assert all(row.validation_loss is not None for row in record.history)
    return [loss or 0.0 for row in record.history for loss in (row.train_loss, row.validation_loss)]


def kit_of(recipe: Recipe, world: World = CPU) -> Setup:
    return assemble(*load_dataset(recipe, False, data.load("digits", recipe.data.image_size)), world)


@pytest.mark.parametrize(
    ("world", "wanted", "found"), [(CPU, True, False), (ONE, True, True), (TWO, True, False), (ONE, False, False)]
)
def test_one_gpu_records_unless_it_is_told_not_to(world: World, wanted: bool, found: bool) -> None:
    setup = kit_of(small(f"training.cuda_graphs={str(wanted).lower()}"))
    assert dataclasses.replace(setup, world=world).records is found


def test_a_run_is_the_same_run_recorded_or_not() -> None:
    recorded, plain = (small(f"training.cuda_graphs={choice}") for choice in ("true", "false"))
    assert recorded != plain and digest(recorded) == digest(plain)
    assert digest(recorded) != digest(small("training.batch_size=51")) and changes(plain) == ()


class FakeGraph:
    """What a GPU does, for a machine without one: to replay is to do again what was recorded, on the same memory."""

    recording: FakeGraph | None = None

    def __init__(self) -> None:
        self.again: Callable[[], None] = lambda: None

    def replay(self) -> None:
        self.again()


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, float, float, int]]:
    """Replace CUDA's graphs and `take_step`; return what steps saw: replayed?, first pixel, rate, first label."""
    seen: list[tuple[bool, float, float, int]] = []

    def take(setup: Setup, batch: torch.Tensor, labels: torch.Tensor, whole: int) -> torch.Tensor:
        rate = setup.optimizer.param_groups[0]["lr"]  # memory, if it is to be read again
        assert isinstance(rate, torch.Tensor)
        total = torch.zeros(3)

        def note(*, replayed: bool = True) -> None:
            seen.append((replayed, batch.flatten()[0].item(), round(rate.item(), 6), int(labels[0])))
            total.fill_(len(seen))

        if FakeGraph.recording is None:
            note(replayed=False)
        else:
            FakeGraph.recording.again = note
        return total

    @contextmanager
    def record(graph: FakeGraph, **_: object) -> Iterator[None]:
        FakeGraph.recording = graph
        yield
        FakeGraph.recording = None

    class Stream:
        def wait_stream(self, _other: object) -> None: ...

    monkeypatch.setattr(step, "take_step", take)
    for name, fake in {
        "CUDAGraph": FakeGraph, "graph": record, "Stream": Stream, "current_stream": Stream,
        "stream": lambda _: nullcontext(), "graph_pool_handle": lambda: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(Setup, "records", True)
    return seen


def test_a_recording_is_replayed_on_the_new_batch_at_the_new_rate(
    fake_gpu: list[tuple[bool, float, float, int]],
) -> None:
    setup = kit_of(small())
    take, expected = Stepper(setup), []
    for number in range(8):
        size = 3 if number == 6 else 4  # one batch of another size, too rare to be recorded
        setup.optimizer.param_groups[0]["lr"] = 0.1 * (1 + number)
        batch = torch.full((size, 3, 8, 8), float(number))
        total = take(batch, torch.full((size,), number), size)
        expected.append((size == 4 and number >= WARM_UP, float(number), round(0.1 * (1 + number), 6), number))
        assert total.tolist() == [number + 1.0] * 3
        assert setup.optimizer.param_groups[0]["lr"] == 0.1 * (1 + number)  # a number again, as checkpoints keep it
    assert fake_gpu == expected
    assert take.warm_up_s > 0


@GPU
@pytest.mark.parametrize(
    "fields",
    [
        (),  # dropout, mixup, clipping, a moving average
        ("training.batch_size=64", "training.micro_batch=20"),  # and a last batch of another size
        ("optim={name='adamw',lr=0.01}",),
        ("optim={name='adam',lr=0.01}",),
        ("optim={name='rmsprop',lr=0.01}",),
        SPEEDRUN,
        (*SPEEDRUN, "training.compile=yes"),
        (*SPEEDRUN, "training.image_scales=[0.5,1.0]", "training.precision=fp32"),
    ],
    ids=lambda fields: "-".join(fields)[:40],
)
def test_recorded_steps_compute_what_plain_ones_do(tmp_path: Path, fields: tuple[str, ...]) -> None:
    recorded, plain = (
        run(small(*fields, f"training.cuda_graphs={choice}"), tmp_path / choice) for choice in ("true", "false")
    )
    rounding = 1e-3 if "rmsprop" in str(fields) else 0.0  # torch divides by a rate in memory in another order
    assert losses(recorded) == pytest.approx(losses(plain), rel=rounding)
    assert sum(row.warm_up_s for row in recorded.history) > 0


@GPU
def test_a_recorded_pack_computes_what_its_members_do_alone() -> None:
    recipe = small("model.dropout=[]", "training.precision=fp32", "training.micro_batch=none")
    world, source = World(0, 1, open_device()), data.load("digits", None)

    def setups() -> list[Setup]:
        return [assemble(*load_dataset(replace(recipe, seed=seed), False, source), world) for seed in (0, 1)]

    alone = [tuple(train_epochs(setup, [], Screen())) for setup in setups()]
    together = join(setups())
    assert together.records
    for rows, own in zip(zip(*train_together(together, [], Screen()), strict=True), alone, strict=True):
        assert [row.train_loss for row in rows] == pytest.approx([row.train_loss for row in own], abs=1e-3)


@GPU
def test_a_resumed_recording_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    whole = run(small(), tmp_path / "whole")
    run(small(), tmp_path / "cut", stop_after=2)
    assert losses(run(small(), tmp_path / "cut", resume=True)) == losses(whole)
