"""Runs compared: real trainings on a source with its own test set, the refusals, and the page."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bank import Bank
from compare_runs import trainer
from msgspec.structs import replace
from small import run, small

from rungs.cli.main import COMMANDS
from rungs.errors import UserError
from rungs.run import looks
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import RunRecord, from_json, to_json
from rungs.study.comparison.candidates import read_candidates
from rungs.study.comparison.compare import compare
from rungs.study.comparison.options import CompareOptions
from rungs.study.comparison.paired import images_needed
from rungs.study.comparison.pairs import compare as compare_groups
from rungs.study.comparison.record import CompareRecord
from rungs.study.ladder.record import LadderDir, LadderRecord


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs go."""
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def trained(bank: Bank, place: Path) -> Callable[[str], Path]:
    """Give the folder of a run, trained when first asked for."""
    return trainer(bank, place)


@pytest.fixture
def against(trained: Callable[[str], Path]) -> Callable[..., CompareRecord]:
    """Compare runs by their names, or folders; the record alone, without page and log."""

    def compared(*names: str | Path) -> CompareRecord:
        folders = [trained(name) if isinstance(name, str) else name for name in names]
        return compare_groups(read_candidates(folders), "rungs compare")

    return compared


@pytest.fixture
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the page out, which takes most of the time."""
    monkeypatch.setattr("rungs.study.comparison.page.write", lambda record, folder: folder.report)


def change(source: Path, target: Path, how: Callable[[RunRecord], RunRecord]) -> Path:
    """Copy a run with another record."""
    shutil.copytree(source, target)
    folder = RunDir(target)
    folder.write_record(how(folder.read_record()))
    return target


# --- verdicts on real runs ----------------------------------------------------------------------------


def test_two_seeds_of_one_recipe_are_not_to_be_told_apart(against: Callable[..., CompareRecord]) -> None:
    record = against("healthy", "again")
    (pair,) = record.pairs
    assert pair.verdict == "not to be told apart" and pair.same_recipe
    assert "runs of one recipe" in pair.words
    assert [row.name for row in record.fields] == ["seed"]
    assert pair.parts[0].part == "test" and pair.parts[0].images == 180 and pair.parts[0].table is not None
    assert any(
        "Image by image on validation" in why and "train both with one --seed" in why for why in pair.not_comparable
    )


def test_even_vastly_different_seeds_are_called_no_better(
    trained: Callable[[str], Path], against: Callable[..., CompareRecord], tmp_path: Path
) -> None:
    """The net of a crippled run under the healthy recipe and another seed: the verdict holds, and asks for a cause."""
    crippled = RunDir(trained("crippled")).read_record()
    recipe = replace(RunDir(trained("healthy")).read_record().recipe, seed=5)
    unlucky = change(trained("crippled"), tmp_path / "unlucky", lambda record: replace(record, recipe=recipe))
    (pair,) = against("healthy", unlucky).pairs
    assert crippled.test is not None and pair.parts[0].second == crippled.test.accuracy
    assert pair.verdict == "not to be told apart" and pair.parts[0].p < 0.001
    assert any("look for another cause" in sentence for sentence in pair.more)
    assert any("that test ignores seeds" in sentence for sentence in pair.more)


def test_a_crippled_run_is_worse_and_a_healthy_one_better(against: Callable[..., CompareRecord]) -> None:
    (worse,), (better,) = against("healthy", "crippled").pairs, against("crippled", "healthy").pairs
    assert (worse.verdict, better.verdict) == ("worse", "better")
    one, two = worse.parts[0], better.parts[0]
    assert one.difference == -two.difference < -0.2
    assert one.interval[1] < 0 < two.interval[0]
    assert one.interval[1] - one.interval[0] > one.images_interval[1] - one.images_interval[0] > 0
    assert one.loss_interval is not None and one.loss_interval[0] > 0
    assert "of 180 test images correct" in worse.words and "p < 0.001" in worse.words
    assert "One run" not in worse.words
    assert any("so it is an allowance, 0.02 sqrt(p (1 - p))" in more for more in worse.more)
    assert worse.flips is not None and one.table is not None
    assert (worse.flips.gained, worse.flips.lost) == (one.table.second, one.table.first)
    assert sum(row.gained for row in one.classes) == one.table.second


def test_several_seeds_are_one_candidate(against: Callable[..., CompareRecord]) -> None:
    record = against("healthy", "crippled", "crippled-1", "again", "third", "crippled-2")
    assert [(one.name, len(one.runs)) for one in record.candidates] == [("healthy", 3), ("crippled", 3)]
    (pair,) = record.pairs
    part = pair.parts[0]
    assert pair.verdict == "worse" and (part.pairs, part.seeds) == (3, (0, 1, 2)) and part.seed_df == 4
    assert part.by_seed is not None and part.by_seed.n == 3 and part.by_seed.verdict == "real loss"
    assert part.table is not None and part.table.both + part.table.first + part.table.second + part.table.neither == 540
    found = record.candidates[0].estimates["test_accuracy"]
    assert found.n == 3 and part.first == pytest.approx(found.mean)
    assert record.candidates[1].dominated["flops"] == "healthy" and "flops" not in record.candidates[0].dominated


def test_runs_without_a_partner_only_tell_of_seeds(against: Callable[..., CompareRecord]) -> None:
    (pair,) = against("healthy", "again", "third", "crippled").pairs
    assert pair.parts[0].pairs == 1 and pair.parts[0].seed_df == 4
    assert "On test, 2 runs have no partner: used only for the seed variance." in pair.notes


def test_with_several_pairs_the_runs_without_a_partner_are_left_out(against: Callable[..., CompareRecord]) -> None:
    more, two = (
        against("healthy", "again", "third", "crippled", "crippled-1"),
        against("healthy", "again", "crippled", "crippled-1"),
    )
    assert "On test, 1 run has no partner: left out of the difference and its verdict." in more.pairs[0].notes
    assert more.pairs[0].parts[0] == two.pairs[0].parts[0]  # to the last digit, as it is said
    assert not any("no partner" in note for note in two.pairs[0].notes)


def test_a_copy_of_a_run_is_no_further_seed(
    trained: Callable[[str], Path], against: Callable[..., CompareRecord], tmp_path: Path
) -> None:
    def lost(record: RunRecord) -> RunRecord:
        return replace(record, status="interrupted")

    copies = [change(trained(name), tmp_path / name, lambda record: record) for name in ("healthy", "crippled")]
    record = against(copies[0], "healthy", "crippled", copies[1])
    (pair,) = record.pairs
    single = against("healthy", "crippled").pairs[0]
    assert [len(one.runs) for one in record.candidates] == [1, 1] and pair.parts[0] == single.parts[0]
    for name, left in (("healthy", trained("healthy")), ("crippled", copies[1])):
        said = next(note for note in pair.notes if note.startswith(f"Only one run per seed of {name} counts"))
        assert said.endswith(f"left out: {left} (seed 0).")
    dead = change(trained("healthy"), tmp_path / "dead", lost)
    kept = against(dead, "healthy", "again", "crippled").candidates[0]  # what came to an end goes before
    assert [Path(run.folder).name for run in kept.runs] == ["healthy", "again"]
    seeds = against("healthy", copies[0], "again")
    assert [one.name for one in seeds.candidates] == ["healthy", "again"]
    assert any(str(copies[0]) in note for note in seeds.pairs[0].notes)
    with pytest.raises(UserError, match=r"the same run as .*healthy, given twice"):
        read_candidates([trained("healthy"), copies[0]])
    newer = change(trained("healthy"), tmp_path / "newer", lambda record: replace(record, code=("rungs 99",)))
    assert against("healthy", newer).pairs[0].same_recipe  # what other code does may be asked


def test_a_seed_on_other_images_is_another_run(trained: Callable[[str], Path], tmp_path: Path) -> None:
    def cut(record: RunRecord) -> RunRecord:
        return replace(record, data=replace(record.data, hashes={**record.data.hashes, "validation": "f" * 64}))

    other = change(trained("healthy"), tmp_path / "other", cut)
    assert [len(group.runs) for group in read_candidates([trained("healthy"), other, trained("crippled")])] == [2, 1]


def test_images_that_would_decide_are_those_of_one_set(against: Callable[..., CompareRecord]) -> None:
    """Two pairs, each on a cut of its own: twice the images were seen, and one cut has half of what would decide."""
    (pair,) = against("digits", "digits-seed1", "digits-slow", "digits-1").pairs
    part = pair.parts[0]
    assert (part.pairs, part.seeds) == (2, (0, 1)) and part.table is not None
    seen = part.table.both + part.table.first + part.table.second + part.table.neither
    assert seen == 2 * part.images
    spread = (part.table.first + part.table.second) / seen  # mean square of an image's difference
    whole = images_needed(part.difference, spread)
    assert whole is not None and part.needed.images == math.ceil(whole / 2)
    assert any("each pair of runs has its own images" in note for note in pair.notes)
    (same,) = against("healthy", "again", "crippled", "crippled-1").pairs
    assert not any("On test, each pair" in note for note in same.notes)


def test_closed_test_sets_are_judged_on_validation(against: Callable[..., CompareRecord]) -> None:
    record = against("closed", "closed-crippled")
    (pair,) = record.pairs
    assert pair.judged_on == "validation" and pair.verdict == "worse" and not record.uses_test
    assert any("keeps its test set closed" in why for why in pair.not_comparable)
    assert record.candidates[0].calibration is not None
    assert not RunDir(record.candidates[0].runs[0].folder).looks.exists()


def test_digits_cut_with_other_seeds_are_samples_of_their_own(against: Callable[..., CompareRecord]) -> None:
    (pair,) = against("digits", "digits-1").pairs
    part = pair.parts[0]
    assert (part.pairs, part.table, part.loss_interval, part.classes, pair.flips) == (0, None, None, (), None)
    assert "Image by image on test: the test images were split with different seeds (0 and 1)" in pair.not_comparable[0]
    assert "train both with one --seed" in pair.not_comparable[0]
    assert pair.verdict == "worse" and "each on its own images" in pair.words


def test_protocols_that_differ_are_told(against: Callable[..., CompareRecord]) -> None:
    (pair,) = against("healthy", "unvalidated").pairs
    assert [part.part for part in pair.parts] == ["test"]
    assert "Validation: unvalidated has no validation set." in pair.not_comparable
    assert any("nothing (the last epoch)" in note for note in pair.notes)
    (pair,) = against("healthy", "other-validation").pairs
    assert any("augmented differently" in why for why in pair.not_comparable)
    assert [part.part for part in pair.parts] == ["test"]


def test_other_image_sizes_are_the_same_images(against: Callable[..., CompareRecord]) -> None:
    (pair,) = against("healthy", "larger").pairs
    assert pair.parts[0].table is not None
    assert any("decoded to 16 and 20 pixels; their files show that they are the same" in note for note in pair.notes)


def test_what_diverged_has_no_score(against: Callable[..., CompareRecord]) -> None:
    record = against("healthy", "diverged")
    (pair,) = record.pairs
    assert pair.verdict == "not comparable" and pair.parts == ()
    assert any("diverged" in why for why in pair.more)
    assert record.candidates[0].calibration is not None  # on test, which the other one had not reached


def test_old_records_are_compared_as_samples(
    trained: Callable[[str], Path], against: Callable[..., CompareRecord], tmp_path: Path
) -> None:
    def older(record: RunRecord) -> RunRecord:
        assert record.test is not None
        return replace(record, data=replace(record.data, hashes={}), test=replace(record.test, per_image=None))

    old = change(trained("crippled"), tmp_path / "old", older)
    (pair,) = against("healthy", old).pairs
    assert any("has no per-image results" in why and "retrain that run" in why for why in pair.not_comparable)
    assert pair.verdict == "worse" and pair.parts[0].table is None


# --- what is kept -------------------------------------------------------------------------------------


def test_the_look_is_noted_before_anything_is_shown(
    trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (change(trained(n), tmp_path / n, lambda record: record) for n in ("healthy", "crippled"))
    logs = [RunDir(folder).looks for folder in (first, second)]
    before = [len(looks.read(log)) for log in logs]

    def broken(*_: object) -> None:
        raise OSError("no room left")

    for step, what in enumerate(("write_whole", "page.write"), 1):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no room left"):
            patch.setattr(f"rungs.study.comparison.compare.{what}", broken)
            compare(first, second, folder=tmp_path / "out")
        assert [len(looks.read(log)) for log in logs] == [many + step for many in before]
        assert (tmp_path / "out" / "comparison.json").exists() == (step == 2)


@pytest.mark.usefixtures("no_page")
def test_the_look_is_noted(trained: Callable[[str], Path], tmp_path: Path) -> None:
    first = change(trained("healthy"), tmp_path / "first", lambda record: record)
    second = change(trained("crippled"), tmp_path / "second", lambda record: record)
    record = compare(first, second, folder=tmp_path / "out")
    for folder, other in ((first, "second"), (second, "first")):
        look = looks.read(RunDir(folder).looks)[-1]
        assert (look.kind, look.purpose, look.images) == ("compared", f"compared with {other}", 180)
        assert look.test_hash == RunDir(folder).read_record().data.hashes["test"]
    assert record.warnings == () and [run.compared for one in record.candidates for run in one.runs] == [0, 0]
    assert compare(first, second, folder=tmp_path / "out").candidates[0].runs[0].compared == 1


def test_a_log_that_cannot_be_written_is_told(trained: Callable[[str], Path], tmp_path: Path) -> None:
    first = change(trained("healthy"), tmp_path / "first", lambda record: record)
    RunDir(first).looks.unlink()
    RunDir(first).looks.mkdir()
    record = compare(first, trained("crippled"), folder=tmp_path / "out")
    (warning,) = record.warnings
    assert str(RunDir(first).looks) in warning and "could not be logged" in warning
    assert "could not be logged" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_differs_is_in_the_table(against: Callable[..., CompareRecord]) -> None:
    record = against("healthy", "crippled", "unvalidated")
    assert {row.name: row.values for row in record.fields} == {
        "data.validation": ("0.25", "0.25", "0"),
        "optim.lr": ("0.05", "0.00001", "0.05"),
        "training.epochs": ("12", "12", "2"),
    }
    assert {"training images", "validation images"} <= {row.name for row in record.others}
    assert [pair.second for pair in record.pairs] == ["crippled", "unvalidated"]
    assert record.pairs[0].parts[0].p_holm >= record.pairs[0].parts[0].p


def test_flipped_images_have_their_pictures(against: Callable[..., CompareRecord]) -> None:
    (pair,) = against("healthy", "crippled").pairs
    assert pair.flips is not None and pair.flips.why_no_pictures == ""
    wrong = pair.flips.newly_wrong
    assert len(wrong) == min(24, pair.flips.lost) > 5 and all(flip.picture for flip in wrong)
    assert all(flip.first == flip.truth != flip.second for flip in wrong)
    assert [flip.second_confidence for flip in wrong] == sorted(
        (flip.second_confidence for flip in wrong), reverse=True
    )
    assert all(flip.path and "test" in flip.path for flip in wrong)


def test_data_that_is_gone_costs_the_pictures_only(trained: Callable[[str], Path], tmp_path: Path) -> None:
    def moved(record: RunRecord) -> RunRecord:
        recipe = replace(record.recipe, data=replace(record.recipe.data, source="folder:/nowhere"))
        return replace(record, recipe=recipe)

    runs = [change(trained(name), tmp_path / name, moved) for name in ("healthy", "crippled")]
    (pair,) = compare(*runs, folder=tmp_path / "out").pairs
    assert pair.verdict == "worse" and pair.flips is not None and pair.flips.why_no_pictures
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "There are no pictures:" in page


# --- what is given ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def climbed(trained: Callable[[str], Path], place: Path) -> Path:
    """A climb of two rungs with two seeds, made of runs that were trained by themselves."""
    from ladder_samples import diary

    root, record = place / "climb", diary()
    cells = {"start": ("healthy", "again"), "slow": ("crippled", "crippled-1")}
    rungs = []
    for rung, (name, runs) in zip(record.rungs, cells.items(), strict=False):
        made = []
        for cell, source in zip(rung.cells, runs, strict=False):
            folder = f"{name}-seed{cell.seed}-abc"
            shutil.copytree(trained(source), root / folder)
            made.append(replace(cell, folder=folder))
        rungs.append(replace(rung, name=name, cells=tuple(made)))
    write_whole(root / "ladder.json", to_json(replace(record, rungs=tuple(rungs))))
    from_json((root / "ladder.json").read_bytes(), LadderRecord, root)
    return root


@pytest.mark.usefixtures("no_page")
def test_two_rungs_of_a_climb(climbed: Path, tmp_path: Path) -> None:
    record = compare(f"{climbed}:start", f"{climbed}:slow", folder=tmp_path / "out")
    assert [(one.name, len(one.runs)) for one in record.candidates] == [("start", 2), ("slow", 2)]
    assert record.pairs[0].verdict == "worse" and record.pairs[0].parts[0].by_seed is not None
    noted = looks.read(LadderDir(climbed).looks)
    assert [look.purpose for look in noted] == ["start compared with slow", "slow compared with start"]


def test_a_rung_alone_is_its_seeds(climbed: Path) -> None:
    assert [group.name for group in read_candidates([f"{climbed}:start"])] == ["start, seed 0", "start, seed 1"]


def test_what_cannot_be_compared_is_refused(
    trained: Callable[[str], Path], climbed: Path, place: Path, tmp_path: Path
) -> None:
    healthy = trained("healthy")

    def classes(record: RunRecord) -> RunRecord:
        return replace(record, data=replace(record.data, classes=("cat", "dog", "cow")))

    def data(record: RunRecord) -> RunRecord:
        hashes = dict.fromkeys(record.data.hashes, "f" * 64)
        return replace(record, data=replace(record.data, hashes=hashes))

    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((healthy,), "one run alone cannot be compared"),
        ((), "nothing to compare"),
        ((healthy, healthy / ".." / "healthy"), "given twice"),
        ((healthy, place / "nowhere"), "no such folder"),
        ((healthy, healthy / "run.json"), "this is a file"),
        ((healthy, place), "no run.json here"),
        ((healthy, climbed), f"name a rung: {climbed}:start, {climbed}:slow"),
        ((healthy, f"{climbed}:strat"), "did you mean 'start'"),
        ((healthy, trained("digits")), "different classes from"),
        ((healthy, change(healthy, tmp_path / "classes", classes)), "different classes from"),
        ((healthy, change(healthy, tmp_path / "data", data)), "the data changed in between"),
    ]
    for runs, message in cases:
        with pytest.raises(UserError) as error:
            compare(*runs, folder=tmp_path / "out")
        assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_other_data_is_refused(trained: Callable[[str], Path], tmp_path: Path) -> None:
    def other(record: RunRecord) -> RunRecord:
        hashes = dict.fromkeys(record.data.hashes, "f" * 64)
        return replace(record, data=replace(record.data, hashes=hashes, source="folder:elsewhere"))

    away = change(trained("healthy"), tmp_path / "away", other)
    with pytest.raises(UserError, match=r"different data from .*: folder:elsewhere, not folder:"):
        compare(trained("healthy"), away, folder=tmp_path / "out")


def test_a_folder_that_holds_something_else_is_left_alone(trained: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match="this folder is not empty"):
        compare(trained("healthy"), trained("crippled"), folder=trained("again"))


@pytest.mark.usefixtures("no_page")
def test_the_usual_folder(trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compare(trained("healthy"), trained("crippled"))
    compare(trained("healthy"), trained("crippled"))
    change(trained("crippled"), tmp_path / "crippled", lambda record: record)
    compare(trained("healthy"), "crippled")
    assert sorted(path.name for path in Path("comparisons").iterdir()) == [
        "healthy-vs-crippled",
        "healthy-vs-crippled-2",
    ]


@pytest.mark.usefixtures("no_page")
def test_what_is_printed(trained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(trained("healthy")), str(trained("crippled"))
    COMMANDS["compare"](CompareOptions(runs, folder=tmp_path / "out"))
    said = capsys.readouterr().out
    assert said.startswith("WORSE crippled is worse than healthy: ")
    for part in ("optim.lr", "0.00001", "test accuracy", "selecting on the test set", "On validation: ", "report.html"):
        assert part in said
    COMMANDS["compare"](CompareOptions(runs, folder=tmp_path / "out"), json=True)
    plain = from_json(capsys.readouterr().out.encode(), CompareRecord, "stdout")
    assert plain.pairs[0].verdict == "worse" and plain.pairs[0].flips is not None
    assert all(flip.picture == "" for flip in plain.pairs[0].flips.newly_wrong)


@pytest.mark.needs_cifar
@pytest.mark.dear
def test_on_real_cifar10(against: Callable[..., CompareRecord], tmp_path: Path) -> None:
    """Two seeds, and a rate that teaches nothing."""
    cifar = ("data.source=cifar10", "data.train=600", "data.validation=200", "augment.train=[]", "training.epochs=3",
             "model.stages=[[8], [8], [16]]", "evaluation.score_train=false")  # fmt: skip
    for name, more in {"one": (), "two": ("seed=1",), "slow": ("optim.lr=0.000001",)}.items():
        run(small(*cifar, *more), tmp_path / name)
    one, two, slow = (tmp_path / name for name in ("one", "two", "slow"))
    seeds = against(one, two)
    assert seeds.pairs[0].verdict == "not to be told apart" and seeds.pairs[0].parts[0].images == 10_000
    rates = against(one, slow)
    assert rates.pairs[0].verdict == "worse" and rates.source == "cifar10"
    assert rates.pairs[0].flips is not None and rates.pairs[0].flips.newly_wrong[0].picture


def test_runs_that_diverged_count_as_guessing_and_are_named(
    against: Callable[..., CompareRecord], trained: Callable[[str], Path], tmp_path: Path
) -> None:
    def exploded(record: RunRecord) -> RunRecord:
        return replace(record, status="diverged", ending="the loss exploded", test=None, validation=None)

    broken = change(trained("third"), tmp_path / "third", exploded)
    (pair,) = against("crippled", "crippled-1", "crippled-2", "healthy", "again", broken).pairs
    part = pair.parts[0]
    (whole,) = against("crippled", "crippled-1", "crippled-2", "healthy", "again", "third").pairs
    assert part.second < whole.parts[0].second - 0.05  # a third of the runs guesses
    assert len(part.diverged) == 1
    assert "1 of 3 runs of" in pair.words and "diverged and count as guessing." in pair.words
    assert not any("did not finish" in note for note in pair.notes)
