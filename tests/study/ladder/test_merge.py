"""Merging climbs: cells from two places make one record; what differs in recipe or data is refused."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from climbed import BASE
from command import rungs
from ladder_samples import DIARY, diary
from msgspec.structs import replace

from rungs import climb, merge
from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.run.record import to_json
from rungs.study.ladder import origins
from rungs.study.ladder.join import join
from rungs.study.ladder.merge import prepare
from rungs.study.ladder.options import MergeOptions
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import CellRecord, LadderDir, LadderRecord, PlannedRung, RungRecord
from rungs.training.interrupt import Interrupted

LADDER = """
name = "small-ladder"
about = "Two changes of a tiny net."
base = "tiny.toml"
builds_on = "previous"
seeds = 2
[[rungs]]
name = "first"
about = "As it is."
claims = [{ metric = "test_accuracy", value = 0.9, source = "ours" }]
[[rungs]]
name = "wider"
about = "Twice the channels."
set = ["model.stages=[[16], [32]]"]
[[rungs]]
name = "slower"
seeds = 1
about = "A tenth of the rate."
set = ["optim.lr=0.01"]
"""


@pytest.fixture
def ladder_file(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(BASE.replace("epochs = 6", "epochs = 1"))
    path = tmp_path / "ladder.toml"
    path.write_text(LADDER)
    return path


def cells(record: LadderRecord) -> dict[tuple[str, int], CellRecord]:
    return {(rung.name, cell.seed): cell for rung in record.rungs for cell in rung.cells}


def test_two_halves_make_the_whole(ladder_file: Path, tmp_path: Path) -> None:
    whole = climb(ladder_file, folder=tmp_path / "whole", jobs=0)
    climb(ladder_file, folder=tmp_path / "a", jobs=0, only=("first", "slower"))
    climb(ladder_file, folder=tmp_path / "b", jobs=0, only=("wider",))
    merged = merge((tmp_path / "a", tmp_path / "b"), folder=tmp_path / "c")
    assert [(rung.name, rung.estimates) for rung in merged.rungs] == [
        (rung.name, timeless(rung, other)) for rung, other in zip(whole.rungs, merged.rungs, strict=True)
    ]
    assert [rung.confusion for rung in merged.rungs] == [rung.confusion for rung in whole.rungs]
    assert [rung.answers for rung in merged.rungs] == [rung.answers for rung in whole.rungs]
    assert [judged(rung) for rung in merged.rungs] == [judged(rung) for rung in whole.rungs]
    assert merged.planned == whole.planned and origins.missing(merged) == {}
    assert LadderDir(tmp_path / "c").read_record() == merged
    assert "rungs climb" in merged.command and " && " in merged.command
    for cell in cells(merged).values():  # the runs came along, and nothing is trained again
        assert RunDir(tmp_path / "c" / cell.folder).read_record().status == "finished"
        assert not list((tmp_path / "c").glob(".*rungs-tmp"))
    told = rungs("climb", ladder_file, "--out", tmp_path / "c", "--jobs", "0").stdout
    assert told.count("(trained before)") == 5


def timeless(rung: RungRecord, other: RungRecord) -> object:
    """Estimates of one with the times and the memory of another, which no two trainings share."""
    return {
        name: other.estimates[name] if name.endswith(("_s", "_bytes")) else found
        for name, found in rung.estimates.items()
    }


def test_a_climb_keeps_cells_of_which_only_the_record_is_here(ladder_file: Path, tmp_path: Path) -> None:
    climb(ladder_file, folder=tmp_path / "far", jobs=0, only=("wider", "slower"))
    climb(ladder_file, folder=tmp_path / "here", jobs=0, only=("first",))
    copy = tmp_path / "far.json"
    copy.write_bytes((tmp_path / "far" / "ladder.json").read_bytes())
    merged = merge((tmp_path / "here", copy), folder=tmp_path / "c")
    assert not list((tmp_path / "c").glob("wider-*")) and len(cells(merged)) == 5
    said = rungs("climb", ladder_file, "--out", tmp_path / "c", "--status").stdout
    assert said.startswith("5 cells: 5 done, 0 running, 0 left")
    again = climb(ladder_file, folder=tmp_path / "c", jobs=0)  # all rungs: what is only in the record is not trained
    assert cells(again) == cells(merged) and not list((tmp_path / "c").glob("wider-*"))
    again = climb(ladder_file, folder=tmp_path / "c", jobs=0, only=("first",), seeds=1)
    assert cells(again).keys() == cells(merged).keys()
    assert again.rungs[1].difference == merged.rungs[1].difference
    assert (tmp_path / "c" / "report.html").exists()


def test_a_record_without_any_run_is_enough(ladder_file: Path, tmp_path: Path) -> None:
    climb(ladder_file, folder=tmp_path / "far", jobs=0, seeds=1)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes((tmp_path / "far" / "ladder.json").read_bytes())
    merged = merge((tmp_path / "a.json", tmp_path / "b.json"), folder=tmp_path / "c")
    assert all(cell.record_only for cell in cells(merged).values())
    again = climb(ladder_file, folder=tmp_path / "c", jobs=0, seeds=1)
    assert cells(again) == cells(merged) and [judged(rung) for rung in again.rungs] == [
        judged(rung) for rung in merged.rungs
    ]


def test_a_run_that_was_deleted_is_trained_again(ladder_file: Path, tmp_path: Path) -> None:
    record = climb(ladder_file, folder=tmp_path / "c", jobs=0, seeds=1)
    folder = tmp_path / "c" / cells(record)["wider", 0].folder
    shutil.rmtree(folder)
    climb(ladder_file, folder=tmp_path / "c", jobs=0, seeds=1)
    assert RunDir(folder).read_record().status == "finished"


def test_begun_runs_come_along_and_the_command_to_go_on_is_told(ladder_file: Path, tmp_path: Path) -> None:
    climb(ladder_file, folder=tmp_path / "a", jobs=0, seeds=1, only=("first",))
    climb(ladder_file, folder=tmp_path / "b", jobs=0, seeds=1, only=("wider",))
    begun = next(path for path in climb_of(ladder_file, tmp_path / "x").iterdir() if path.name.startswith("slower"))
    RunDir(begun).record.unlink()
    shutil.copytree(begun, tmp_path / "b" / begun.name)
    told = rungs("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c").stdout
    assert (tmp_path / "c" / begun.name / "history.jsonl").exists()
    assert f"to train what is missing: rungs climb {ladder_file} --seeds 1 --out {tmp_path / 'c'}" in told


def climb_of(ladder_file: Path, folder: Path) -> Path:
    climb(ladder_file, folder=folder, jobs=0, seeds=1, only=("slower",))
    return folder


def test_cells_of_a_former_recipe_are_told_to_leave(ladder_file: Path, tmp_path: Path) -> None:
    climb(ladder_file, folder=tmp_path / "c", jobs=0, seeds=1)
    ladder_file.write_text(LADDER.replace("optim.lr=0.01", "optim.lr=0.02"))
    told = rungs("climb", ladder_file, "--out", tmp_path / "c", "--seeds", "1", "--dry-run").stdout
    assert "slower: the ladder has changed; 1 cell of its former recipe will not be reported" in told
    assert "first: the ladder" not in told


def test_a_climb_with_fewer_seeds_loses_none(ladder_file: Path, tmp_path: Path) -> None:
    every = climb(ladder_file, folder=tmp_path / "c", jobs=0)
    again = climb(ladder_file, folder=tmp_path / "c", jobs=0, seeds=1)
    assert cells(again) == cells(every)


def test_a_rung_has_its_own_number_of_seeds(ladder_file: Path, tmp_path: Path) -> None:
    plan = rungs("climb", ladder_file, "--dry-run", "--jobs", "1", "--out", tmp_path / "c").stdout
    assert "5 cells, 5 to train" in plan
    record = climb(ladder_file, folder=tmp_path / "c", jobs=0, only=("first",), seeds=1)
    assert [(rung.name, rung.seeds) for rung in record.planned] == [("first", 1), ("wider", 1), ("slower", 1)]
    assert origins.missing_words(record) == "2 of 3 cells are not trained: wider (seed 0) and slower (seed 0)"


def test_the_run_that_is_copied_is_the_one_whose_cell_is_kept(ladder_file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        climb(ladder_file, folder=tmp_path / name, jobs=0, only=("first",), seeds=1)
    (cell,) = LadderDir(tmp_path / "b").read_record().rungs[0].cells
    place = LadderDir(tmp_path / "a")
    rung = replace(place.read_record().rungs[0], cells=(replace(cell, status="interrupted", values={}),))
    place.record.write_bytes(to_json(replace(place.read_record(), rungs=(rung,))))
    (tmp_path / "b" / cell.folder / "notes.txt").write_text("from b")
    merged = merge((tmp_path / "a", tmp_path / "b"), folder=tmp_path / "c")
    assert cells(merged) == {("first", 0): cell}
    assert (tmp_path / "c" / cell.folder / "notes.txt").read_text() == "from b"


def stopping_at(name: str) -> Callable[[Outcome, int, int], None]:
    """Stop a climb, as Ctrl-C would, when a rung has ended."""

    def tell(outcome: Outcome, done: int, of: int) -> None:
        if outcome.cell.rung == name:
            raise Interrupted(signal.SIGINT)

    return tell


def test_a_climb_that_is_stopped_leaves_the_record_of_its_cells_without_a_look(
    ladder_file: Path, tmp_path: Path
) -> None:
    place = LadderDir(tmp_path / "c")
    with pytest.raises(Interrupted):
        climb(ladder_file, folder=place.path, jobs=0, seeds=1, tell=stopping_at("wider"))
    record = place.read_record()
    assert [rung.name for rung in record.rungs] == ["first", "wider"] and record.looks == ()
    found = record.rungs[1].difference
    assert found is not None and (found.verdict, found.looks, found.next_look) == ("undecided", (), 3)
    assert origins.missing_words(record) == "1 of 3 cells is not trained: slower (seed 0)"
    assert "report.html" in rungs("report", place.path).stdout and place.report.exists()
    whole = climb(ladder_file, folder=place.path, jobs=0, seeds=1)
    assert whole.looks == (1,) and len(cells(whole)) == 3
    assert whole.rungs[1].difference is not None and whole.rungs[1].difference.looks == (1,)


def test_a_climb_that_runs_writes_its_record_now_and_then(
    ladder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rungs.study.ladder.climb.MOST_WRITING", 1e9)
    place, seen = LadderDir(tmp_path / "c"), list[int]()

    def tell(outcome: Outcome, done: int, of: int) -> None:
        seen.append(len(cells(place.read_record())) if place.record.exists() else 0)

    climb(ladder_file, folder=place.path, jobs=0, seeds=1, tell=tell)
    assert seen == [0, 1, 2]


# --- what is refused, from records alone --------------------------------------------------------------


def halves() -> tuple[LadderRecord, LadderRecord]:
    """The first five and the last four rungs of a ladder: one of them is in both."""
    record = diary()
    return replace(record, rungs=record.rungs[:5]), replace(record, rungs=record.rungs[4:])


def joined(*records: LadderRecord) -> LadderRecord:
    return join(records, [f"source {i}" for i in range(len(records))])


def test_equal_cells_are_kept_from_the_first() -> None:
    first, second = halves()
    record = joined(first, second)
    assert [rung.name for rung in record.rungs] == [name for name, *_ in DIARY]
    assert record.train_s == pytest.approx(sum(cell.values["wall_s"] for rung in diary().rungs for cell in rung.cells))
    other = replace(second.rungs[0], cells=tuple(replace(cell, values={}) for cell in second.rungs[0].cells))
    record = joined(first, replace(second, rungs=(other, *second.rungs[1:])))
    assert record.rungs[4].cells[0].values == first.rungs[4].cells[0].values


def test_a_cell_that_failed_is_replaced_by_one_that_ended() -> None:
    first, second = halves()
    lost = replace(first.rungs[4].cells[0], status="failed", values={}, ending="out of memory")
    rung = replace(first.rungs[4], cells=(lost, *first.rungs[4].cells[1:]), confusion=())
    record = joined(replace(first, rungs=(*first.rungs[:4], rung)), second)
    assert [cell.status for cell in record.rungs[4].cells] == ["finished"] * 3
    assert record.rungs[4].estimates["test_accuracy"].n == 3


def changed(record: LadderRecord, **fields: object) -> LadderRecord:
    """The record with a field of its first rung, or of that rung's cells, changed."""
    rung = record.rungs[0]
    own = {key: value for key, value in fields.items() if key in ("changes", "on", "parameters")}
    of_cells = {key: value for key, value in fields.items() if key not in own}
    rung = replace(rung, cells=tuple(replace(cell, **of_cells) for cell in rung.cells), **own)
    return replace(record, rungs=(rung, *record.rungs[1:]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda other: replace(other, name="another"), "this is a record of another, not of diary"),
        (
            lambda other: replace(other, reduced=("5 of 24 epochs",)),
            "this was climbed otherwise: 5 of 24 epochs; the first: as",
        ),
        (lambda other: replace(other, margin=0.02), "judged with a margin of 0.02, the first with 0.01"),
        (lambda other: replace(other, data=replace(other.data, source="digits")), "trained on digits, the first on"),
        (lambda other: changed(other, changes=("optim.lr=7",)), "rungs with other recipes than in the first: flip"),
        (lambda other: changed(other, folder="another"), "rungs with other recipes than in the first: flip-and-crop"),
        (lambda other: changed(other, parameters=7), "rungs with other recipes than in the first: flip-and-crop"),
        (lambda other: changed(other, data_hash="ef" * 32), "other images than in the first: all rungs, seed 0"),
    ],
)
def test_other_recipes_and_data_are_refused(spoil: Callable[[LadderRecord], LadderRecord], words: str) -> None:
    first, second = halves()
    joined(first, second)
    with pytest.raises(UserError) as caught:
        joined(first, spoil(second))
    assert words in caught.value.what and caught.value.where == "source 1" and caught.value.do


