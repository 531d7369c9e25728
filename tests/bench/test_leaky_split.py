from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "leaky_split.py"


@pytest.mark.dear
def test_planted_copies_leak_through_a_naive_split_alone(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, BENCH, "--data", "digits", "--images", "80", "--image-size", "16"]
    done = subprocess.run(
        [*command, "--epochs", "1", "--seeds", "2", "--json", result],
        cwd=tmp_path, capture_output=True, text=True, timeout=170, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "80 images of digits at 16 pixels and 120 altered copies" in done.stdout
    figures = json.loads(result.read_text())
    assert figures["originals"] == 80 and figures["copies"] == 120 and figures["seeds"] == 2
    for name in ("naive", "groups", "difference"):
        mean, low, high = figures[name]
        assert low <= mean <= high
    assert figures["difference"][0] == pytest.approx(figures["naive"][0] - figures["groups"][0])
    assert all("twins" not in line for line in done.stdout.splitlines() if ", groups:" in line)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]  # it writes nothing else
