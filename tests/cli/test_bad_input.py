"""Bad input gets a clear message (what, where, what to do), exit code 2, no traceback; nothing is lost."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import rungs, rungs_process
from conftest import draw_photos
from safetensors.torch import load_file
from small import SMALL

QUICK = ["--set", "training.epochs=1", "--set", "data.train=40", "--set", "data.validation=20", "--quiet"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def refused(home: Path, *arguments: str | Path, saying: tuple[str, ...]) -> str:
    """Run a command that must exit with 2, say these words, and leave no run behind."""
    done = rungs(*arguments, cwd=home, code=2)
    for words in saying:
        assert words in done.stderr, done.stderr
    assert "->" in done.stderr  # what to do
    assert not list(home.glob("run*/weights.safetensors"))
    return done.stderr


def train(home: Path, *arguments: str | Path, saying: tuple[str, ...]) -> str:
    return refused(home, "train", "small.toml", "--out", "run", *QUICK, *arguments, saying=saying)


def test_recipes(home: Path) -> None:
    refused(home, "train", "lab-03", saying=("no recipe 'lab-03'", "did you mean 'lab-003'"))
    train(home, "--set", "optim.lrate=1", saying=("optim.lrate", "no such field", "allowed:"))
    train(home, "--set", "optim.lr=high", saying=("optim.lr", "float", "high"))


def test_missing_data_names_the_ways_out(home: Path) -> None:
    train(home, "--data", "folder:nowhere", saying=("nowhere",))
    train(home, "--data", "cifar11", saying=("cifar11", "cifar10"))
    offline = {"RUNGS_DATA": "", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    flags = ["train", "small.toml", "--out", "run", *QUICK, "--data", "cifar10"]
    text = rungs(*flags, cwd=home, env=offline, code=2).stderr
    for way in ("cifar10:PATH", "RUNGS_DATA", "digits"):
        assert way in text


@pytest.mark.needs_cifar
def test_a_truncated_cifar_file(home: Path) -> None:
    copy = home / "cifar-10-batches-py"
    shutil.copytree(Path(os.environ["RUNGS_DATA"]) / "cifar-10-batches-py", copy)
    batch = copy / "data_batch_3"
    batch.chmod(0o644)
    batch.write_bytes(batch.read_bytes()[:1_000_000])
    train(home, "--data", f"cifar10:{copy}", saying=("data_batch_3",))


@pytest.mark.needs_cifar
def test_a_pickle_with_a_fourth_global_is_not_run(home: Path) -> None:
    copy = home / "cifar-10-batches-py"
    shutil.copytree(Path(os.environ["RUNGS_DATA"]) / "cifar-10-batches-py", copy)
    batch = copy / "data_batch_1"
    batch.chmod(0o644)

    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.system, (f"touch {home / 'owned'}",)

    batch.write_bytes(pickle.dumps({b"x": Evil(), b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]}, protocol=3))
    train(home, "--data", f"cifar10:{copy}", saying=("data_batch_1", "system"))
    assert not (home / "owned").exists()


def test_class_folders(home: Path) -> None:
    photos = draw_photos(home / "photos")
    (photos / "empty").mkdir()
    train(home, "--data", "folder:photos", saying=("empty",))
    shutil.rmtree(photos / "empty")
    for name in ("cross", "square"):
        shutil.rmtree(photos / name)
    train(home, "--data", "folder:photos", saying=("one class",))


def bomb() -> bytes:
    """Return a PNG of 60,000 x 60,000 black pixels in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.jpg", b"just some text\n"), ("nothing.png", b""), ("bomb.png", bomb())],
    ids=["text", "empty", "bomb"],
)
def test_files_that_are_no_images(home: Path, name: str, content: bytes) -> None:
    photos = draw_photos(home / "photos")
    (photos / "cross" / name).write_bytes(content)
    text = train(home, "--data", "folder:photos", "--set", "data.train=12", saying=(name, "--skip-unreadable"))
    assert "1 file" in text
    flags = ["train", "small.toml", "--out", "skip", *QUICK, "--data", "folder:photos", "--skip-unreadable"]
    rungs(*flags, "--set", "data.train=12", "--set", "data.validation=6", cwd=home)
    done = rungs("predict", "skip", f"photos/cross/{name}", "photos/cross/01.png", cwd=home, code=2)
    assert name in done.stderr
    assert "01.png" in done.stdout  # the good one is still answered


def test_weights_of_another_model_and_of_other_classes(home: Path) -> None:
    for name, width in (("one", "8"), ("two", "12")):
        rungs("train", "small.toml", "--out", name, *QUICK, "--set", f"model.stages=[[{width}]]", cwd=home)
    draw_photos(home / "photos")
    refused(home, "evaluate", "one", "--data", "folder:photos", saying=("classes differ", "circle"))
    shutil.copy(home / "two" / "weights.safetensors", home / "one" / "weights.safetensors")
    refused(home, "predict", "one", "photos/cross/01.png", saying=("recipe inside these weights differs",))
    (home / "two" / "weights.safetensors").write_bytes(b"not weights")
    refused(home, "evaluate", "two", saying=("not a complete safetensors file",))
    refused(home, "predict", "nowhere", "photos/cross/01.png", saying=("no such run",))
    refused(
        home,
        "report",
        "photos",
        saying=("neither run.json nor folds.json nor ladder.json", "nor bench.json here", "a range test or a bench"),
    )
    refused(home, "train", "small.toml", "--out", "twoo", "--resume", saying=("twoo", "no run to resume here"))


