"""The pages say what is so: the made one is what its script makes, the example of the other one works."""

from __future__ import annotations

import gzip
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from msgspec.structs import replace

from rungs.run.record import from_json
from rungs.study.ladder import spec as ladder_spec
from rungs.study.ladder.record import LadderDir, LadderRecord

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "results").glob("*.json"))
KEPT = [
    *RESULTS,
    ROOT / "tests" / "faulty_records.json.gz",
    ROOT / "tests" / "short_climbs.json.gz",
    *(
        path
        for path in sorted((ROOT / "tests" / "data_of_old").rglob("*"))
        if path.suffix in (".json", ".jsonl", ".toml")
    ),
]
"""Every record in this repository."""


@pytest.fixture(scope="module")
def scripts() -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of docs/ by its name, as if it were run: they import one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module


def test_the_page_of_the_seeds_is_what_its_script_makes(scripts: Callable[[str], ModuleType]) -> None:
    make_seeds = scripts("make_seeds")
    assert (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8") == make_seeds.page()
    for name in make_seeds.ROWS_IN:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert text == make_seeds.with_rows(text, name) and text.count("seeds.md#") == 5
    assert {path.stem for path in make_seeds.PICTURES.glob("*.png")} == {
        *(path.stem for path in RESULTS),
        *(path.stem for path in (ROOT / "results" / "searches").glob("*.json")),
    }


def test_every_claim_of_a_shipped_ladder_has_a_row_with_its_number_or_how_far_it_is(
    scripts: Callable[[str], ModuleType],
) -> None:
    make_seeds, seed_tables = scripts("make_seeds"), scripts("seed_tables")
    for seed in make_seeds.stories()["seeds"]:
        ladder, record = ladder_spec.load(seed["ladder"])[0], make_seeds.known(seed["ladder"])
        rows = seed_tables.claims(ladder, record).splitlines()
        for rung in ladder.rungs:
            planned = ladder_spec.seeds_of(ladder)[rung.name]
            cells = [] if record is None else [c for r in record.rungs if r.name == rung.name for c in r.cells]
            mine = [row for row in rows if row.startswith(f"| `{rung.name}` |")]
            assert len(mine) >= len(rung.claims)
            for row in mine:
                assert (f"running: {len(cells)} of " in row) == (len(cells) < planned)
                assert ("**" in row) == (len(cells) >= planned)


def test_a_row_without_all_its_cells_shows_no_number(scripts: Callable[[str], ModuleType]) -> None:
    make_seeds, seed_tables, seed_answers = (scripts(name) for name in ("make_seeds", "seed_tables", "seed_answers"))
    ladder, _ = ladder_spec.load("deep-then-regularise")
    record = make_seeds.read("deep-then-regularise")
    part = replace(record.rungs[1], cells=record.rungs[1].cells[:2])
    started = replace(record, rungs=(record.rungs[0], part, record.rungs[2]))
    rows = [row for row in seed_tables.claims(ladder, started).splitlines() if row.startswith("| `batchnorm` |")]
    assert len(rows) == 2 and all("| running: 2 of 3 cells |" in row for row in rows)
    assert "| `batchnorm` | running: 2 of 3 cells | | | | |" in seed_tables.rungs(ladder, started)
    assert "real gain" not in seed_tables.rungs(ladder, started)  # `augmented` has nothing to be compared with yet
    assert [rung.name for rung in make_seeds.ended(started).rungs] == ["initial", "augmented"]
    questions = next(one for one in make_seeds.stories()["seeds"] if one["ladder"] == record.name)["questions"]
    asked = [question for question in questions if question["rungs"] == ["batchnorm"]]
    (only,) = seed_answers.answers(started, ladder, asked)
    assert only.startswith("- **Running:** ") and all(question["says"] in only for question in asked)
    assert len(seed_answers.answers(record, ladder, asked)) == len(asked)
    both = [{"says": "Both overfit.", "ask": "overfits", "rungs": ["initial", "batchnorm"]}]
    (part,) = seed_answers.answers(started, ladder, both)
    assert "**Running.** `initial` overfits in 3 of 3 runs" in part and part.endswith("Still running: `batchnorm`.")
    assert "**True here.**" in seed_answers.answers(record, ladder, both)[0]


def test_no_record_in_the_results_is_of_a_shorter_study() -> None:
    for path in RESULTS:
        record = from_json(path.read_bytes(), LadderRecord, path)
        assert record.reduced == () and record.planned
        ladder, _ = ladder_spec.load(record.name)
        assert [rung.name for rung in record.planned] == [rung.name for rung in ladder.rungs]


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
def test_the_verdicts_in_the_records_are_those_of_the_present_rules(
    path: Path, scripts: Callable[[str], ModuleType]
) -> None:
    record = from_json(path.read_bytes(), LadderRecord, path)
    assert scripts("judge_again").judged(record) == record
