"""How many workers train in parallel: measured, in seconds, and only where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command import rungs
from searches import plan_of, write_files
from small import small

from rungs.recipe.spec import Recipe
from rungs.study.ladder import jobs
from rungs.study.ladder.climb import prepare
from rungs.study.ladder.jobs import Jobs, Probe, choose_jobs
from rungs.study.ladder.options import ClimbOptions
from rungs.study.processes import MOST_JOBS

GOOD = 2e9
"""Bytes of a worker; any machine of these tests has more."""


LADDER = """
name = "small-ladder"
about = "A tiny net, and one twice as wide."
base = "tiny.toml"
builds_on = "previous"
seeds = 2
[[rungs]]
name = "first"
about = "As it is."
[[rungs]]
name = "wider"
about = "Twice the channels."
set = ["model.stages=[[16]]"]
"""


@pytest.fixture
def ladder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a ladder, in the current folder, beside a recipe and a space for a search."""
    write_files(tmp_path)
    (tmp_path / "ladder.toml").write_text(LADDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ladder.toml"


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jobs, "TURN_S", 0.005)
    monkeypatch.setattr(jobs, "BUSY", float("inf"))  # the machine of a test may be
    monkeypatch.setattr(jobs, "available_bytes", lambda: 10 * GOOD)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def fastest(step_s: dict[int, float], cells: int, worker_bytes: float = GOOD) -> Jobs:
    threads = max(step_s)
    return jobs._fastest(Probe(tuple(step_s.items()), worker_bytes), threads, cells, min(threads, MOST_JOBS, cells))


@pytest.mark.parametrize(
    ("step_s", "cells", "number"),
    [
        ({2: 1.0, 1: 1.0}, 6, 2),  # a second thread gains nothing
        ({2: 1.0, 1: 2.0}, 6, 1),  # it halves the time
        ({2: 1.0, 1: 1.94}, 6, 1),  # two workers would gain 3 %
        ({2: 1.0, 1: 1.4}, 6, 2),
        ({2: 1.0, 1: 1.6}, 3, 1),  # two turns of 1.6 against three of 1
        ({4: 1.0, 2: 1.1, 1: 2.2}, 40, 2),
        ({4: 1.0, 2: 1.1, 1: 1.2}, 40, 4),
        ({4: 1.0, 2: 1.1, 1: 1.2}, 3, 3),
        ({8: 1.0, 4: 1.0, 2: 1.0}, 3, 3),
    ],
)
def test_as_many_workers_as_train_the_cells_in_the_least_time(
    step_s: dict[int, float], cells: int, number: int
) -> None:
    assert fastest(step_s, cells).number == number


def test_the_reason_says_what_was_measured() -> None:
    found = fastest({2: 1.0, 1: 1.4}, 6)
    assert found.reason == "2 workers with 1 thread each: 1.4 times as fast as one with 2, measured"
    found = fastest({2: 1.0, 1: 1.94}, 6)
    assert found.reason == "1 worker with 2 threads: 2 with 1 thread each would be 1.03 times as fast, measured"


def test_no_more_workers_than_memory_allows() -> None:
    found = fastest({4: 1.0, 2: 1.0, 1: 1.0}, 40, worker_bytes=4 * GOOD)
    assert found.number == 2
    assert found.reason.endswith("; memory allows 2")
    assert fastest({4: 1.0, 2: 1.0, 1: 1.0}, 40, worker_bytes=40 * GOOD).number == 1


def test_a_probe_times_steps_with_each_number_of_threads_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WORTH_S", 0.0)
    kept = []
    probe = jobs._probe

    def watched(recipe: Recipe, cells: int, pack: int) -> Probe:
        kept.append(probe(recipe, cells, pack))
        return kept[-1]

    monkeypatch.setattr(jobs, "_probe", watched)
    first = choose_jobs(small(), 8)
    assert first.number in (1, 2) and "measured" in first.reason
    (found,) = kept
    assert [threads for threads, _ in found.step_s] == [2, 1]
    assert all(0 < seconds < 1 for _, seconds in found.step_s)
    assert found.worker_bytes >= jobs.IMPORTS_BYTES
    assert torch.get_num_threads() == 2
    assert choose_jobs(small("seed=3", "training.epochs=9"), 8) == first
    assert len(kept) == 1
    choose_jobs(small("model.stages=[[4]]"), 8)
    choose_jobs(small("model.batch_norm=false", "augment.train=[]", "model.dropout=[]"), 8, 2)  # a pack
    assert len(kept) == 3


