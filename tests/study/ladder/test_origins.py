"""Where the cells of a ladder were trained, what is missing, and what its page says of both."""

from __future__ import annotations

from pathlib import Path

from ladder_samples import DIARY, diary
from msgspec.structs import replace

from rungs.study.ladder import origins, page
from rungs.study.ladder.record import LadderDir, LadderRecord, PlannedRung


def of_two_machines() -> LadderRecord:
    """Of three rungs the second was trained elsewhere, and a seed of the third."""
    record = diary()
    elsewhere = {"machine": "NVIDIA H200, 16 cores, bf16", "commit": "abc"}
    one, two, three = record.rungs[:3]
    two = replace(two, cells=tuple(replace(cell, **elsewhere) for cell in two.cells))
    three = replace(three, cells=(*three.cells[:2], replace(three.cells[2], **elsewhere)))
    return replace(record, rungs=(one, two, three))


def test_cells_of_several_machines_are_marked_and_so_are_comparisons_across_them() -> None:
    record = of_two_machines()
    first, second = origins.origins(record)
    assert (first.mark, first.cells, second.mark, second.cells) == ("A", 5, "B", 4)
    assert second.machine == "NVIDIA H200, 16 cores, bf16" and second.commits == ("abc",)
    assert [origins.marks(record, rung) for rung in record.rungs] == ["A", "B", "A (seeds 0, 1), B (seed 2)"]
    assert [origins.across(record, rung) for rung in record.rungs] == ["", "B against A", "A against B"]
    assert all(words[:3] in ("A: ", "B: ") for words in origins.places(record))


def test_the_hours_of_a_pack_are_shared_by_its_cells() -> None:
    record = diary()
    cells = tuple(replace(c, values=c.values | {"wall_s": 300.0, "packed": 3.0}) for c in record.rungs[0].cells)
    (only,) = origins.origins(replace(record, rungs=(replace(record.rungs[0], cells=cells),)))
    assert (only.cells, only.seconds) == (3, 300.0)


def test_the_page_starts_with_where_cells_were_trained_and_what_is_missing(tmp_path: Path) -> None:
    record = of_two_machines()
    plan = tuple(PlannedRung(name=name, seeds=3, recipe="0123abcd") for name, *_ in DIARY)
    place = LadderDir(tmp_path)
    page.write(replace(record, planned=plan), place)
    text = place.report.read_text()
    top = text[: text.index('id="staircase"')]
    assert "Cells from 2 machines or versions of the code" in top and "NVIDIA H200, 16 cores, bf16" in top
    assert "15 of 24 cells are not trained: dropout (seeds 0, 1, 2)" in top
    rows = text[text.index('id="rungs"') : text.index('id="cost"') if 'id="cost"' in text else None]
    assert "origin A (seeds 0, 1), B (seed 2)" in rows and "across origins: B against A" in rows
    page.write(diary(), place)
    assert "across origins" not in place.report.read_text() and 'id="missing"' not in place.report.read_text()


def test_a_single_origin_has_no_marks() -> None:
    record = diary()
    (only,) = origins.origins(record)
    assert only.mark == "" and only.cells == sum(len(rung.cells) for rung in record.rungs)
    assert {origins.marks(record, rung) + origins.across(record, rung) for rung in record.rungs} == {""}
