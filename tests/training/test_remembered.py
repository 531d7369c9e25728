"""What this machine is like: measured once, kept; which precision is fast; whether freed memory is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from filelock import Timeout
from torch import nn

from rungs.errors import UserError
from rungs.models.efficientnet_lite import EfficientNetLite
from rungs.recipe.toml import load
from rungs.run.folder import RunDir
from rungs.training import precision
from rungs.training.device import open_world
from rungs.training.memory import SWITCH, keep_freed_memory
from rungs.training.options import RunOptions
from rungs.training.remembered import remembered
from rungs.training.run import run_recipe


def test_an_answer_is_measured_once_a_machine(cache_home: Path) -> None:
    assert remembered("how fast?", float, lambda: 2.5) == 2.5
    assert remembered("how fast?", float, lambda: 9.0) == 2.5
    assert remembered("how slow?", float, lambda: 9.0) == 9.0


def only_answer(cache_home: Path) -> Path:
    (path,) = (cache_home / "rungs" / "measured").glob("*.json")
    return path


def test_an_answer_that_is_not_enough_is_measured_again_and_replaced(cache_home: Path) -> None:
    remembered("how fast?", float, lambda: 2.5)
    assert remembered("how fast?", float, lambda: 3.5, accept=lambda answer: answer > 2) == 2.5
    assert remembered("how fast?", float, lambda: 3.5, accept=lambda answer: answer > 3) == 3.5
    assert remembered("how fast?", float, lambda: 9.0) == 3.5


def test_of_those_who_ask_at_once_one_measures(cache_home: Path) -> None:
    measured: list[float] = []

    def measure() -> float:
        time.sleep(0.2)
        measured.append(len(measured) + 1.0)
        return measured[-1]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: remembered("how fast?", float, measure), range(4)))
    assert measured == [1.0]
    assert answers == [1.0] * 4


HOLD = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_process_that_dies_while_it_measures_holds_up_nobody(cache_home: Path) -> None:
    remembered("how fast?", float, lambda: 2.5)
    path = only_answer(cache_home)
    path.unlink()
    words = [sys.executable, "-c", HOLD, str(path.with_suffix(".lock"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as measuring:
        assert measuring.stdout is not None and measuring.stdout.readline() == b"held\n"
        with pytest.raises(Timeout):
            remembered("how fast?", float, lambda: 3.5, wait_s=0.1)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(remembered, "how fast?", float, lambda: 4.5)
            time.sleep(0.2)
            assert not waiting.done()
            measuring.kill()
            assert waiting.result(timeout=30) == 4.5


def test_a_damaged_answer_is_measured_again(cache_home: Path) -> None:
    remembered("how fast?", float, lambda: 2.5)
    path = only_answer(cache_home)
    for content in (b"", b"{}", b'{"answer": "fast"}'):
        path.write_bytes(content)
        assert remembered("how fast?", float, lambda: 3.5) == 3.5


def test_without_a_cache_it_is_measured_each_time(cache_home: Path) -> None:
    (cache_home / "rungs").write_text("a file where the folder should be")
    assert remembered("how fast?", float, lambda: 2.5) == 2.5
    assert remembered("how fast?", float, lambda: 9.0) == 9.0


def test_without_a_home_folder_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise UserError("no home folder", where="~/.cache", do="set XDG_CACHE_HOME")

    monkeypatch.setattr("rungs.training.remembered.cache_dir", nowhere)
    assert remembered("how fast?", float, lambda: 2.5) == 2.5


@pytest.mark.parametrize(
    ("gain", "chosen"), [(0.5, "fp32"), (1.4, "fp32"), (1.46, "fp32"), (1.6, "bf16"), (6.0, "bf16")]
)
def test_bf16_is_chosen_where_it_is_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(precision, "_bf16_gain", lambda: gain)
    picked, reason = precision.pick_precision("auto", torch.device("cpu"))
    assert picked == chosen
    assert f"{gain} times as fast" in reason
    assert reason.endswith("bf16 is used at 1.5 times or more")


@pytest.mark.parametrize(("gain", "chosen"), [(0.8, "fp32"), (1.1, "fp32"), (1.17, "fp32"), (1.3, "bf16")])
def test_a_depthwise_net_goes_by_a_depthwise_block(monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(precision, "_bf16_gain", lambda: 6.0)
    monkeypatch.setattr(precision, "_depthwise_gain", lambda: gain)
    picked, reason = precision.pick_precision("auto", torch.device("cpu"), depthwise=True)
    assert picked == chosen
    assert f"a depthwise block in bf16 is {gain} times as fast" in reason
    assert reason.endswith("bf16 is used at 1.2 times or more")


def test_which_nets_are_depthwise() -> None:
    assert precision.is_mostly_depthwise(EfficientNetLite(width=0.25, depth=0.5))
    dense, depthwise = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4)
    assert not precision.is_mostly_depthwise(nn.Sequential(dense, depthwise, nn.Conv2d(4, 4, 1)))
    assert not precision.is_mostly_depthwise(nn.Linear(4, 4))


def test_measuring_a_block_draws_no_random_numbers_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "BLOCK", (2, 4, 6, 6))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert precision._measured_block_gain() > 0
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_a_resumed_run_keeps_its_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load("digits-quick", ["training.epochs=1"])
    monkeypatch.setattr(precision, "_fast_bf16", lambda device, depthwise: (False, "slow"))
    with open_world() as world:
        first = run_recipe(recipe, RunDir(tmp_path), world)
        (tmp_path / "run.json").unlink()
        monkeypatch.setattr(precision, "_fast_bf16", lambda device, depthwise: (True, "fast"))
        second = run_recipe(recipe, RunDir(tmp_path), world, RunOptions(resume=True))
    assert (first.environment.precision, first.environment.precision_reason) == ("fp32", "slow")
    assert (second.environment.precision, second.environment.precision_reason) == ("fp32", "chosen when the run began")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_was_done_with_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert keep_freed_memory().startswith("kept when freed")
    monkeypatch.setenv("LD_PRELOAD", "libjemalloc.so.2")
    assert keep_freed_memory() == "left to libjemalloc.so.2"
    monkeypatch.setenv(SWITCH, "no")
    assert "RUNGS_KEEP_MEMORY=no" in keep_freed_memory()


FAULTS = """
import ctypes, resource, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: huge pages would hide the faults
from rungs.training.device import open_world
from rungs.training.memory import SWITCH, keep_freed_memory
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def churn():
    before = faults()
    for _ in range(5):
        torch.ones(16 << 20).add_(1)  # 64 MB
    return faults() - before
with open_world():
    churn()
    print(churn())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept() -> None:
    faults = {}
    for keep in ("yes", "no"):
        env = {**os.environ, "RUNGS_KEEP_MEMORY": keep}
        env.pop("GLIBC_TUNABLES", None)
        done = subprocess.run([sys.executable, "-c", FAULTS], env=env, capture_output=True, text=True, check=True)
        faults[keep] = int(done.stdout)
    assert faults["no"] > 5 * 1000  # 16,384 pages each time
    assert faults["yes"] < 1000