@pytest.fixture
def tiny_disk() -> Iterator[Path]:
    """A disk of 30 MB."""
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.dear
def test_a_full_disk(home: Path, tiny_disk: Path) -> None:
    big = ["--set", "model.hidden=[4096]", "--set", "data.image_size=32"]  # some 17 MB of weights
    done = rungs("train", "small.toml", "--out", tiny_disk / "run", *QUICK, *big, cwd=home, code=2)
    assert "MB free" in done.stderr  # said before training

    # room at the start, none later: the run's earlier epochs survive and go on elsewhere
    flags = ["train", "small.toml", "--out", str(tiny_disk / "late"), "--set", "data.train=40"]
    rungs(*flags, "--quiet", cwd=home)
    shutil.rmtree(tiny_disk / "late")
    ballast = tiny_disk / "ballast"
    script = (
        "import sys; from pathlib import Path; from rungs import errors, train\n"
        "def fill(row):\n"
        "    if row.epoch == 2:\n"
        "        with open(sys.argv[2], 'wb') as f:\n"
        "            try:\n"
        "                while True: f.write(bytes(65536)); f.flush()\n"
        "            except OSError: pass\n"
        "    return True\n"
        "try: train('small.toml', ['data.train=40'], folder=sys.argv[1], keep_going=fill)\n"
        "except errors.UserError as e: print(e)\n"
    )
    done2 = subprocess.run(
        [sys.executable, "-c", script, tiny_disk / "late", ballast],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "No space left on device" in done2.stdout, done2.stdout + done2.stderr
    ballast.unlink()
    done = rungs(*flags, "--resume", cwd=home)
    assert "resuming after epoch 2" in done.stderr


def test_a_users_own_files_are_not_written_over(home: Path) -> None:
    for name in ("report.html", "weights.safetensors", "checkpoints/epoch-0001.ckpt"):
        mine = home / "mine" / name
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text("mine")
        rungs("train", "small.toml", *QUICK, "--out", "mine", cwd=home, code=2)
        assert mine.read_text() == "mine"
        mine.unlink()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("name=../../out", "name"),
        ("optim.name=[1]", "optim.name"),
        ("model.stages.0.0.x=1", "is a value"),
        ("optim..lr=1", "not an assignment"),
        ("optim.lr=inf", "optim.lr"),
        ("schedule.warmup_epochs=inf", "warmup_epochs"),
        ("augment.validation=[{name='mixup'}]", "cannot be mixed"),
        ("model.hidden=[100000000000]", "not enough memory"),
    ],
)
def test_absurd_overrides(home: Path, override: str, words: str) -> None:
    train(home, "--set", override, saying=(words,))


def test_odd_recipes_and_paths(home: Path) -> None:
    (home / "binary.toml").write_bytes(b"\xff\xfe\x00")
    refused(home, "train", "binary.toml", saying=("not a text file",))
    refused(home, "train", "a" * 300, saying=("no recipe",))
    refused(home, "show", "lab-003", "--classes", "0", saying=("--classes",))
    refused(home, "data", "digits", "--image-size", "-4", saying=("--image-size",))
    refused(home, "predict", "nowhere", "x.png", "--json", "--csv", saying=("two output formats",))


def test_names_beyond_ascii(home: Path) -> None:
    folder = draw_photos(home / "bilder mit ünï 😀 :cat:")
    sets = ["--set", "data.train=20", "--set", "data.validation=6", "--set", "training.epochs=1"]
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    flags = ["train", "small.toml", "--data", f"folder:{folder.name}", "--out", "run", *sets]
    assert "test accuracy" in rungs(*flags, cwd=home, env=ascii_only).stdout
    picture = folder / "circle" / ":cat:.png"
    picture.write_bytes((folder / "circle" / "01.png").read_bytes())
    assert ":cat:.png" in rungs("predict", "run", picture, cwd=home).stdout
    assert "\\xfc" in rungs_process("predict", "run", picture, cwd=home, env=ascii_only).stdout


def test_what_is_no_file_is_not_read(home: Path) -> None:
    rungs("train", "small.toml", "--out", "run", *QUICK, cwd=home)
    done = rungs("predict", "run", "/dev/zero", home, "x" * 300, cwd=home, code=2)
    assert "not a regular file" in done.stderr
    assert "File name too long" in done.stderr


def test_damaged_parts_of_a_run_are_mended_or_named(home: Path) -> None:
    flags = ["train", "small.toml", "--out", "run", *QUICK]
    rungs(*flags, cwd=home)
    weights = load_file(home / "run" / "weights.safetensors")
    (home / "run" / "weights.safetensors").unlink()
    (home / "run" / "run.json").write_text("{garbage")
    refused(home, "report", "run", saying=("run.json", "not a RunRecord"))
    rungs(*flags, "--resume", cwd=home)
    again = load_file(home / "run" / "weights.safetensors")
    assert all(torch.equal(tensor, again[name]) for name, tensor in weights.items())
    rungs("report", "run", cwd=home)
    newest = max((home / "run" / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes().replace(b"rungs checkpoint 4", b"rungs checkpoint 3", 1))
    done = rungs(*flags, "--resume", cwd=home, code=2)
    assert "another version" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(home: Path) -> None:
    command = f"{sys.executable} -m rungs list; echo code $? >&2"
    done = subprocess.run(["bash", "-c", f"({command}) | head -1"], capture_output=True, text=True, cwd=home)
    assert done.stderr.strip() == "code 0"
