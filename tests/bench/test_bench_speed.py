"""The benches of speed run, and their ratios are those of the times that they print."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import command
import pytest

from rungs.recipe.toml import load

BENCH = Path(__file__).parents[2] / "bench"


def bench(tmp_path: Path, script: str, *arguments: str) -> dict[str, Any]:
    result = tmp_path / "result.json"
    command.script(BENCH / script, *arguments, "--data", "digits", "--json", result, cwd=tmp_path)
    figures: dict[str, Any] = json.loads(result.read_text())
    return figures


@pytest.mark.dear
def test_variants_of_a_recipe_are_set_beside_it(tmp_path: Path) -> None:
    variants = ["training.micro_batch=20", "model.batch_norm=false,model.dropout=[]"]
    arguments = ("digits-quick", "--images", "100", "--rounds", "2", "--variants", *variants)
    figures = bench(tmp_path, "variants.py", *arguments)
    assert figures["n"] == 2
    assert list(figures["variants"]) == variants
    for found in figures["variants"].values():
        low, high = sorted(base / mine for base, mine in zip(figures["base_s"], found["s"], strict=True))
        assert found["range"] == pytest.approx([low, high])
        assert low <= found["ratio"] <= high


def test_a_recipe_is_set_beside_a_script_of_ones_own(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.py"
    theirs.write_text("import time\nimages = 1000\n\ndef step():\n    time.sleep(0.01)\n    return 10\n")
    figures = bench(tmp_path, "beside.py", "digits-quick", "--theirs", str(theirs), "--rounds", "2")
    assert all(seconds >= 1.0 for seconds in figures["theirs_s"])  # 100 steps that sleep for 10 ms
    low, high = figures["range"]
    assert 0 < low <= figures["theirs / ours"] <= high


@pytest.mark.dear
def test_a_tutorials_loop_is_set_beside_ours(tmp_path: Path) -> None:
    figures = bench(tmp_path, "tutorial.py", "--images", "32", "--rounds", "1")
    (ours,), (theirs,) = figures["ours_ms_an_image"], figures["tutorial_ms_an_image"]
    assert figures["tutorial / ours"] == pytest.approx(theirs / ours, rel=0.01)


def test_a_race_is_run_with_every_seed_and_told_beside_theirs(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.json"
    theirs.write_text('{"seconds": [2.0, 2.5, 3.0], "accuracy": [0.5, 0.6, 0.7]}')
    figures = bench(tmp_path, "race.py", "digits-quick", "--runs", "2", "--theirs", str(theirs), "--set",
                    "training.epochs=1", "--set", "evaluation.tta=mirror")  # fmt: skip
    assert figures["theirs"] == json.loads(theirs.read_text())
    one, other = figures["rows"]
    assert one["plain"] != other["plain"]
    assert all(0 < row["scoring_s"] < row["seconds"] and row["warm_up_s"] == 0 for row in (one, other))


def test_steps_are_taken_with_each_allocator_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here without processes: what one of them does, and what is made of what they return."""
    took = command.script(BENCH / "memory.py", "digits-quick", "--data", "digits", "--steps", "1", "--here")
    figures = json.loads(took.stdout.splitlines()[-1])
    assert figures["ms"] > 0 and figures["peak_mb"] > 50
    asked: list[dict[str, str]] = []

    def process(line: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(env)
        ms = 10.0 if "LD_PRELOAD" in env else 20.0 + len(asked)
        return subprocess.CompletedProcess(line, 0, json.dumps({"ms": ms, "peak_mb": 500.0}))

    monkeypatch.setattr("subprocess.run", process)
    monkeypatch.setattr("ctypes.util.find_library", {"jemalloc": "libjemalloc.so.2"}.get)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    figures = bench(tmp_path, "memory.py", "digits-quick", "--rounds", "2")
    names = ["system", "kept", "tunables", "jemalloc", "jemalloc, never purged"]
    assert list(figures["settings"]) == names  # mimalloc is not there
    assert [env.get("LD_PRELOAD") for env in asked] == 2 * [None, None, None, "libjemalloc.so.2", "libjemalloc.so.2"]
    assert [env.get("RUNGS_KEEP_MEMORY") for env in asked[:5]] == ["no", None, "no", "no", "no"]
    assert "GLIBC_TUNABLES" not in asked[0] and "trim_threshold" in asked[2]["GLIBC_TUNABLES"]  # not the user's own
    assert figures["settings"]["jemalloc"]["range"] == pytest.approx([2.1, 2.6])  # 21 and 26 ms, the system's
    assert figures["settings"]["system"]["system / this"] == 1


def test_steps_are_set_beside_those_of_an_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    took = command.script(BENCH / "steps.py", "digits-quick", "--data", "digits", "--steps", "1", "--here",
                          "--overrides", "training.precision=fp32")  # fmt: skip
    figures = json.loads(took.stdout.splitlines()[-1])
    assert figures["ms"] > 0 and 0 < figures["share"] < 2 and figures["how"].startswith("fp32, ")
    assert figures["images_per_s"] * figures["ms"] == pytest.approx(1000 * load("digits-quick").training.batch_size)
    asked: list[str] = []

    def process(_: list[str], env: dict[str, str], **__: Any) -> subprocess.CompletedProcess[str]:
        asked.append(env["PYTHONPATH"])
        ms = 30.0 if "before" in env["PYTHONPATH"] else 10.0 + len(asked)
        return subprocess.CompletedProcess([], 0, json.dumps({**figures, "ms": ms, "images_per_s": 1e5 / ms}))

    monkeypatch.setattr("subprocess.run", process)
    (tmp_path / "before" / "src" / "rungs").mkdir(parents=True)
    found = bench(tmp_path, "steps.py", "digits-quick", "--before", str(tmp_path / "before"), "--rounds", "2")
    assert asked == 2 * [str(tmp_path / "before" / "src"), str(BENCH.parent / "src")]
    assert found["recipes"]["digits-quick"]["range"] == pytest.approx([30 / 14, 30 / 12], abs=1e-3)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("variants.py digits-quick --data digits --variants training.microbatch=20", "did you mean 'micro_batch'"),
        ("variants.py digits-quick --data digits --images 5000", "5,000 images, but there are 1,438"),
        ("race.py digits-quick --data digits --theirs nowhere.json", "it must hold lists `seconds` and `accuracy`"),
        ("beside.py digits-quick --data digits --theirs nowhere.py", "nowhere.py: no such file"),
        ("growth.py --data nowhere", "no data source 'nowhere'"),  # a process of its own says so
        ("pack.py --data nowhere", "no data source 'nowhere'"),
        ("steps.py digits-quick --data digits", "give a checkout that holds src/rungs"),
        ("memory.py no-such", "no recipe 'no-such'"),
        ("memory.py digits-quick --rounds 0", "--rounds must be from 1 to 100, got 0"),
    ],
)
def test_bad_input_is_told_in_a_sentence(line: str, told: str) -> None:
    script, *arguments = line.split()
    assert told in command.script(BENCH / script, *arguments, code=2).stderr