def test_an_edited_ladder_is_refused_even_where_no_rung_is_in_both(ladder_file: Path, tmp_path: Path) -> None:
    climb(ladder_file, folder=tmp_path / "a", jobs=0, only=("first",), seeds=1)
    (tmp_path / "tiny.toml").write_text(BASE.replace("epochs = 6", "epochs = 1").replace("lr = 0.1", "lr = 0.2"))
    climb(ladder_file, folder=tmp_path / "b", jobs=0, only=("wider",), seeds=1)
    done = rungs("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", code=2)
    assert "rungs with other recipes than in the first: first, wider" in done.stderr and not (tmp_path / "c").exists()


def test_bad_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(to_json(diary()))
    (tmp_path / "broken.json").write_text("{}")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "b.json").write_bytes(to_json(diary()))
    rung = diary().rungs[0]
    spoilt = replace(rung, cells=(replace(rung.cells[0], values={}),))
    (tmp_path / "spoilt.json").write_bytes(to_json(replace(diary(), rungs=(spoilt,))))
    one = tmp_path / "a.json"
    for words, error in (
        ((one, "--out", tmp_path / "c"), "fewer than two climbs were given"),
        ((one, tmp_path / "nowhere", "--out", tmp_path / "c"), "no such folder"),
        ((one, one, "--out", tmp_path / "c"), "the same climb was given twice"),
        ((one, tmp_path / "other", "--out", tmp_path / "c"), "no ladder.json here"),
        ((one, tmp_path / "spoilt.json", "--out", tmp_path / "c"), "first-net, seed 0 has finished, but has no values"),
        ((one, tmp_path / "broken.json", "--out", tmp_path / "c"), "not a LadderRecord"),
        ((one, tmp_path / "b.json", "--out", tmp_path / "full"), "this folder is not empty"),
    ):
        assert error in rungs("merge", *words, code=2).stderr
    assert not (tmp_path / "c").exists()


