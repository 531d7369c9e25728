"""A worker of a climb or a search is one process for all that it trains, and keeps freed memory as a run alone does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command import rungs

# when it is built, the net notes its process and the page faults of taking and freeing a block of 64 MB twenty times
NET = """
import os, resource
import torch
from torch import nn

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def churn():
    before = faults()
    for _ in range(20):
        torch.ones(16 << 20).add_(1)
    return faults() - before

def net(*, image_size, classes):
    churn()
    with open("noted", "a") as file:
        print(os.getpid(), churn(), file=file)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, classes))
"""
RECIPE = """
name = "mine"
data = { source = "digits", train = 100, validation = 50 }
model = { name = "net.py:net" }
optim = { name = "sgd", lr = 0.1 }
training = { epochs = 1, batch_size = 50 }
evaluation = { mistakes = 0, score_train = false }
"""
LADDER = """
name = "small"
about = "One rung."
base = "mine.toml"
builds_on = "base"
seeds = 3
[[rungs]]
name = "as-is"
about = "The base."
"""
SPACE = """
name = "rates"
about = "Rates."
[[fields]]
field = "optim.lr"
low = 0.01
high = 0.1
"""
CLIMB = ("climb", "small.toml", "--jobs", "1")
TUNE = ("tune", "mine.toml", "--space", "rates.toml", "--trials", "3", "--workers", "1", "--top", "1", "--seeds", "2")


@pytest.mark.dear
@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
@pytest.mark.parametrize(("words", "workers", "nets"), [(CLIMB, 1, 3), (TUNE, 2, 3 + 4)], ids=["climb", "tune"])
def test_a_worker_trains_many_and_keeps_freed_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], workers: int, nets: int
) -> None:
    for name, text in {"net.py": NET, "mine.toml": RECIPE, "small.toml": LADDER, "rates.toml": SPACE}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")  # huge pages would hide the faults
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr("rungs.study.search.finals.score_once", lambda *_: (None, ()))  # builds nets here
    rungs(*words, cwd=tmp_path)
    noted = [tuple(map(int, line.split())) for line in (tmp_path / "noted").read_text().splitlines()]
    assert len(noted) == nets
    assert len({pid for pid, _ in noted}) == workers  # tune's trials, then its re-runs
    pages = 64 * 256  # of a block; a few are fresh, where small ones took a piece of a freed one
    assert max(faults for _, faults in noted) < 10 * pages  # not kept, all twenty are
