"""How far a climb has got: from its files, without a change to them, while it runs and after."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import samples
from climbed import BASE, begin, cell_of, end, plan_in, write_ladder
from command import UNDRAWN, rungs
from filelock import FileLock

from rungs.cli.climb import progress_shown
from rungs.run.folder import RunDir
from rungs.study.ladder import climb as climbing
from rungs.study.ladder import progress
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.spec import Cell

CHIP = samples.ENVIRONMENT.device


def begun_climb(tmp_path: Path) -> ClimbPlan:
    """Of nine cells one is done, one diverged, one was killed in its last epoch; an epoch takes 10 s, of wider 20 s."""
    plan = plan_in(tmp_path)
    end(plan, cell_of(plan, "first"), *[10.0] * 6)
    end(plan, cell_of(plan, "wider"), 20.0, status="diverged")
    begin(plan, cell_of(plan, "first", 1), *[10.0] * 5)
    return plan


def states(now: progress.Progress) -> dict[str, str]:
    return {f"{one.cell.rung} {one.cell.seed}": one.state for one in now.cells}


def test_every_cell_has_its_state(tmp_path: Path) -> None:
    plan = begun_climb(tmp_path)
    running = begin(plan, cell_of(plan, "longer"), 10.0, 10.0)
    with running.locked():
        now = progress.read(plan, CHIP, failed={cell_of(plan, "wider", 1)})
    assert states(now) == {
        "first 0": "done",
        "first 1": "started",
        "first 2": "left",
        "wider 0": "diverged",
        "wider 1": "failed",
        "wider 2": "left",
        "longer 0": "running",
        "longer 1": "left",
        "longer 2": "left",
    }
    assert now.epoch_s == {"first": pytest.approx(10), "wider": pytest.approx(20), "longer": pytest.approx(10)}
    assert states(progress.read(plan, CHIP))["longer 0"] == "started"  # its process has ended


def test_the_time_left_is_shared_by_the_jobs_that_run(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    one, two = (begin(plan, cell_of(plan, "first", seed), *[10.0] * 3) for seed in (0, 1))
    for folder in (one, two):
        os.utime(folder.history, (time.time() + 60,) * 2)  # no part of the next epoch has passed
    whole = 30 + 30 + 60 + 3 * 60 + 3 * 120  # the net of wider is not measured: the mean of the others
    with one.locked():
        assert progress.read(plan, CHIP).left_s == pytest.approx(whole, abs=0.1)
        with two.locked():
            now = progress.read(plan, CHIP)
    assert now.jobs == 2 and now.left_s == pytest.approx(whole / 2, abs=0.1)
    assert set(now.epoch_s) == {"first", "longer"}
    only = progress.read(plan_in(tmp_path, only=("longer",), seeds=1), CHIP)
    assert only.left_s == pytest.approx(120)  # a rung left out by --only is measured, too


def test_the_part_of_an_epoch_that_has_passed_is_not_left(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, only=("first",), seeds=1)
    folder = begin(plan, plan.cells[0], *[100.0] * 5)
    for passed_s, left_s in ((40, 60), (9556, 0)):  # at most an epoch: the machine may have slept
        os.utime(folder.history, (time.time() - passed_s,) * 2)
        with folder.locked():
            assert progress.read(plan, CHIP).left_s == pytest.approx(left_s, abs=1)
        assert progress.read(plan, CHIP).left_s == pytest.approx(100)  # it does not run


def test_a_pack_is_one_job(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, pack=2, only=("first",))
    one, two = (begin(plan, cell_of(plan, "first", seed), 5.0, packed=2) for seed in (0, 1))
    with one.locked(), two.locked():
        assert progress.read(plan, CHIP).jobs == 1
    for folder in (one, two):
        folder.history.unlink()
    with one.locked(), two.locked():  # before its first epoch, too
        assert progress.read(plan, CHIP).jobs == 1


def words_of(plan: ClimbPlan, failed: frozenset[Cell] = frozenset()) -> tuple[str, list[str]]:
    now = progress.read(plan, CHIP, failed)
    return progress.line(now), progress.status(now)


def test_the_words(tmp_path: Path) -> None:
    plan = begun_climb(tmp_path)
    running, new = begin(plan, cell_of(plan, "longer"), 10.0, 10.0), begin(plan, cell_of(plan, "wider", 2))
    changed = time.time() - 125
    os.utime(running.history, (changed, changed))
    with running.locked(), new.locked():
        line, status = words_of(plan, frozenset({cell_of(plan, "wider", 1)}))
    clock, _, words = line.partition("  ")
    assert datetime.strptime(clock, "%H:%M")
    # 10 of first 1, 60 of first 2, 120 of wider, 90 and 2 x 120 of longer; two jobs
    shown = (
        "3 of 9 cells (1 failed); running: longer seed 0, epoch 3 of 12; wider seed 2, epoch 1 of 6; about 4 min left"
    )
    assert words == shown
    assert status[0] == "9 cells: 1 done, 1 diverged, 1 failed, 2 running, 1 started but not running, 3 left"
    assert status[1].startswith("running: longer seed 0, epoch 3 of 12; its history changed 2 min 5 s ago, at ")
    assert status[2] == "running: wider seed 2, epoch 1 of 6"
    assert status[3:6] == ["started: first seed 1, 5 of 6 epochs", "diverged: wider seed 0", "failed: wider seed 1"]
    assert status[6] == "pace: an epoch takes 10 s (first) to 20 s (wider); 3 of 3 rungs measured"
    assert status[7].startswith("about 4 min left, until ") and status[7].endswith(", with 2 jobs")
    assert words_of(plan)[1][-1].endswith(", with 1 job, if it were started now")


def test_the_words_before_an_epoch_is_measured_and_after_the_last(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, only=("first",), seeds=1)
    (cell,) = plan.cells
    folder = begin(plan, cell)
    with folder.locked():
        line, status = words_of(plan)
    assert line.endswith("0 of 1 cell; running: first seed 0, epoch 1 of 6")
    assert status[-2:] == [
        "pace: no epoch has been measured on a machine like this one",
        "time left: not known before an epoch is measured",
    ]
    folder.write_history(
        end(plan_in(tmp_path, seeds=2), cell_of(plan_in(tmp_path), "first", 1), *[9.0] * 6).read_history()
    )
    with folder.locked():
        assert "running: first seed 0, being scored" in words_of(plan)[0]
    (tmp_path / "new").mkdir()
    plan = plan_in(tmp_path / "new", only=("first",), seeds=1)
    end(plan, cell, *[0.05] * 6)
    line, status = words_of(plan)
    assert line.endswith("  1 of 1 cell")
    assert status == [
        "1 cell: 1 done, 0 running, 0 left",
        "pace: an epoch takes 0.05 s (first); 1 of 1 rung measured",
        "nothing is left to train",
    ]


def test_times_have_no_more_digits_than_an_estimate() -> None:
    times = [progress.rough(seconds) for seconds in (0.4, 59.4, 59.6, 840, 11400, 540_000)]
    assert times == ["0 s", "59 s", "1 min", "14 min", "3 h 10 min", "150 h 0 min"]


def snapshot(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in (root, *root.rglob("*"))}


def test_status_changes_no_file(tmp_path: Path) -> None:
    begun_climb(tmp_path)
    before = snapshot(tmp_path)
    done = rungs("climb", "ladder.toml", "--out", "climb", "--status", cwd=tmp_path)
    assert "9 cells: 1 done, 1 diverged, 0 running, 1 started but not running, 6 left\n" in done.stdout
    assert done.stdout.endswith("folder: climb\n")
    done = rungs("climb", "ladder.toml", "--out", "climb", "--seeds", "1", "--only", "wider", "--status", cwd=tmp_path)
    assert "1 cell: 0 done, 1 diverged, 0 running, 0 left\n" in done.stdout
    done = rungs("climb", "ladder.toml", "--status", cwd=tmp_path)
    assert done.stdout == "nothing is trained yet: 9 cells to train\nfolder: climbs/small\n"
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("other", ["--dry-run", "--quiet"])
def test_status_excludes_other_ways_of_telling(tmp_path: Path, other: str) -> None:
    write_ladder(tmp_path)
    done = rungs("climb", "ladder.toml", "--status", other, cwd=tmp_path, code=2)
    assert f"{other} and --status were given together" in done.stderr and "give one of them" in done.stderr


def test_status_names_what_failed_in_an_earlier_climb(tmp_path: Path) -> None:
    write_ladder(tmp_path, BASE.replace("epochs = 6", "epochs = 1"))
    text = (tmp_path / "ladder.toml").read_text().replace("[[16], [32]]", "[[4], [4], [4], [4]]")
    (tmp_path / "ladder.toml").write_text(text)
    words = ("climb", "ladder.toml", "--seeds", "1", "--jobs", "0")
    rungs(*words, cwd=tmp_path, code=2)
    done = rungs(*words, "--status", cwd=tmp_path)
    assert done.stdout.startswith("3 cells: 2 done, 1 failed, 0 running, 0 left\nfailed: wider seed 0\n")


def test_a_running_climb_is_followed_and_not_disturbed(tmp_path: Path) -> None:
    """Its lines reach its file at once; asked again and again for its status, it finishes without an error."""
    path = write_ladder(tmp_path)
    path.write_text(path.read_text().replace("epochs=12", "epochs=40"))
    words = ["climb", "ladder.toml", "--seeds", "1", "--only", "first", "--only", "longer", "--out", "climb"]
    seen: list[str] = []
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*UNDRAWN, *words, "--jobs", "0"], stdout=log, stderr=log, cwd=tmp_path)
        with process:
            wait_for(lambda: "[1/2] first, seed 0: " in (tmp_path / "log").read_text())
            while process.poll() is None:
                seen.append(rungs(*words, "--status", cwd=tmp_path).stdout)
                time.sleep(0.1)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert any("2 cells: 1 done, 1 running, 0 left\nrunning: longer seed 0, epoch " in text for text in seen)
    assert "2 cells: 2 done, 0 running, 0 left\n" in rungs(*words, "--status", cwd=tmp_path).stdout


def test_a_climb_tells_its_progress_in_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_in(tmp_path, epochs=20, jobs=0, seeds=1, only=("first",))
    with progress_shown(plan, (), quiet=False, every_s=0.2):
        climbing.run(plan)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2 and all("of 1 cell" in line for line in lines)
    assert any("0 of 1 cell; running: first seed 0, epoch " in line for line in lines)
    with progress_shown(plan, (), quiet=True, every_s=0.01):
        time.sleep(0.1)
    time.sleep(0.1)  # no thread is left that prints
    assert capsys.readouterr().out == ""


def test_an_error_in_the_telling_ends_nothing() -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise OSError("the disk is gone")

    with progress.told_every(0.01, fail):
        wait_for(lambda: len(calls) >= 3)
    many = len(calls)
    time.sleep(0.05)
    assert len(calls) == many
    with pytest.raises(KeyboardInterrupt), progress.told_every(60, fail):
        raise KeyboardInterrupt


def test_a_lock_is_seen_and_none_is_made(tmp_path: Path) -> None:
    folder = RunDir(tmp_path / "run")
    assert not folder.is_locked() and not folder.path.exists()
    folder.path.mkdir()
    assert not folder.is_locked() and list(folder.path.iterdir()) == []
    (folder.path / "file").touch()
    with folder.locked():
        assert folder.is_locked()
    assert not folder.is_locked()


def test_a_run_waits_for_who_only_looks(tmp_path: Path) -> None:
    """A look holds the lock for a moment; a run that starts in this moment does not fail."""
    (tmp_path / ".lock").touch()
    held, free = threading.Event(), threading.Event()

    def look() -> None:
        with FileLock(tmp_path / ".lock"):
            held.set()
            free.wait(0.2)

    looking = threading.Thread(target=look)
    looking.start()
    held.wait()
    with RunDir(tmp_path).locked():
        assert RunDir(tmp_path).is_locked()
    looking.join()


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