def test_rungs_of_a_record_without_a_plan_stay_beside_those_of_one_with() -> None:
    record = diary()
    plan = tuple(PlannedRung(name=name, seeds=3, recipe="0123abcd" * 8) for name, *_ in DIARY[1:])
    old, new = replace(record, rungs=record.rungs[:3]), replace(record, rungs=record.rungs[2:5], planned=plan)
    assert [rung.name for rung in joined(new, old).rungs] == [name for name, *_ in (*DIARY[1:5], DIARY[0])]
    other = replace(plan[1], recipe="ef" * 32)
    with pytest.raises(UserError, match="other recipes than in the first: wider"):
        joined(replace(new, planned=(plan[0], other, *plan[2:])), old)


def test_the_base_recipe_is_compared_where_records_have_no_plan() -> None:
    first, second = halves()
    recipe = replace(second.recipe, training=replace(second.recipe.training, epochs=99))
    with pytest.raises(UserError, match="other recipes than in the first: first-net"):
        joined(first, replace(second, recipe=recipe))
    counts = {part: tuple(2 * n for n in of) for part, of in second.data.counts.items()}
    with pytest.raises(UserError, match="other images than in the first: all rungs"):
        joined(first, replace(second, data=replace(second.data, counts=counts)))


# --- verdicts -----------------------------------------------------------------------------------------


