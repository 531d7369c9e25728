"""Runs and studies of earlier versions on users' disks still open: tests/data_of_old was made by commit 76c5128."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from bank import Bank
from command import rungs
from small import small

import rungs as package
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord, from_json, to_json
from rungs.study.bench.record import BenchRecord
from rungs.study.comparison.record import CompareRecord
from rungs.study.ladder.record import LadderRecord
from rungs.study.rates.record import RateRecord
from rungs.study.search.record import SearchRecord

OLD = Path(__file__).parents[1] / "data_of_old"
KINDS: dict[str, tuple[str, Any]] = {
    "run": ("run.json", RunRecord),
    "ladder": ("ladder.json", LadderRecord),
    "search": ("search.json", SearchRecord),
    "comparison": ("comparison.json", CompareRecord),
    "rates": ("rates.json", RateRecord),
    "bench": ("bench.json", BenchRecord),
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return shutil.copytree(OLD, tmp_path / "old")


def test_every_kind_has_its_old_folder() -> None:
    assert {path.name for path in OLD.iterdir()} == {*KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_its_record_opens_and_comes_back(kind: str) -> None:
    name, record = KINDS[kind]
    opened = from_json((OLD / kind / name).read_bytes(), record, name)
    assert from_json(to_json(opened), record, name) == opened


@pytest.mark.parametrize("kind", KINDS)
def test_its_page_is_built_anew(kind: str, old: Path) -> None:
    assert not (old / kind / "report.html").exists()
    rungs("report", old / kind)
    page = (old / kind / "report.html").read_text(encoding="utf-8")
    assert "<h1" in page and len(page) > 5000


def test_its_weights_predict_as_they_did(old: Path) -> None:
    record, net = RunDir(old / "run").read_record(), package.load(old / "run")
    again = net.evaluate(part="validation")
    assert record.validation is not None
    assert again.accuracy == record.validation.accuracy
    assert again.loss == pytest.approx(record.validation.loss, abs=1e-3)


def test_diagnose_reads_it(old: Path) -> None:
    assert "Source:" in rungs("diagnose", old / "run").stdout


def test_it_is_compared_with_a_run_of_today(old: Path, tmp_path: Path, bank: Bank) -> None:
    today = shutil.copytree(bank.run(small("training.epochs=1")), tmp_path / "today")
    rungs("compare", old / "run", today, "--out", tmp_path / "compared")
    record = from_json((tmp_path / "compared" / "comparison.json").read_bytes(), CompareRecord, "comparison.json")
    assert [one.name for one in record.candidates] == ["run", "today"]


def test_old_studies_are_compared_with_themselves_in_their_pages(old: Path) -> None:
    """The page of the old comparison still has its verdict."""
    rungs("report", old / "comparison")
    record = from_json((old / "comparison" / "comparison.json").read_bytes(), CompareRecord, "comparison.json")
    assert record.pairs[0].verdict in (old / "comparison" / "report.html").read_text(encoding="utf-8")
