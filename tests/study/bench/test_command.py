"""`rungs bench` as a user meets it: what it prints and leaves behind, and how it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command import rungs
from small import SMALL

from rungs.study.bench.record import BenchDir


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "small.toml").write_text(SMALL)
    return home


@pytest.mark.drawn
@pytest.mark.usefixtures("small_ceilings")
def test_a_bench_prints_tables_and_leaves_record_page_and_picture(home: Path) -> None:
    done = rungs("bench", "small.toml", "--seconds", "1", "--set", "training.batch_size=40", cwd=home)
    assert done.stderr == ""  # no line of the profiler, none of the progress
    for part in (
        "ceiling: matrix product",
        "training, batch of 40",
        "backward",
        "convolution",
        "report: runs/bench-small",
    ):
        assert part in done.stdout
    folder = BenchDir(home / "runs" / "bench-small")
    assert folder.read_record().own("training").batch_size == 40
    page = folder.report.read_bytes()
    folder.report.unlink()
    rungs("report", folder.path)
    assert folder.report.read_bytes() == page
    assert {path.name for path in folder.figures.iterdir()} == {"bench.png", "bench.svg"}
    done = rungs("bench", "small.toml", "--out", folder.path, cwd=home, code=2)
    assert "not empty" in done.stderr and "--out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["no-such"], "no recipe 'no-such'"),
        (["small.toml", "--seconds", "0"], "--seconds must be from 1 to 3600, got 0"),
        (["small.toml", "--set", "training.batch=3"], "batch_size"),
        (["small.toml", "--data", "folder:nowhere"], "nowhere"),
    ],
)
def test_bad_input_says_what_to_do(home: Path, arguments: list[str], saying: str) -> None:
    done = rungs("bench", *arguments, "--out", "never", cwd=home, code=2)
    assert saying in done.stderr and ("->" in done.stderr or "must be from" in done.stderr)
    assert not (home / "never").exists()


def test_its_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['rungs', 'bench', '--help']\n"
        "from rungs.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]" and "--seconds" in done.stdout
