"""A training that is killed at any moment goes on, and ends as if nothing had been."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace
from safetensors.torch import load_file
from small import run, small

from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord

MOMENTS = 50


def without_times(record: RunRecord) -> list[EpochRow]:
    return [replace(row, train_s=0, validation_s=0, images_per_s=0, warm_up_s=0) for row in record.history]


@pytest.mark.dear
def test_killed_at_fifty_moments_it_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, context = small(), multiprocessing.get_context("forkserver")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # where the server finds what it preloads
    context.set_forkserver_preload(["small"])  # so that a process begins to train at once

    def train_until(folder: Path, seconds: float) -> float:
        process = context.Process(target=run, args=(recipe, folder))
        process.start()
        began = time.monotonic()
        process.join(seconds)
        process.kill()
        process.join()
        return time.monotonic() - began

    train_until(tmp_path / "warm-up", 60)
    whole_s = train_until(tmp_path / "straight", 60)
    straight = RunDir(tmp_path / "straight").read_record()
    weights = load_file(tmp_path / "straight" / "weights.safetensors")
    unfinished = 0
    for moment in range(MOMENTS):
        folder = tmp_path / f"killed-{moment}"
        train_until(folder, whole_s * (moment + 0.5) / MOMENTS)
        unfinished += not (folder / "run.json").exists()
        resumed = run(recipe, folder, resume=True)
        assert without_times(resumed) == without_times(straight), moment
        assert (resumed.test, resumed.best_epoch) == (straight.test, straight.best_epoch), moment
        again = load_file(folder / "weights.safetensors")
        assert again.keys() == weights.keys() and all(again[name].equal(weights[name]) for name in again), moment
    assert unfinished > MOMENTS / 2
