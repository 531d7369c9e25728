from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench" / "pipeline.py"


def test_the_pipeline_bench_runs_and_reports(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, BENCH, "--data", "digits", "--images", "256", "--rounds", "2", "--json", result]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
    figures = json.loads(result.read_text())
    low, high = figures["ratio_range"]
    assert 0 < low <= figures["ratio"] <= high
    assert figures["images"] == 256 and figures["rounds"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]  # it writes nothing else
