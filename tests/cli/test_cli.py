"""The command line as a user meets it: what it prints and leaves behind, with its exit codes."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from command import rungs, rungs_process
from small import SMALL

from rungs.run.folder import RunDir


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small recipe on photos of shapes, in a folder that also holds the photos."""
    from conftest import draw_photos

    home = tmp_path_factory.mktemp("home")
    draw_photos(home / "photos")
    (home / "small.toml").write_text(SMALL)
    sets = ["data.image_size=24", "data.train=20", "data.validation=6", "training.batch_size=10"]
    flags = [word for s in sets for word in ("--set", s)]
    done = rungs("train", "small.toml", "--data", "folder:photos", "--out", "run", *flags, cwd=home)
    assert "test accuracy" in done.stdout
    assert "report: run/report.html" in done.stdout
    assert "epoch 4/4" in done.stderr
    return home


def test_a_process_of_its_own_prints_and_exits_as_it_should(tmp_path: Path) -> None:
    """What the other tests do without; `rungs` in this process must say the same."""
    for words, code in ((["list", "recipes"], 0), (["show", "lab-03"], 2), (["train", "--no-such-flag"], 2)):
        alone, here = rungs_process(*words, cwd=tmp_path, code=code), rungs(*words, cwd=tmp_path, code=code)
        assert (alone.stdout, alone.stderr) == (here.stdout, here.stderr)
        assert bool(alone.stdout) == (code == 0) and bool(alone.stderr) == (code == 2)


