"""What is shown: in a real terminal, in a log, and when quiet."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import samples
from command import UNDRAWN, rungs
from msgspec.structs import replace
from small import SMALL

from rungs.data.split import Parts
from rungs.training.dataset import Dataset
from rungs.training.screen import Screen, warn


def train(folder: Path, *flags: str, terminal: bool) -> str:
    """Train the small recipe; return what its standard error showed, without control codes."""
    (folder / "small.toml").write_text(SMALL)
    words = ["train", "small.toml", "--out", "run", *flags]
    size = {"TERM": "xterm", "COLUMNS": "150", "LINES": "50"}
    if not terminal:
        return rungs(*words, cwd=folder, env=size).stderr
    command, env = [*UNDRAWN, *words], {**os.environ, "OMP_NUM_THREADS": "1", **size}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 65536):
            seen += chunk
    except OSError:  # the terminal closed with the process
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0, seen.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())


class Told(Screen):
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("many", "words"), [(1, ("1 file is", "images is also", "images looks")), (2, ("2 files are", "are also", "look"))]
)
def test_warnings_count_one_and_several(many: int, words: tuple[str, ...]) -> None:
    record = replace(samples.healthy().data, canonical=None, leaks={"test": many}, near={"test": many})
    screen = Told()
    warn(screen, Dataset(cast(Parts, None), record, many, np.zeros(0, np.int64)))
    n = sum(record.counts["test"])
    doubts, leak, near = screen.said
    assert doubts.startswith(f"{words[0]} duplicate or doubtful: see rungs data ")
    assert leak.startswith(f"a leak: {many} of {n:,} test") and f"{words[1]} in an earlier part" in leak
    assert near.startswith(f"{many} of {n:,} test") and f"{words[2]} like one" in near


def test_a_terminal_gets_a_live_table(tmp_path: Path) -> None:
    screen = train(tmp_path, "--set", "training.epochs=12", terminal=True)
    for words in ("epoch", "train loss", "valid. loss", "images/s", "best", "small on digits"):
        assert words in screen
    assert re.search(r"12 +\d\.\d{4} +[\d.]+ % +\d\.\d{4} +[\d.]+ %", screen)  # the last row
    assert re.search(r"epoch \d+/12", screen)  # the progress bar


def test_a_log_gets_a_line_an_epoch(tmp_path: Path) -> None:
    lines = train(tmp_path, terminal=False).splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/4", "2/4", "3/4", "4/4"]
    assert any(line.endswith("*best") for line in epochs)
    assert not any("\x1b" in line for line in lines)


def test_without_validation_no_epoch_is_best(tmp_path: Path) -> None:
    lines = train(tmp_path, "--set", "data.validation=0", terminal=False).splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 4
    assert not any("best" in line for line in epochs)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_nothing(tmp_path: Path, terminal: bool) -> None:
    assert train(tmp_path, "--quiet", "--set", "training.epochs=1", terminal=terminal).strip() == ""
