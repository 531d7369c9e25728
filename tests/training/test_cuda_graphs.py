"""Steps recorded as CUDA graphs: asked for where they can be, and the same numbers as plain steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import run, small

from rungs.errors import UserError
from rungs.records import RunRecord
from rungs.training.device import World, pick_cuda_graphs

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


@pytest.mark.parametrize(
    ("choice", "world", "found"),
    [("auto", CPU, "no"), ("auto", ONE, "yes"), ("auto", TWO, "no"), ("no", ONE, "no"), ("yes", ONE, "yes")],
)
def test_one_gpu_records_unless_it_is_told_not_to(choice: str, world: World, found: str) -> None:
    assert pick_cuda_graphs(choice, world) == found


@pytest.mark.parametrize("world", [CPU, TWO])
def test_nobody_else_can_be_told_to(world: World) -> None:
    with pytest.raises(UserError, match="cuda graphs are for one GPU"):
        pick_cuda_graphs("yes", world)


@GPU
@pytest.mark.parametrize(
    "fields",
    [
        (),  # dropout, mixup, clipping, a moving average, a last batch of another size
        ("training.batch_size=64", "training.micro_batch=20"),
        ("optim={name='adamw',lr=0.01}",),
        ("optim={name='adam',lr=0.01}",),
        ("optim={name='rmsprop',lr=0.01}",),
        SPEEDRUN,
        (*SPEEDRUN, "training.image_scales=[0.5,1.0]", "training.precision=fp32"),
    ],
    ids=lambda fields: "-".join(fields)[:40],
)
def test_recorded_steps_compute_what_plain_ones_do(tmp_path: Path, fields: tuple[str, ...]) -> None:
    recorded, plain = (
        run(small(*fields, f"training.cuda_graphs={choice}"), tmp_path / choice) for choice in ("auto", "no")
    )
    assert (recorded.recipe.training.cuda_graphs, plain.recipe.training.cuda_graphs) == ("yes", "no")
    rounding = 1e-3 if "rmsprop" in str(fields) else 0.0  # torch divides by a rate in memory in another order
    assert losses(recorded) == pytest.approx(losses(plain), rel=rounding)
    assert sum(row.warm_up_s for row in recorded.history) > 0 == sum(row.warm_up_s for row in plain.history)


@GPU
def test_a_resumed_recording_is_the_run_that_never_stopped(tmp_path: Path) -> None:
    whole = run(small(), tmp_path / "whole")
    run(small(), tmp_path / "cut", stop_after=2)
    assert losses(run(small(), tmp_path / "cut", resume=True)) == losses(whole)
