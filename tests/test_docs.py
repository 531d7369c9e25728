"""The pages say what is so: the made one is what its script makes, the example of the other one works."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from rungs.run.record import from_json
from rungs.study.ladder import spec as ladder_spec
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.ladder.summary import judged_again

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "results").glob("*.json"))
KEPT = [
    *RESULTS,
    ROOT / "tests" / "faulty_records.json.gz",
    *(
        path
        for path in sorted((ROOT / "tests" / "data_of_old").rglob("*"))
        if path.suffix in (".json", ".jsonl", ".toml")
    ),
]
"""Every record in this repository."""


@pytest.fixture(scope="module")
def make_seeds() -> ModuleType:
    sys.path.insert(0, str(ROOT / "docs"))  # as if the script were run: it imports one beside it
    spec = importlib.util.spec_from_file_location("make_seeds", ROOT / "docs" / "make_seeds.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_seeds_is_what_its_script_makes(make_seeds: ModuleType) -> None:
    assert (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8") == make_seeds.page()
    measured = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    assert measured == make_seeds.with_rows(measured) and measured.count("](seeds.md): `") == 5
    for path in RESULTS:
        assert (ROOT / "docs" / "seeds" / f"{path.stem}.png").exists()


def test_every_shipped_ladder_has_a_result_with_every_rung_measured() -> None:
    records = [from_json(path.read_bytes(), LadderRecord, path) for path in RESULTS]
    for name in ladder_spec.shipped():
        ladder, _ = ladder_spec.load(name)
        measured = {
            rung.name
            for record in records
            if record.name == name
            for rung in record.rungs
            if rung.estimates or any(cell.status == "diverged" for cell in rung.cells)
        }
        assert measured == {rung.name for rung in ladder.rungs}


def test_results_tell_nothing_of_where_they_were_made() -> None:
    assert len(KEPT) > len(RESULTS) + 6
    for path in KEPT:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        assert not re.search(r"""["'=: ]/[A-Za-z]+/""", text), path  # no absolute path
        assert not re.search(r"Linux[^\"]*-fc-", text), path  # no build of a kernel
    for path in RESULTS:
        record = from_json(path.read_bytes(), LadderRecord, path)
        assert record.data.canonical is True and record.environment.platform in ("Linux x86_64",)


def test_the_ladder_of_ten_lines_can_be_climbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rungs import climb

    page = (ROOT / "docs" / "ladders.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(name = .*?)```", page, re.DOTALL)
    assert len(example.splitlines()) <= 10
    (tmp_path / "mine.toml").write_text(example)
    monkeypatch.chdir(tmp_path)
    record = climb("mine.toml", seeds=1, epochs=1, images=0.1, jobs=0, folder="climbed")
    assert [rung.name for rung in record.rungs] == ["base", "no-dropout", "half-width", "tenth-rate"]
    assert all(rung.cells[0].status == "finished" for rung in record.rungs)
    assert LadderDir("climbed").read_record() == record


def test_the_pictures_of_the_verdicts_show_what_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script asserts that each example has the verdict that its picture is named after."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    make_verdicts = importlib.import_module("make_verdicts")
    committed = {path.name for path in make_verdicts.PICTURES.glob("*.png")}
    monkeypatch.setattr(make_verdicts, "PICTURES", tmp_path)
    make_verdicts.main()
    assert {path.name for path in tmp_path.glob("*.png")} == committed
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("ladders.md", "deciding.md"))
    assert {name for name in committed if f"(verdicts/{name})" in text} == committed


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_verdicts_in_the_records_are_those_of_the_present_rules(path: Path) -> None:
    record = from_json(path.read_bytes(), LadderRecord, path)
    ladder, _ = ladder_spec.load(record.name)
    assert judged_again(record, {rung.name: rung.claims for rung in ladder.rungs}) == record
