"""The simulations run, and their tables are whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_a_short_simulation_prints_every_table() -> None:
    command = [sys.executable, str(BENCH / "simulate.py"), "--repetitions", "2"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tables = [part.strip().splitlines() for part in re.split(r"### .*\n\n.*studies per row\.\n", text)[1:]]
    assert [len(rows) for rows in tables] == [12, 6, 5, 14, 5]
    for rows in tables:
        assert len({row.count("|") for row in rows}) == 1
    published = (BENCH / "statistics.md").read_text(encoding="utf-8")
    for head in re.findall(r"### (.*)", text):
        assert f"## {head}\n" in published
