"""One image of validation and one of test: little can be said of them, and nothing may crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import rungs
from small import run, small

from rungs.diagnose.scores import small_validation
from rungs.run.folder import RunDir

ONE = ("data.validation=1", "data.test=1", "training.epochs=3", "data.train=100")


@pytest.mark.parametrize("more", [(), ("evaluation.tta=mirror",), ("data.test=0",)], ids=str)
def test_a_run_of_one_image_is_trained_diagnosed_and_reported(more: tuple[str, ...], tmp_path: Path) -> None:
    record = run(small(*ONE, *more), tmp_path / "run")
    assert record.validation is not None and record.validation.n == 1
    assert record.validation.recall.count(None) == 9 and record.temperature == 1
    assert record.test is None or (record.test.n, record.test.f1.count(None) >= 8) == (1, True)
    assert small_validation(record) is not None  # even where another finding silences it
    assert json.loads(rungs("diagnose", str(tmp_path / "run"), "--json").stdout)
    rungs("report", str(tmp_path / "run"))
    page = RunDir(tmp_path / "run").report.read_text()
    assert "mean of 1 class<" in page and "not fitted: 1 validation image, and it takes 100" in page
    said = rungs("evaluate", str(tmp_path / "run"), "--part", "validation").stdout
    assert "n = 1" in said and "–" in said  # noqa: RUF001


def test_two_such_runs_are_compared(tmp_path: Path) -> None:
    for seed in (0, 1):
        run(small(*ONE, f"seed={seed}", f"optim.lr=0.0{seed + 1}"), tmp_path / str(seed))
    rungs("compare", str(tmp_path / "0"), str(tmp_path / "1"), "--out", str(tmp_path / "compared"))
    assert (tmp_path / "compared" / "report.html").is_file()
