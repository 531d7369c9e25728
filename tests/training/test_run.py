"""What a run leaves behind, and how it ends."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from command import UNDRAWN
from msgspec.structs import replace
from PIL import Image
from safetensors import safe_open
from small import SMALL, Told, run, small

from rungs import data
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.identity import digest
from rungs.recipe.toml import choose, load, parse, shipped
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow
from rungs.ship.bundle import load_weights
from rungs.ship.evaluate import evaluate
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.feed import scoring_batches
from rungs.training.interrupt import Interrupted
from rungs.training.run import Session
from rungs.training.setup import assemble


def wait_for_rows(process: subprocess.Popen[Any], history: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not history.exists() or len(history.read_bytes().splitlines()) < count:
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_folder_holds_what_the_record_says(tmp_path: Path) -> None:
    recipe = small()
    record = run(recipe, tmp_path)
    folder = RunDir(tmp_path)
    assert folder.read_record() == record
    assert record.status == "finished"
    rows = [msgspec.json.decode(line, type=EpochRow) for line in folder.history.read_bytes().splitlines()]
    assert tuple(rows) == record.history
    resolved = parse(folder.recipe.read_text(), "folder")
    assert resolved == record.recipe
    assert resolved.training.precision in ("bf16", "fp32")
    assert resolved.data.image_size == 8
    with safe_open(folder.weights, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["classes"]) == list(record.data.classes) == [str(d) for d in range(10)]
    assert tuple(json.loads(header["mean"])) == pytest.approx(record.data.mean)
    assert parse(header["recipe"], "weights") == resolved
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".") and path.name != ".lock"]


@pytest.mark.parametrize("decay", ["none", "0.9"])
def test_the_best_epoch_by_validation_is_what_the_test_set_scores(tmp_path: Path, decay: str) -> None:
    recipe = small(f"training.ema_decay={decay}", "optim.lr=0.3", "schedule.name=constant", "training.epochs=6")
    record = run(recipe, tmp_path)
    losses = [row.validation_loss for row in record.history]
    best = losses.index(min(losses))
    assert record.best_epoch == best + 1
    assert record.validation is not None
    assert record.validation.loss == pytest.approx(losses[best], abs=1e-12)
    assert record.validation.accuracy == record.history[best].validation_accuracy


def test_the_test_set_is_scored_once_and_on_the_best_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rungs.training.feed as feed

    visited: list[str] = []
    real = feed.batches

    def watching(part, *rest, **options):  # type: ignore[no-untyped-def]
        visited.append(part.hash)
        return real(part, *rest, **options)

    monkeypatch.setattr(feed, "batches", watching)
    recipe = small("training.epochs=3")
    _, dataset = load_dataset(recipe, False)
    record = run(recipe, tmp_path)
    assert dataset.parts.test is not None
    assert visited.count(dataset.parts.test.hash) == 1
    assert visited[-1] == dataset.parts.test.hash  # and last of all
    again = evaluate(load_weights(tmp_path))
    assert record.test is not None
    assert again.accuracy == record.test.accuracy
    assert again.loss == pytest.approx(record.test.loss, abs=1e-6)


def test_weights_that_are_not_finite_never_become_the_best(tmp_path: Path) -> None:
    wild = ["optim.lr=1e30", "training.clip_norm=none", "schedule.warmup_epochs=0", "training.epochs=2"]
    record = run(
        small(*wild, "data.validation=0", "data.train=40", "augment.train=[]", "schedule.name=constant"), tmp_path
    )
    assert record.status == "diverged"
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_net_that_says_no_numbers_of_the_test_set_has_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rungs.training import scoring

    real = scoring.score

    def broken(model, batches, autocast):  # type: ignore[no-untyped-def]
        logits, labels = real(model, batches, autocast)
        logits[3, 2] = float("nan")
        return logits, labels

    monkeypatch.setattr(scoring, "score", broken)
    record = run(small("training.epochs=1"), tmp_path)
    assert (record.status, record.test) == ("diverged", None)
    assert "not finite for 1 of" in record.ending
    assert RunDir(tmp_path).read_record() == record


def test_a_signal_waits_until_the_epoch_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Session.save

    def interrupted(session: Session, is_best: bool) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        real(session, is_best)

    monkeypatch.setattr(Session, "save", interrupted)
    with pytest.raises(Interrupted):
        run(small(), tmp_path)
    assert (tmp_path / "checkpoints" / "epoch-0001.ckpt").exists()
    assert len(RunDir(tmp_path).read_record().history) == 1


def test_leaks_between_the_parts_are_in_the_record(tmp_path: Path, photos: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(photos, tmp_path / "both" / part)
    extra = tmp_path / "both" / "test" / "circle" / "new.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(extra)
    recipe = small(f"data.source='folder:{tmp_path / 'both'}'", "data.image_size=16", "data.train=24")
    told = Told()
    record = run(replace(recipe, data=replace(recipe.data, validation=0.2)), tmp_path / "run", screen=told)
    n = sum(record.data.counts["train"]) + sum(record.data.counts["validation"])
    assert record.data.leaks == {"test": n}
    assert n < sum(record.data.counts["test"]) == 37
    assert any(line.startswith(f"a leak: {n} of 37 test images") for line in told.said)
    assert run(small("training.epochs=1"), tmp_path / "digits").data.leaks == {}


def test_images_that_look_like_training_images_are_in_the_record_with_their_names(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for part, first in (("train", 0), ("test", 0)):
        for name in ("a", "b"):
            (tmp_path / "both" / part / name).mkdir(parents=True)
            for i in range(first, 20):
                clouds = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                clouds.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "both" / part / name / f"{i}.png")
    for i in range(3):  # encoded again
        original = Image.open(tmp_path / "both" / "train" / "a" / f"{i}.png")
        original.save(tmp_path / "both" / "test" / "a" / f"copy{i}.jpg", quality=80)
    told = Told()
    source = f"data.source='folder:{tmp_path / 'both'}'"
    sized = ("data.image_size=32", "data.train=none", "data.validation=0.2", "training.epochs=1")
    record = run(small(source, *sized), tmp_path / "run", screen=told)
    assert record.data.leaks == {}
    assert record.data.near == {"test": 3}
    assert {Path(pair.image).name for pair in record.data.near_pairs} == {"copy0.jpg", "copy1.jpg", "copy2.jpg"}
    assert {Path(pair.other).name for pair in record.data.near_pairs} == {"0.png", "1.png", "2.png"}
    assert any(line.startswith("3 of 43 test images look like one in an earlier part") for line in told.said)


def test_nothing_to_watch_without_validation(tmp_path: Path) -> None:
    for change in ("stopping.patience=3", "schedule.name=plateau"):
        with pytest.raises(UserError, match="nothing to monitor"):
            run(small("data.validation=0", change), tmp_path / "run")
    assert not (tmp_path / "run").exists()  # a start that failed leaves nothing


def test_a_start_that_fails_leaves_none_of_the_folders_it_made(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for place in ("runs/here", "mine/runs/deep/here"):
        with pytest.raises(UserError, match="no such folder"):
            run(small("data.source=folder:nothere"), tmp_path / place)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    run(small(), tmp_path, stop_after=1)
    leftover = tmp_path / "checkpoints" / ".epoch-0002.ckpt.abc.rungs-tmp"
    leftover.write_bytes(b"half")
    run(small(), tmp_path, resume=True)
    assert not leftover.exists()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        run(small("training.epochs=1", seed), tmp_path / name)
        for name, seed in (("a", "seed=0"), ("b", "seed=0"), ("c", "seed=1"))
    )
    assert first.test == again.test
    assert first.fingerprint == again.fingerprint
    assert first.test != other.test
    assert first.data.hash != other.data.hash  # another split


def test_early_stopping_waits_its_patience(tmp_path: Path) -> None:
    recipe = small("stopping.patience=2", "stopping.min_delta=100.0", "training.epochs=9")
    record = run(recipe, tmp_path)
    assert len(record.history) == 3  # the first beats infinity, then two without a gain of 100
    assert "did not improve for 2 epochs" in record.ending
    assert record.test is not None
    impatient = run(small("stopping.patience=1", "stopping.min_delta=100.0", "training.epochs=9"), tmp_path / "other")
    assert impatient.ending == "validation_loss did not improve for 1 epoch"
    assert run(small("training.epochs=1"), tmp_path / "short").ending == "the only epoch of the recipe is done"


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = small(
        "optim.lr=1e30",
        "training.clip_norm=none",
        "schedule.name=step",
        "schedule.milestones=[1]",
        "schedule.gamma=1e-38",
        "augment.train=[]",
    )
    flat = msgspec.structs.replace(recipe, schedule=msgspec.structs.replace(recipe.schedule, warmup_epochs=0.0))
    record = run(flat, tmp_path / "first")
    assert record.status == "diverged"
    assert record.history == ()
    assert record.test is None
    assert "epoch 1" in record.ending

    # lr 1e-3 for one epoch, then 1e33: the first epoch's weights are kept and scored
    later = small(
        "optim.lr=1e-3",
        "training.clip_norm=none",
        "schedule.name=step",
        "schedule.milestones=[1]",
        "schedule.gamma=1e36",
    )
    later = msgspec.structs.replace(later, schedule=msgspec.structs.replace(later.schedule, warmup_epochs=0.0))
    record = run(later, tmp_path / "later")
    assert record.status == "diverged"
    assert [row.epoch for row in record.history] == [1]
    assert record.best_epoch == 1
    assert record.test is not None
    assert record.test.accuracy > 0.05
    assert RunDir(tmp_path / "later").weights.is_file()


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    record = run(small("data.validation=0", "training.epochs=2"), tmp_path)
    assert record.validation is None
    assert record.best_epoch == 2
    assert record.history[0].validation_loss is None
    assert record.test is not None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_done_and_the_run_goes_on(tmp_path: Path, signum: signal.Signals) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(SMALL)
    command = [*UNDRAWN, "train", str(recipe), "--out", str(tmp_path / "run")]
    command += ["--set", "training.epochs=400"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wait_for_rows(process, tmp_path / "run" / "history.jsonl", 3)
    process.send_signal(signum)
    _, screen = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, screen
    assert "--resume" in screen
    assert "Traceback" not in screen
    record = RunDir(tmp_path / "run").read_record()
    assert record.status == "interrupted"
    assert len(record.history) >= 3
    assert record.test is None
    resumed = run(
        parse(SMALL, "small", ["training.epochs=400"]),
        tmp_path / "run",
        resume=True,
        stop_after=len(record.history) + 1,
    )
    assert resumed.history[: len(record.history)] == record.history


def test_a_killed_process_leaves_a_folder_to_resume(tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(SMALL)
    command = [*UNDRAWN, "train", str(recipe), "--out", str(tmp_path / "run"), "--quiet"]
    process = subprocess.Popen([*command, "--set", "training.epochs=400"], env={**os.environ, "OMP_NUM_THREADS": "1"})
    history = tmp_path / "run" / "history.jsonl"
    wait_for_rows(process, history, 4)
    process.kill()
    process.wait()
    done = len(history.read_bytes().splitlines())
    resumed = run(parse(SMALL, "small", ["training.epochs=400"]), tmp_path / "run", resume=True, stop_after=done + 2)
    assert len(resumed.history) >= done + 1
    assert [row.epoch for row in resumed.history] == list(range(1, len(resumed.history) + 1))


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    folder.prepare()
    code = (
        "import sys, time; from rungs.run.folder import RunDir\n"
        "with RunDir(sys.argv[1]).locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training here"):
            run(small(), tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert run(small("training.epochs=1"), tmp_path).status == "finished"  # the lock went with its process


def test_a_folder_that_cannot_be_written_fails_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written"):
        run(small(), tmp_path / "file" / "run")


def test_skipped_files_are_in_the_record_and_stop_the_run_otherwise(tmp_path: Path, photos: Path) -> None:
    (photos / "circle" / "broken.jpg").write_text("no picture")
    recipe = small(f"data.source='folder:{photos}'", "data.image_size=16", "data.train=20", "data.validation=6")
    with pytest.raises(UserError, match=r"broken\.jpg"):
        run(recipe, tmp_path / "stop")
    record = run(recipe, tmp_path / "skip", skip_unreadable=True)
    assert [Path(problem.path).name for problem in record.data.skipped] == ["broken.jpg"]
    assert sum(sum(counts) for counts in record.data.counts.values()) <= 36


@pytest.mark.parametrize(
    ("source", "other", "what"),
    [
        ("digits", ["data.image_size=16"], "digits: not read as the recipe says: another image_size"),
        ("digits", ["data.interpolation=bilinear", "data.crop=0.9"], "another interpolation, crop"),
        ("digits", ["data.layout=class"], "another layout"),
        ("digits", ["data.image_column=file", "data.label_column=kind"], "another image_column, label_column"),
        ("cifar10", [], "cifar10: the images given are those of digits"),
    ],
)
def test_a_source_that_was_read_in_another_way_is_refused(source: str, other: list[str], what: str) -> None:
    opened = data.load("digits")
    load_dataset(small(), False, opened)
    load_dataset(small("data.image_size=8", "data.cache_gb=1.0"), False, opened)  # the same images
    with pytest.raises(UserError, match=what) as caught:
        load_dataset(small(f"data.source={source}", *other), False, opened)
    assert caught.value.do is not None
    module, _, name = caught.value.do.removesuffix("(recipe)").rpartition(" ")[2].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))  # the cure that is named exists


def test_the_net_sees_the_same_batches_whatever_came_before(tmp_path: Path) -> None:
    """Epoch 3 draws the same whether or not epochs 1 and 2 were drawn in this process."""
    from rungs.training.feed import training_batches

    recipe, dataset = load_dataset(small(), False)
    world = World(0, 1, open_device())
    fresh, used = assemble(recipe, dataset, world), assemble(recipe, dataset, world)
    for epoch in (0, 1):
        list(training_batches(used, epoch))
    for (x, y, n), (u, v, m) in zip(training_batches(fresh, 2), training_batches(used, 2), strict=True):
        assert n == m
        assert torch.equal(x, u)
        assert torch.equal(y, v)
    assert sum(len(y) for _, y in scoring_batches(fresh, fresh.parts.train)) == 400


def test_tensorboard_events(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = run(small("training.epochs=2"), tmp_path, tensorboard=True)
    events = event_accumulator.EventAccumulator(str(RunDir(tmp_path).events)).Reload()
    assert {"loss/train", "loss/validation", "accuracy/validation", "learning_rate"} <= set(events.Tags()["scalars"])
    logged = [event.value for event in events.Scalars("loss/train")]
    assert logged == pytest.approx([row.train_loss for row in record.history])
    assert events.Tags()["images"] == ["confusion/test"]


@pytest.mark.parametrize("name", sorted(shipped()))
@pytest.mark.parametrize(("source", "size"), [("digits", 8), ("folder", 41)])
def test_every_shipped_recipe_takes_any_source_and_size(
    tmp_path: Path, photos: Path, name: str, source: str, size: int
) -> None:
    """Parts are cut as `--data` does; one epoch of one step of a few images."""
    data = f"folder:{photos}" if source == "folder" else source
    quick = [f"data.image_size={size}", "training.epochs=1", "training.batch_size=2000"]
    quick += ["data.train=20", "data.validation=20", "data.test=20"] if source == "digits" else ["data.train=3"]
    if size == 8 and name in ("first-000", "net1-002"):  # without padding: nothing would be left of 8 pixels
        with pytest.raises(UserError, match="shrinks a map of"):
            run(choose(name, quick, data=data), tmp_path / "run")
        return
    record = run(choose(name, [*quick, "evaluation.score_train=false"], data=data), tmp_path / "run")
    assert record.status == "finished"
    assert record.data.image_size == size
    assert record.history[0].step == 1
    assert set(record.data.counts) == {"train", "validation", "test"}


def test_the_digest_ignores_what_changes_nothing() -> None:
    recipe = load("lab-003")
    assert digest(recipe) == digest(msgspec.structs.replace(recipe, name="x", assumptions=(), claims=()))
    assert digest(recipe) != digest(load("lab-003", ["optim.lr=0.02"]))
