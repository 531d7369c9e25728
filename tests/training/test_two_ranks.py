"""Two real processes under torchrun train as one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bank import Bank
from command import rungs
from safetensors.torch import load_file
from small import SMALL

from rungs.run.folder import RunDir

EXACT = ["augment.train=[]", "model.batch_norm=false", "model.dropout=[]", "training.precision=fp32"]
EXACT += ["data.train=389", "training.batch_size=51"]  # batches that two ranks cannot halve, and a smaller last one
"""Without what is drawn or averaged per rank, two ranks compute the same sums as one."""

MUON = [
    *EXACT,
    "optim.name=muon",
    "data.train=193",
    "training.batch_size=43",
    "training.micro_batch=20",
    "training.epochs=2",
    "data.balance=sampling",
    "training.class_weights=[1,1,1,1,1,1,1,1,1,4]",
]
"""Ranks take 21 and 22 images, in one piece and in two: a last one of a single image joins the one before it."""

SESSION = """
import json, os, sys
from pathlib import Path
import undrawn_rungs
from rungs.report import style
style.save = undrawn_rungs.save

def probe(out):
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
        Path(out, f"{world.rank}.json").write_text(json.dumps(state))

def resume(recipe, folder, stop):
    import rungs
    rungs.train(recipe, folder=folder, resume=True, keep_going=lambda row: row.epoch != int(stop))

def command(*words):
    from rungs.cli.main import main
    sys.argv = ["rungs", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code

for port, what, *words in json.loads(sys.argv[1]):
    os.environ |= {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}  # ranks meet anew each time
    {"probe": probe, "resume": resume, "rungs": command}[what](*words)
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not any("gloo" in name for name in threads), threads  # at the end of Python they may abort the process
"""
"""What the ranks do, one thing after the other: to start them takes longer than most of it."""


def torchrun(home: Path, jobs: list[list[str]]) -> None:
    """Let two ranks do some jobs: a name of the functions in `SESSION`, and its arguments."""
    (home / "session.py").write_text(SESSION)
    words = json.dumps([[free_port(), *job] for job in jobs])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command += [str(home / "session.py"), words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def train(folder: Path, recipe: Path, overrides: list[str]) -> list[str]:
    """Return the words of a training."""
    return ["train", str(recipe), "--out", str(folder), *(w for override in overrides for w in ("--set", override))]


@pytest.fixture
def home(bank: Bank) -> Path:
    """Give a folder in which two ranks have done all that is tested here."""
    return bank.folder("two-ranks", train_all)


def train_all(home: Path) -> None:
    recipe = home / "small.toml"
    recipe.write_text(SMALL)
    for name in ("probe", "exact", "muon"):
        (home / name).mkdir()
    jobs = [
        ["rungs", *train(home / "exact" / "2", recipe, EXACT)],
        ["rungs", *train(home / "muon" / "2", recipe, MUON)],
        ["rungs", *train(home / "everything", recipe, ["training.epochs=2"])],
        ["probe", str(home / "probe")],
        ["resume", str(recipe), str(home / "straight"), "0"],
        ["resume", str(recipe), str(home / "halves"), "2"],
    ]
    torchrun(home, jobs)
    torchrun(home, [["resume", str(recipe), str(home / "halves"), "0"]])  # in new processes


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


@pytest.mark.parametrize(("name", "overrides"), [("exact", EXACT), ("muon", MUON)])
def test_two_ranks_equal_one_at_the_same_global_batch(home: Path, name: str, overrides: list[str], bank: Bank) -> None:
    bank.folder(
        f"two-ranks/{name}/1",
        lambda folder: rungs(*train(folder, home / "small.toml", overrides)),
    )
    require_equal(home / name)


def test_two_ranks_train_with_everything_on(home: Path) -> None:
    record = RunDir(home / "everything").read_record()
    assert record.status == "finished"
    assert record.test is not None
    assert record.test.n == sum(record.data.counts["test"])
    assert (home / "everything" / "report.html").is_file()


def test_buffers_agree_and_every_image_is_seen_once(home: Path) -> None:
    zero, one = (json.loads((home / "probe" / f"{rank}.json").read_text()) for rank in (0, 1))
    assert zero["before"] != one["before"]
    assert zero["after"] == one["after"]
    assert zero["after"] == pytest.approx([(a + b) / 2 for a, b in zip(zero["before"], one["before"], strict=True)])
    assert sorted(zero["seen"] + one["seen"]) == list(range(23))


def test_two_ranks_resume_exactly(home: Path) -> None:
    """With BatchNorm and a moving average, whose statistics differ from rank to rank within an epoch."""
    straight, halves = (RunDir(home / folder).read_record() for folder in ("straight", "halves"))
    assert len(halves.history) == 4
    assert [row.validation_loss for row in halves.history] == [row.validation_loss for row in straight.history]
    assert halves.test == straight.test
    first, second = (load_file(home / folder / "weights.safetensors") for folder in ("straight", "halves"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