def looked(record: LadderRecord, seeds: int, **verdict: object) -> LadderRecord:
    """The base and one rung of a record with so many seeds, and the verdict of that rung."""
    base, rung = (replace(one, cells=one.cells[:seeds]) for one in record.rungs[:2])
    assert rung.difference is not None
    return replace(record, rungs=(base, replace(rung, difference=replace(rung.difference, n=seeds, **verdict))))


def test_a_verdict_that_one_of_them_reached_stays_in_either_order_and_looks_add_up() -> None:
    early = looked(diary(), 1, verdict="undecided", looks=(1,), decided_at=None)
    late = looked(diary(), 3, verdict="real loss", looks=(3,), decided_at=3)
    for records in ((early, late), (late, early)):
        found = joined(*records).rungs[1].difference
        assert found is not None
        assert (found.verdict, found.decided_at, found.looks) == ("real loss", 3, (1, 3))


def judged(rung: RungRecord) -> object:
    d = rung.difference
    return d and (d.against, d.n, d.mean, d.verdict, d.looks, d.next_look)


def test_three_climbs_are_judged_once_together(ladder_file: Path, tmp_path: Path) -> None:
    whole = climb(ladder_file, folder=tmp_path / "whole", jobs=0, seeds=1)
    for name in ("first", "wider", "slower"):
        climb(ladder_file, folder=tmp_path / name, jobs=0, seeds=1, only=(name,))
    sources = [tmp_path / name for name in ("slower", "first", "wider")]
    merged = merge(sources, folder=tmp_path / "c")
    assert [rung.name for rung in merged.rungs] == ["first", "wider", "slower"]
    assert [judged(rung) for rung in merged.rungs] == [judged(rung) for rung in whole.rungs]
    assert merged.looks == (1,)
    assert prepare(MergeOptions([*sources, tmp_path / "c"], folder=tmp_path / "d")).left_out == 3