def test_the_default_folder_is_new_each_time_and_resumes_the_last(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    short = ["train", "small.toml", "--set", "training.epochs=1", "--quiet"]
    assert rungs(*short, cwd=tmp_path).stdout == ""
    rungs(*short, cwd=tmp_path)
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(folders) == 2
    assert folders[1] == folders[0] + "-2"
    done = rungs(*short[:-1], "--resume", cwd=tmp_path)
    assert f"{folders[1]} is finished" in done.stderr
    rungs("train", "small.toml", "--set", "training.epochs=1", "--out", f"runs/{folders[0]}", cwd=tmp_path, code=2)


def test_predictions_in_three_forms(trained: Path) -> None:
    photos = sorted((trained / "photos").rglob("*.*"))[::9]
    table = rungs("predict", "run", *photos, cwd=trained).stdout
    assert all(photo.name in table for photo in photos)
    as_json = json.loads(rungs("predict", "run", *photos, "--json", cwd=trained).stdout)
    rows = list(csv.DictReader(io.StringIO(rungs("predict", "run", *photos, "--csv", cwd=trained).stdout)))
    assert len(as_json) == len(rows) == len(photos)
    for prediction, row in zip(as_json, rows, strict=True):
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert (
            prediction["label"] == row["label"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
        )
        assert float(row["probability"]) == pytest.approx(prediction["probability"], abs=1e-5)
        assert float(row["circle"]) == pytest.approx(prediction["probabilities"]["circle"], abs=1e-5)


def test_evaluating_again_gives_the_record(trained: Path) -> None:
    record = RunDir(trained / "run").read_record()
    again = json.loads(rungs("evaluate", "run", "--json", cwd=trained).stdout)
    assert record.test is not None
    assert again["n"] == record.test.n
    assert again["accuracy"] == record.test.accuracy
    assert again["loss"] == pytest.approx(record.test.loss, abs=1e-6)
    every = json.loads(
        rungs("evaluate", "run", "--data", "folder:photos", "--part", "all", "--json", cwd=trained).stdout
    )
    assert every["n"] == 36
    assert "circle" in rungs("evaluate", "run", cwd=trained).stdout


def test_the_report_is_rebuilt_from_the_record_alone(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((trained / "run" / "run.json").read_bytes())
    done = rungs("report", tmp_path)
    assert done.stdout.strip() == f"report: {tmp_path / 'report.html'}"
    assert (tmp_path / "report.html").read_bytes() == (trained / "run" / "report.html").read_bytes()
    assert {p.suffix for p in (tmp_path / "figures").iterdir()} == {".svg", ".png"}


def test_data_lists_what_is_wrong_and_writes_a_sheet(trained: Path) -> None:
    photos = trained / "photos"
    (photos / "cross" / "zero.png").write_bytes(b"")
    (photos / "cross" / "twin.png").write_bytes((photos / "cross" / "01.png").read_bytes())
    try:
        text = rungs("data", "folder:photos", "--sheet", "sheet.png", cwd=trained).stdout
    finally:
        (photos / "cross" / "zero.png").unlink()
        (photos / "cross" / "twin.png").unlink()
    lines = text.splitlines()
    assert "empty photos/cross/zero.png: empty file" in lines
    assert "duplicate photos/cross/twin.png: the same bytes as cross/01.png" in lines
    assert "2 unreadable, empty, duplicate or doubtful files" in lines
    assert (trained / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_data_quotes_names_that_blanks_end_and_counts_a_single_file(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "photos", tmp_path / "photos")
    (tmp_path / "photos/cross/zero.png").write_bytes(b"")
    lines = rungs("data", "folder:photos", cwd=tmp_path).stdout.splitlines()
    assert "1 unreadable, empty, duplicate or doubtful file" in lines
    (tmp_path / "photos/cross").rename(tmp_path / "photos/circle ")
    table = [line.split() for line in rungs("data", "folder:photos", cwd=tmp_path).stdout.splitlines()]
    assert ["'circle", "'", "12"] in table and ["circle", "12"] in table


def test_data_says_how_a_folder_is_read(trained: Path, tmp_path: Path) -> None:
    for day in ("monday", "tuesday"):
        shutil.copytree(trained / "photos", tmp_path / "days" / day)
    asked = rungs("data", "folder:days", cwd=tmp_path, code=2).stderr
    assert "which level is the class" in asked and "--layout part/class: 3 classes, circle (24 images)" in asked
    told = rungs("data", "folder:days", "--layout", "part/class", "--sheet", "sheet.png", cwd=tmp_path).stdout
    assert "no folder has the name of a part: all images of monday and tuesday are training images" in told.splitlines()


def test_a_folder_is_predicted_and_a_set_without_a_class_scored(trained: Path) -> None:
    files = sorted((trained / "photos" / "cross").iterdir())
    table = rungs("predict", "run", "photos/cross", cwd=trained).stdout
    assert all(file.name in table for file in files)
    (trained / "some" / "cross").mkdir(parents=True)
    for file in files:
        shutil.copy(file, trained / "some" / "cross")
    text = rungs("evaluate", "run", "--data", "folder:some", cwd=trained).stdout
    assert "no images of circle, square" in text.splitlines() and f"n = {len(files)}" in text


@pytest.mark.needs_cifar
def test_data_says_that_cifar_10_is_canonical(tmp_path: Path) -> None:
    text = rungs("data", "cifar10", "--sheet", "sheet.png", cwd=tmp_path).stdout
    assert "the canonical data set" in text
    assert "50,000" in text
    assert "airplane" in text


@pytest.mark.drawn(png=True)
def test_list_show_and_doctor(tmp_path: Path) -> None:
    listed = rungs("list").stdout
    for name in ("digits-quick", "lab-003", "resnet18", "plain", "cifar100", "parquet", "cutmix"):
        assert name in listed
    assert "cutmix" not in rungs("list", "recipes").stdout
    shown = rungs("show", "lab-003", "--set", "optim.lr=0.5", "--out", tmp_path).stdout
    assert "lr = 0.5" in shown
    assert "2,192,010" in shown
    assert "# not set: data." in shown
    assert "training.micro_batch, training.clip_norm, training.ema_decay, stopping.patience" in shown
    assert (tmp_path / "lab-003-layers.svg").exists()
    assert (tmp_path / "lab-003-layers.png").read_bytes().startswith(b"\x89PNG")
    rungs("show", "digits-quick", "--augment", "--out", tmp_path)
    assert (tmp_path / "digits-quick-augmented.png").read_bytes().startswith(b"\x89PNG")
    told = rungs("doctor").stdout
    for word in ("device", "precision", "cores", "torch", "cifar10"):
        assert word in told


def test_the_python_api(trained: Path, tmp_path: Path) -> None:
    import rungs as package

    record = package.train("digits-quick", ["training.epochs=1", "data.train=200"], seed=3, folder=tmp_path / "run")
    assert record.recipe.seed == 3
    assert (tmp_path / "run" / "report.html").exists()
    classifier = package.load(trained / "run")
    photo = next((trained / "photos" / "square").iterdir())
    (prediction,) = classifier.predict([photo])
    assert prediction.label in classifier.classes == ("circle", "cross", "square")


def test_a_diverged_run_exits_with_1_and_leaves_its_report(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    wild = ["--set", "optim.lr=1e30", "--set", "training.clip_norm=none", "--set", "schedule.warmup_epochs=0"]
    done = rungs("train", "small.toml", "--out", "run", *wild, cwd=tmp_path, code=1)
    assert "diverged" in done.stdout
    assert (tmp_path / "run" / "report.html").exists()
