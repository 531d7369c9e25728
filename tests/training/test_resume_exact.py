"""A run that is stopped and resumed is, bit for bit, the run that was never stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from resumed import require_equal, without_times
from safetensors.torch import load_file
from small import Told, run, small

from rungs.diagnose import examine
from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.training import checkpoint
from rungs.training.run import Session

SPEEDRUN = (
    "model.name=speedrun", "model.widths=[8, 12, 12]", "optim.name=muon", "optim.lr=0.1", "schedule.name=linear",
    "data.image_size=12", "data.train=210", "training.image_scales=[0.5, 0.75, 1]", "training.micro_batch=20",
)  # fmt: skip
"""Images of 6, 9, 12 and 12 pixels in four epochs: it is resumed where their size changes."""


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("optim.name=adamw", "optim.lr=0.002", "schedule.name=cosine"),
        ("optim.name=rmsprop", "optim.lr=0.002", "schedule.name=plateau", "schedule.patience=1"),
        SPEEDRUN,
    ],
    ids=["sgd", "adamw", "rmsprop-plateau", "muon-speedrun"],
)
def test_two_and_two_epochs_equal_four(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    recipe = small(*overrides)
    straight = run(recipe, tmp_path / "straight")
    half = run(recipe, tmp_path / "halves", stop_after=2)
    assert half.status == "interrupted"
    assert len(half.history) == 2
    resumed = run(recipe, tmp_path / "halves", resume=True)

    assert without_times(resumed.history) == without_times(straight.history)
    assert resumed.test == straight.test
    assert resumed.best_epoch == straight.best_epoch
    a, _ = checkpoint.restore(RunDir(tmp_path / "straight"))
    b, _ = checkpoint.restore(RunDir(tmp_path / "halves"))
    assert a is not None
    assert b is not None
    for name in ("model", "optimizer", "ema", "best"):
        assert require_equal(getattr(a, name), getattr(b, name), name) > 3
    weights = [load_file(tmp_path / folder / "weights.safetensors") for folder in ("straight", "halves")]
    assert require_equal(*weights) > 3


def test_a_damaged_newest_checkpoint_is_passed_over_and_said(tmp_path: Path) -> None:
    recipe = small()
    straight = run(recipe, tmp_path / "straight")
    run(recipe, tmp_path / "run", stop_after=3)
    newest = sorted((tmp_path / "run" / "checkpoints").glob("*.ckpt"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1  # one bit, somewhere in the tensors
    newest.write_bytes(data)
    told = Told()
    resumed = run(recipe, tmp_path / "run", resume=True, screen=told)
    assert any("epoch-0003.ckpt is damaged" in line for line in told.said)
    assert "resuming after epoch 2" in told.said
    assert without_times(resumed.history) == without_times(straight.history)


def test_all_checkpoints_damaged_is_an_error(tmp_path: Path) -> None:
    run(small(), tmp_path, stop_after=2)
    for path in (tmp_path / "checkpoints").glob("*.ckpt"):
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        run(small(), tmp_path, resume=True)


def test_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(small(), tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["epoch-0003.ckpt", "epoch-0004.ckpt"]


@pytest.mark.parametrize("change", ["optim.lr=0.06", "seed=1", "training.epochs=5"])
def test_another_recipe_in_the_same_folder_is_refused(tmp_path: Path, change: str) -> None:
    run(small(), tmp_path, stop_after=1)
    with pytest.raises(UserError, match=f"another recipe: {change.partition('=')[0]} differ"):
        run(small(change), tmp_path, resume=True)
    shutil.rmtree(tmp_path / "checkpoints")  # recipe.toml still says whose folder this is
    with pytest.raises(UserError, match="another recipe"):
        run(small(change), tmp_path, resume=True)


def test_checkpoints_alone_hold_a_run(tmp_path: Path) -> None:
    run(small(), tmp_path, stop_after=2)
    for name in ("recipe.toml", "run.json", "history.jsonl", "weights.safetensors"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match="holds a run already"):
        run(small("seed=1"), tmp_path)
    with pytest.raises(UserError, match="another recipe"):
        run(small("seed=1"), tmp_path, resume=True)
    assert len(run(small(), tmp_path, resume=True).history) == 4


def test_a_kill_between_checkpoint_and_weights_leaves_the_right_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = run(small(), tmp_path / "straight")
    best = straight.best_epoch
    assert best is not None

    def killed(session: Session) -> None:
        if len(session.progress.rows) == best:
            raise ZeroDivisionError("killed")

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Session, "write_best", killed)
        run(small(), tmp_path / "run")
    run(small(), tmp_path / "run", resume=True)
    weights = [load_file(tmp_path / folder / "weights.safetensors") for folder in ("straight", "run")]
    assert require_equal(*weights) > 3


def test_other_data_in_the_same_folder_are_refused(tmp_path: Path, photos: Path) -> None:
    recipe = small(f"data.source='folder:{photos}'", "data.image_size=16", "data.train=20", "data.validation=6")
    run(recipe, tmp_path / "run", stop_after=1)
    next((photos / "circle").iterdir()).write_bytes(next((photos / "square").iterdir()).read_bytes())
    with pytest.raises(UserError, match="another data"):
        run(recipe, tmp_path / "run", resume=True)


def test_a_folder_with_a_run_needs_resume(tmp_path: Path) -> None:
    finished = run(small(), tmp_path)
    with pytest.raises(UserError, match="holds a run already"):
        run(small(), tmp_path)
    told = Told()
    assert run(small(), tmp_path, resume=True, screen=told) == finished
    assert any("is finished" in line for line in told.said)


def test_a_resume_under_other_code_is_said_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(small(), tmp_path, stop_after=2)
    assert len(first.code) == 1
    monkeypatch.setattr("rungs.training.run.code_version", lambda: "9.9.9+other")
    told = Told()
    record = run(small(), tmp_path, resume=True, screen=told)
    assert any("the code changed since" in line for line in told.said)
    assert record.code == (*first.code, f"rungs 9.9.9+other, torch {torch.__version__}")
    assert any(finding.rule == "mixed-code" for finding in examine(record))


def test_a_run_that_stopped_early_is_not_trained_further(tmp_path: Path) -> None:
    recipe = small("stopping.patience=2", "stopping.min_delta=100.0", "training.epochs=9")
    record = run(recipe, tmp_path)
    (tmp_path / "run.json").unlink()  # as if it had been killed while the test set was scored
    again = run(recipe, tmp_path, resume=True)
    assert again.history == record.history
    assert again.test == record.test