def test_verdicts_outlast_a_climb_beside_cells_from_elsewhere(ladder_file: Path, tmp_path: Path) -> None:
    """The base is here, the rung only in the record: its verdict must not be reached anew."""
    climb(ladder_file, folder=tmp_path / "far", jobs=0, only=("wider",), seeds=1)
    climb(ladder_file, folder=tmp_path / "here", jobs=0, only=("first",), seeds=1)
    copy = tmp_path / "far.json"
    copy.write_bytes((tmp_path / "far" / "ladder.json").read_bytes())
    merged = merge((tmp_path / "here", copy), folder=tmp_path / "c")
    found = merged.rungs[1].difference
    assert found is not None
    decided = replace(merged.rungs[1], difference=replace(found, verdict="real loss", looks=(1,), decided_at=1))
    place = LadderDir(tmp_path / "c")
    place.record.write_bytes(to_json(replace(merged, rungs=(merged.rungs[0], decided))))
    for _ in range(2):
        again = climb(ladder_file, folder=place.path, jobs=0, only=("first",), seeds=2)
        after = again.rungs[1].difference
        assert after is not None and (after.verdict, after.looks, after.decided_at) == ("real loss", (1,), 1)
        assert again.train_s == pytest.approx(sum(cell.own_s for cell in cells(again).values()))