def test_a_probe_leaves_the_batch_of_a_large_net_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WORTH_S", 0.0)
    monkeypatch.setattr(jobs, "LONGEST_STEP_S", 0.0)
    images = set()
    step_s = jobs._step_s
    monkeypatch.setattr(jobs, "_step_s", lambda *given: images.add(given[2]) or step_s(*given))
    jobs._probe(small(), 8, 1)
    assert images == {jobs.FIRST_IMAGES}


def test_a_short_study_is_not_probed_to_the_end(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_in_turns", lambda *_: pytest.fail("timed"))
    monkeypatch.setattr(jobs, "WORTH_S", float("inf"))
    assert choose_jobs(small("training.precision=fp32"), 8) == Jobs(2)
    assert not list((cache_home / "rungs" / "measured").glob("*.json"))


def test_a_probe_next_to_other_work_is_not_believed(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "BUSY", 1.5)
    monkeypatch.setattr(jobs, "WORTH_S", 0.0)
    monkeypatch.setattr(jobs, "_in_turns", lambda *_: {1: 1.0, 2: 100.0})
    assert choose_jobs(small("training.precision=fp32"), 8) == Jobs(2)
    assert not list((cache_home / "rungs" / "measured").glob("*.json"))
    monkeypatch.setattr(jobs, "_in_turns", lambda *_: {1: 1.0, 2: 1.4})
    assert choose_jobs(small("training.precision=fp32"), 8).reason


def test_what_cannot_be_trained_is_left_to_its_cells() -> None:
    assert choose_jobs(small("data.source=nowhere"), 8) == Jobs(2)


def test_nothing_is_measured_where_there_is_no_choice(ladder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "remembered", lambda *_: pytest.fail("measured"))
    assert prepare(ClimbOptions(ladder, jobs=5)).jobs == 5
    assert prepare(ClimbOptions(ladder, only=("first",), seeds=1)).jobs == 1
    assert prepare(ClimbOptions(ladder, only=("first",), seeds=4, pack=4)).jobs == 1
    assert plan_of("tiny.toml", "rates.toml", workers=5).workers == 5
    assert plan_of("tiny.toml", "rates.toml", trials=1).workers == 1
    torch.set_num_threads(1)
    assert prepare(ClimbOptions(ladder)).jobs == 1
    torch.set_num_threads(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepare(ClimbOptions(ladder)).jobs == 1


def test_climb_and_tune_say_what_was_chosen(ladder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def choose(recipe: Recipe, cells: int, pack: int = 1) -> Jobs:
        asked.append((cells, pack))
        return Jobs(0, "as many as a test asks for, measured")

    monkeypatch.setattr("rungs.study.ladder.climb.choose_jobs", choose)
    monkeypatch.setattr("rungs.study.search.study.choose_jobs", choose)
    done = rungs("climb", "ladder.toml", "--only", "first", "--dry-run")
    assert "as many as a test asks for, measured" in done.stdout
    done = rungs("climb", "ladder.toml", "--only", "first")
    assert done.stdout.startswith("as many as a test asks for, measured\n[1/2] first, seed 0")
    done = rungs("climb", "ladder.toml", "--pack", "2", "--dry-run", "--quiet")
    words = ("--trials", "1", "--top", "1", "--seeds", "1", "--out", "search")
    done = rungs("tune", "tiny.toml", "--space", "rates.toml", *words)
    assert done.stdout.startswith("as many as a test asks for, measured\n")
    assert asked == [(2, 1), (2, 1), (1, 2), (1, 1)]  # of four cells two are trained by then: a pack
