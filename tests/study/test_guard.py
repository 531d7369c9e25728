"""The guard adds up the logs of a folder, and says how optimistic choosing by a test set would be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import search_samples
from msgspec.structs import replace
from small import run, small

from rungs.errors import UserError
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import to_json
from rungs.study.guard import highest_of, sum_up, verdict
from rungs.study.search.record import SearchDir

ONE = "training.epochs=1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one test set, one of them watched; one with it closed; one of another seed, so of other images."""
    root = tmp_path_factory.mktemp("guarded") / "runs"
    run(small(ONE), root / "plain")
    run(small("training.epochs=3", "evaluation.watch_test=true"), root / "deep" / "watched")
    run(small(ONE, "evaluation.score_test=false"), root / "closed")
    run(small(ONE, "seed=1"), root / "other")
    return root


def test_it_counts_looks_by_test_set(runs: Path) -> None:
    found = sum_up(runs)
    assert (found.runs, found.closed, len(found.sets)) == (4, 1, 2)
    mine = next(one for one in found.sets if len(one.opened) == 2)
    assert {one.folder: one.openings for one in mine.opened} == {"plain": 1, "deep/watched": 4}
    assert len(mine.of("run")) == 2 and mine.images == 180
    said = verdict(mine)
    assert "opened 5 times by 2 runs" in said and "One watched it over the epochs" in said
    other = next(one for one in found.sets if len(one.opened) == 1)
    assert verdict(other) == (
        "digits, test set of 180 images: opened once by 1 run. Each opened it once, after its epoch was chosen."
    )


def test_a_copy_of_a_run_opened_nothing(runs: Path, tmp_path: Path) -> None:
    for name in ("a/plain", "b/plain"):
        shutil.copytree(runs / "plain", tmp_path / name)
    found = sum_up(tmp_path)
    assert found.runs == 1 and [one.openings for one in found.sets[0].opened] == [1]
    looks.note(RunDir(tmp_path / "b" / "plain").looks, "scored", "again", 180, found.sets[0].test_hash)
    assert [one.openings for one in sum_up(tmp_path).sets[0].opened] == [1, 2]


def test_what_gained_nothing_is_not_called_optimistic_by_nought(runs: Path) -> None:
    mine = next(one for one in sum_up(runs).sets if len(one.opened) == 2)
    perfect = tuple(replace(one, accuracy=1.0, flattery=None if one.flattery is None else 0.0) for one in mine.opened)
    said = verdict(replace(mine, opened=perfect, luck=0.0))
    assert "0.00" not in said and "optimistic" not in said
    assert "choosing the epoch on test would have gained nothing." in said
    assert "Choosing the best of these 2 by it gained nothing." in said
    watched = tuple(replace(one, flattery=None if one.flattery is None else 0.01) for one in mine.opened)
    lucky = verdict(replace(mine, opened=watched))
    assert "would have been optimistic by 1.00 points" in lucky and "points too high by chance" in lucky


def test_flattery_is_the_best_watched_epoch_minus_the_chosen_one(runs: Path) -> None:
    record = RunDir(runs / "deep" / "watched").read_record()
    watched = [row.test_accuracy for row in record.history if row.test_accuracy is not None]
    assert record.test is not None and len(watched) == 3
    mine = next(one for one in sum_up(runs).sets if len(one.opened) == 2)
    told = {one.folder: one.flattery for one in mine.opened}
    assert told == {"plain": None, "deep/watched": pytest.approx(max(watched) - record.test.accuracy)}


def test_a_run_without_a_log_is_read_from_its_record(runs: Path, tmp_path: Path) -> None:
    old = RunDir(tmp_path / "old")
    old.path.mkdir()
    old.record.write_bytes(RunDir(runs / "deep" / "watched").record.read_bytes())
    (one,) = sum_up(tmp_path).sets[0].opened
    assert [look.kind for look in one.looks] == ["watched", "watched", "watched", "scored"]
    assert "no log" in one.looks[0].who


def test_later_looks_and_comparisons_are_told(runs: Path, tmp_path: Path) -> None:
    mine = RunDir(tmp_path / "mine")
    mine.path.mkdir()
    for name in (mine.record.name, mine.looks.name):
        (mine.path / name).write_bytes((runs / "plain" / name).read_bytes())
    test_hash = RunDir(runs / "plain").read_record().data.hashes["test"]
    looks.note(mine.looks, "evaluated", "once more", 180, test_hash)
    looks.note(mine.looks, "compared", "with other", 180, test_hash)
    (one,) = sum_up(tmp_path).sets
    assert one.opened[0].openings == 2
    said = verdict(one)
    assert "scored on it again, once" in said and "Its scores were compared once" in said
    assert "Each opened it once" not in said


def test_what_a_search_opened_is_told_with_the_set_that_it_opened(runs: Path, tmp_path: Path) -> None:
    """The winner's re-runs are trained with a closed test set; the look at it is in the search's own log."""
    record, search = RunDir(runs / "plain").read_record(), SearchDir(tmp_path / "search")
    found = replace(search_samples.usual(), data=record.data)
    search.path.mkdir()
    search.record.write_bytes(to_json(found))
    test_hash = record.data.hashes["test"]
    looks.note(search.looks, "scored", "the score of trial-3", 180, test_hash)
    (tmp_path / "run").mkdir()
    for name in ("run.json", "looks.jsonl"):
        (tmp_path / "run" / name).write_bytes((runs / "plain" / name).read_bytes())
    (one,) = sum_up(tmp_path).sets
    assert [who.folder for who in one.of("study")] == ["search"]
    assert "opened twice by 1 run and 1 study. Each opened it once" in verdict(one)


def test_looks_at_several_sets_are_told_with_each(runs: Path, tmp_path: Path) -> None:
    mine = RunDir(tmp_path / "mine")
    mine.path.mkdir()
    for name in (mine.record.name, mine.looks.name):
        (mine.path / name).write_bytes((runs / "plain" / name).read_bytes())
    looks.note(mine.looks, "evaluated", "another source", 40, "another hash")
    own, other = sum_up(tmp_path).sets
    assert [own.opened[0].openings, other.opened[0].openings] == [1, 1]
    assert own.opened[0].accuracy is not None and other.opened[0].accuracy is None
    assert (own.images, other.images) == (180, 40)


def test_a_damaged_record_is_named_and_the_others_are_read(runs: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes((runs / "plain" / "run.json").read_bytes())
    (tmp_path / "bad" / "run.json").write_bytes(b"{")
    found = sum_up(tmp_path)
    assert found.runs == 1 and len(found.unreadable) == 1 and found.unreadable[0].startswith("bad/run.json: ")


def test_the_highest_of_n_normals() -> None:
    draws = np.random.default_rng(0).standard_normal((40_000, 10)).max(1)
    assert highest_of(10) == pytest.approx(draws.mean(), abs=4 * draws.std() / 200)  # 4 standard errors
    assert highest_of(1) == 0
    assert highest_of(2) == pytest.approx(1 / np.sqrt(np.pi), abs=1e-6)


def test_nothing_to_guard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs found"):
        sum_up(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        sum_up(tmp_path / "nowhere")


def test_the_command(runs: Path) -> None:
    command = [sys.executable, "-m", "rungs", "guard", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 runs; 1 of them opened no test set" in done.stdout
    assert "deep/watched" in done.stdout and "3 watched, 1 scored" in done.stdout
    plain = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert json.loads(plain.stdout)["runs"] == 4
