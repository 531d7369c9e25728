"""Two real processes under torchrun train as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command import rungs
from safetensors.torch import load_file
from small import SMALL

from rungs.run.folder import RunDir

EXACT = ["augment.train=[]", "model.batch_norm=false", "model.dropout=[]", "training.precision=fp32"]
EXACT += ["data.train=389", "training.batch_size=51"]  # batches that two ranks cannot halve, and a smaller last one
"""Without what is drawn or averaged per rank, two ranks compute the same sums as one."""

PROBE = """
import json, sys
import torch
from rungs.data.batches import batches, order
from rungs.data.imageset import ImageSet
from rungs.models.normalized import Normalized
from rungs.training.device import open_world
with open_world() as world:
    net = Normalized(torch.nn.Sequential(torch.nn.BatchNorm2d(3)), (0, 0, 0), (1, 1, 1))
    net(torch.full((4, 3, 2, 2), float(world.rank)) + torch.rand(4, 3, 2, 2))
    before = net.net[0].running_mean.tolist()
    world.share_buffers(net)
    n = 23
    part = ImageSet(torch.zeros(n, 3, 8, 8, dtype=torch.uint8), torch.arange(n), ("x",), "")
    parts = batches(part, order(n, 0, 0), 7, rank=world.rank, ranks=world.size)
    seen = [int(i) for _, y, _, _ in parts for i in y]
    state = {"before": before, "after": net.net[0].running_mean.tolist(), "seen": seen}
    open(f"{sys.argv[1]}/{world.rank}.json", "w").write(json.dumps(state))
"""


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)


def train(folder: Path, recipe: Path, ranks: int, overrides: list[str]) -> None:
    words = ["train", str(recipe), "--out", str(folder), *(w for override in overrides for w in ("--set", override))]
    if ranks == 1:
        rungs(*words)
        return
    done = torchrun("-m", "rungs", *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def require_equal(home: Path) -> None:
    """Compare the runs of one rank and of two."""
    one, two = (RunDir(home / str(ranks)).read_record() for ranks in (1, 2))
    assert (one.environment.ranks, two.environment.ranks) == (1, 2)
    assert two.test is not None
    for a, b in zip(one.history, two.history, strict=True):
        assert a.step == b.step
        assert a.train_loss == pytest.approx(b.train_loss, abs=1e-4)
        assert a.validation_loss == pytest.approx(b.validation_loss, abs=1e-4)
        assert a.train_accuracy == pytest.approx(b.train_accuracy, abs=1e-9)
    first, second = (load_file(home / str(ranks) / "weights.safetensors") for ranks in (1, 2))
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], atol=1e-4), name


@pytest.mark.usefixtures("undrawn")
def test_two_ranks_equal_one_at_the_same_global_batch(tmp_path: Path, recipe: Path) -> None:
    for ranks in (1, 2):
        train(tmp_path / str(ranks), recipe, ranks, EXACT)
    require_equal(tmp_path)


MICRO = ["data.train=193", "training.batch_size=43", "training.micro_batch=20", "training.epochs=2"]
"""Ranks take 21 and 22 images, in one piece and in two: a last one of a single image joins the one before it."""


@pytest.mark.usefixtures("undrawn")
def test_two_ranks_equal_one_with_muon_and_micro_batches(tmp_path: Path, recipe: Path) -> None:
    for ranks in (1, 2):
        train(tmp_path / str(ranks), recipe, ranks, [*EXACT, *MICRO, "optim.name=muon"])
    require_equal(tmp_path)


def test_two_ranks_train_with_everything_on(tmp_path: Path, recipe: Path) -> None:
    train(tmp_path / "run", recipe, 2, ["training.epochs=2"])
    record = RunDir(tmp_path / "run").read_record()
    assert record.status == "finished"
    assert record.test is not None
    assert record.test.n == sum(record.data.counts["test"])
    assert (tmp_path / "run" / "report.html").is_file()


def test_buffers_agree_and_every_image_is_seen_once(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(PROBE)
    done = torchrun(str(script), str(tmp_path))
    assert done.returncode == 0, done.stderr
    zero, one = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert zero["before"] != one["before"]
    assert zero["after"] == one["after"]
    assert zero["after"] == pytest.approx([(a + b) / 2 for a, b in zip(zero["before"], one["before"], strict=True)])
    assert sorted(zero["seen"] + one["seen"]) == list(range(23))


HALVES = """
import sys
from pathlib import Path
import rungs
folder, stop = sys.argv[2], int(sys.argv[3])
rungs.train(sys.argv[1], folder=folder, resume=True, keep_going=lambda row: row.epoch != stop)
threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
assert not any("gloo" in name for name in threads), threads  # at the end of Python they may abort the process
"""


def test_two_ranks_resume_exactly(tmp_path: Path, recipe: Path) -> None:
    """With BatchNorm and a moving average, whose statistics differ from rank to rank within an epoch."""
    script = tmp_path / "halves.py"
    script.write_text(HALVES)
    for folder, stop in (("straight", 0), ("halves", 2), ("halves", 0)):
        done = torchrun(str(script), str(recipe), str(tmp_path / folder), str(stop))
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
    straight, halves = (RunDir(tmp_path / folder).read_record() for folder in ("straight", "halves"))
    assert len(halves.history) == 4
    assert [row.validation_loss for row in halves.history] == [row.validation_loss for row in straight.history]
    assert halves.test == straight.test
    first, second = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("straight", "halves"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
