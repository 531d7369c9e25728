"""Climbing: cells are runs, what is trained is kept, a failure or a killed process costs its own cell alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import UNDRAWN, rungs

from rungs import climb as rungs_climb
from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.run.record import from_json
from rungs.study import processes
from rungs.study.ladder import spec, workers
from rungs.study.ladder.climb import prepare
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.measures import CURVES

BASE = """
name = "tiny"
[data]
source = "digits"
train = 300
validation = 100
[model]
name = "plain"
stages = [[8], [16]]
hidden = [16]
[optim]
name = "sgd"
lr = 0.1
momentum = 0.9
[training]
epochs = 2
batch_size = 50
[evaluation]
mistakes = 0
"""
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
"""
FAILING = """
[[rungs]]
name = "too-deep"
about = "Four pools leave nothing of 8 pixels."
set = ["model.stages=[[4], [4], [4], [4]]"]
"""


@pytest.fixture
def ladder_file(tmp_path: Path) -> Path:
    return write_ladder(tmp_path)


def write_ladder(folder: Path, text: str = LADDER, base: str = BASE) -> Path:
    (folder / "tiny.toml").write_text(base)
    path = folder / "ladder.toml"
    path.write_text(text)
    return path


def climb(path: Path, root: Path, jobs: int = 0, **options: object) -> tuple[list[Outcome], list[str]]:
    """Climb, and return also what was told, in order: "rung seed kept"."""
    ladder, base = spec.load(path)
    cells = spec.cells(ladder, base, **options)  # type: ignore[arg-type]
    told: list[str] = []

    def tell(outcome: Outcome, done: int, of: int) -> None:
        assert done == len(told) + 1 and of == len(cells)
        told.append(f"{outcome.cell.rung} {outcome.cell.seed} {'kept' if outcome.kept else 'trained'}")

    return workers.train_cells(cells, root, jobs=jobs, skip_unreadable=False, tell=tell), told


def test_cells_are_ordinary_runs_and_none_is_trained_twice(ladder_file: Path, tmp_path: Path) -> None:
    root = tmp_path / "climb"
    _, told = climb(ladder_file, root, seeds=1)
    assert told == ["first 0 trained", "wider 0 trained"]
    outcomes, told = climb(ladder_file, root, jobs=2)  # more seeds train only what is new
    assert told[:2] == ["first 0 kept", "wider 0 kept"] and sorted(told[2:]) == ["first 1 trained", "wider 1 trained"]
    assert [(o.cell.rung, o.cell.seed) for o in outcomes] == [("first", 0), ("wider", 0), ("first", 1), ("wider", 1)]
    for outcome in outcomes:
        run = RunDir(outcome.folder)
        assert run.read_record() == outcome.record
        assert run.weights.exists() and run.history.exists()
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/*") if path.is_file()}
    again, told = climb(ladder_file, root)
    assert [line.split()[-1] for line in told] == ["kept"] * 4
    assert [o.record for o in again] == [o.record for o in outcomes]
    assert {path: path.stat().st_mtime_ns for path in root.glob("*/*") if path.is_file()} == before


@pytest.mark.dear
def test_a_cell_is_the_run_that_train_would_have_made(ladder_file: Path, tmp_path: Path) -> None:
    """Same bits in a worker of a climb as in a run alone: the histories are equal but for the times."""
    (outcome, *_), _ = climb(ladder_file, tmp_path / "climb", jobs=1, seeds=1, only=["first"])
    rungs("train", "tiny.toml", "--out", "alone", "--quiet", cwd=tmp_path)
    alone, cell = RunDir(tmp_path / "alone").read_record(), outcome.record
    assert cell is not None
    assert (alone.fingerprint, alone.test) == (cell.fingerprint, cell.test)
    assert [row.train_loss for row in alone.history] == [row.train_loss for row in cell.history]


def test_the_same_seed_gives_rungs_the_same_images_and_the_same_first_weights(tmp_path: Path) -> None:
    """Rungs that differ in the rate alone are equal before the first step, so their first losses are close."""
    rate = LADDER.replace('set = ["model.stages=[[16], [32]]"]', 'set = ["optim.lr=1e-9"]')
    path = write_ladder(tmp_path, rate.replace('name = "first"', 'name = "first"\nset = ["optim.lr=1e-9"]'))
    outcomes, _ = climb(path, tmp_path / "climb", epochs=1)
    records = {(o.cell.rung, o.cell.seed): o.record for o in outcomes}
    first, second, other = (records[key] for key in (("first", 0), ("wider", 0), ("first", 1)))
    assert first is not None and second is not None and other is not None
    assert first.data.hash == second.data.hash != other.data.hash
    assert first.history[0].train_loss == second.history[0].train_loss != other.history[0].train_loss


@pytest.mark.dear
def test_a_worker_that_is_killed_fails_its_cell_and_is_replaced(
    ladder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does when memory runs out: SIGKILL, in the middle of the first cell."""
    give = workers.Worker.give
    killed: list[int] = []

    def give_and_kill(worker: workers.Worker, cells: workers.Group, root: Path) -> None:
        give(worker, cells, root)
        if not killed:
            killed.append(worker.process.pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(workers.Worker, "give", give_and_kill)
    outcomes, _ = climb(ladder_file, tmp_path / "climb", jobs=1, seeds=1)
    assert outcomes[0].record is None and "was killed (SIGKILL)" in outcomes[0].ending
    assert outcomes[1].record is not None
    monkeypatch.undo()
    outcomes, told = climb(ladder_file, tmp_path / "climb", seeds=1)
    assert told == ["wider 0 kept", "first 0 trained"]
    assert outcomes[0].record is not None


def test_a_climb_that_is_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    """SIGKILL for the parent while a cell trains: its worker ends, too; the next climb resumes that very cell."""
    path = write_ladder(tmp_path, base=BASE.replace("epochs = 2", "epochs = 12"))
    root = tmp_path / "climb"
    words = ["climb", str(path), "--out", str(root), "--seeds", "1", "--only", "first"]
    command = [*UNDRAWN, *words, "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        (cell, *_) = spec.cells(*spec.load(path), seeds=1)
        history = RunDir(root / cell.folder).history
        wait_for(lambda: history.exists() and len(history.read_text().splitlines()) >= 2)
        process.kill()
    wait_for(lambda: not is_locked(root / cell.folder))  # its worker has noticed and gone
    rows = history.read_text().splitlines()
    assert 2 <= len(rows) < 12
    rungs(*words, "--jobs", "0", cwd=tmp_path)
    assert history.read_text().splitlines()[: len(rows)] == rows
    assert len(history.read_text().splitlines()) == 12


def test_ctrl_c_ends_a_climb_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = write_ladder(tmp_path, base=BASE.replace("epochs = 2", "epochs = 4000"))
    root = tmp_path / "climb"
    command = [*UNDRAWN, "climb", str(path), "--out", str(root), "--seeds", "1", "--jobs", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        cells = spec.cells(*spec.load(path), seeds=1)
        wait_for(lambda: all(RunDir(root / cell.folder).history.exists() for cell in cells))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume with the same command" in errors and "--resume" not in errors and "Traceback" not in errors
    wait_for(lambda: not any(is_locked(root / cell.folder) for cell in cells))


@pytest.mark.dear
def test_sigterm_ends_a_climb_with_143(tmp_path: Path) -> None:
    path = write_ladder(tmp_path, base=BASE.replace("epochs = 2", "epochs = 4000"))
    command = [*UNDRAWN, "climb", str(path), "--out", str(tmp_path / "climb"), "--seeds", "1", "--jobs", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        (cell, *_) = spec.cells(*spec.load(path), seeds=1)
        wait_for(RunDir(tmp_path / "climb" / cell.folder).history.exists)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "resume with the same command" in errors
    assert not is_locked(tmp_path / "climb" / cell.folder)  # it waited for its workers


def test_a_record_that_cannot_be_read_fails_its_cell_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell, *_) = spec.cells(*spec.load(write_ladder(tmp_path)), seeds=1)
    (tmp_path / cell.folder).mkdir()
    (tmp_path / cell.folder / "run.json").write_text("{")
    mine, theirs = processes.CONTEXT.Pipe()
    theirs.send([None])  # "I am done", though what it wrote is no record
    worker = object.__new__(workers.Worker)
    worker.cells, worker.pipe = (cell,), mine
    (outcome,) = worker.take(tmp_path)
    assert outcome.record is None and "not a RunRecord" in outcome.ending
    assert workers.finished(cell, tmp_path) is None  # and it will be trained again


def test_a_packed_climb_gives_what_an_unpacked_one_gives(tmp_path: Path) -> None:
    """Three cells of a rung: one was trained before, the others are packed; a rung that cannot be packed says so."""
    path = write_ladder(tmp_path, LADDER.replace("[[16], [32]]", "[[16], [32]]\", \"schedule={name='plateau'}"))
    alone, _ = climb(path, tmp_path / "alone", seeds=3)
    climb(path, tmp_path / "packed", seeds=1)
    words = ["climb", "ladder.toml", "--out", "packed", "--seeds", "3", "--pack", "4", "--jobs", "0"]
    planned = rungs(*words, "--dry-run", cwd=tmp_path)
    assert "6 cells, 4 to train" in planned.stdout and "packs of up to 4 seeds of a rung" in planned.stdout
    done = rungs(*words, cwd=tmp_path)
    assert "wider: seeds are trained one by one, not packed: with a plateau schedule" in done.stdout
    for outcome in alone:
        cell, record = RunDir(tmp_path / "packed" / outcome.cell.folder).read_record(), outcome.record
        assert record is not None
        packed = 2 if outcome.cell.rung == "first" and outcome.cell.seed > 0 else 1
        assert [row.packed for row in cell.history] == [packed] * 2
        for name in ("train_loss", "validation_loss"):
            ours, theirs = ([getattr(row, name) for row in one.history] for one in (cell, record))
            assert ours == pytest.approx(theirs, abs=1e-4)
        assert (cell.fingerprint, cell.data.hash) == (record.fingerprint, record.data.hash)


@pytest.mark.dear
def test_a_packed_climb_that_is_killed_goes_on(tmp_path: Path) -> None:
    path = write_ladder(tmp_path, base=BASE.replace("epochs = 2", "epochs = 12"))
    root = tmp_path / "climb"
    words = ["climb", str(path), "--out", str(root), "--pack", "2", "--only", "first"]
    cells = spec.cells(*spec.load(path), only=["first"])
    histories = [RunDir(root / cell.folder).history for cell in cells]
    with subprocess.Popen([*UNDRAWN, *words, "--jobs", "1"], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: histories[1].exists() and len(histories[1].read_text().splitlines()) >= 2)
        process.kill()
    wait_for(lambda: not any(is_locked(root / cell.folder) for cell in cells))
    before = [history.read_text().splitlines() for history in histories]
    assert all(2 <= len(rows) < 12 for rows in before)
    rungs(*words, "--jobs", "0", cwd=tmp_path)
    for history, rows in zip(histories, before, strict=True):
        after = history.read_text().splitlines()
        assert after[: len(rows)] == rows and len(after) == 12


def test_packs_keep_the_order_of_first_seeds_and_hold_one_rung_each(ladder_file: Path) -> None:
    cells = spec.cells(*spec.load(ladder_file), seeds=3)
    names = [[f"{cell.rung} {cell.seed}" for cell in group] for group in workers.packs(cells, 2)]
    assert names == [["first 0", "first 1"], ["wider 0", "wider 1"], ["first 2"], ["wider 2"]]
    assert workers.packs(cells, 1) == [(cell,) for cell in cells]


def test_few_cells_share_all_the_cores(ladder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[int] = []
    monkeypatch.setattr(workers, "Worker", lambda many, options: jobs.append(many) or exit_quietly())
    with pytest.raises(LookupError):
        climb(ladder_file, tmp_path / "climb", jobs=8, seeds=1)
    assert jobs == [2]


def exit_quietly() -> None:
    raise LookupError


def test_a_script_without_a_guard_is_told_what_is_missing(ladder_file: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        'from rungs import climb\nclimb("ladder.toml", seeds=1, only=["first"], jobs=1)\n'
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and 'under  if __name__ == "__main__":' in done.stderr


def test_a_climb_under_torchrun_is_refused(ladder_file: Path, tmp_path: Path) -> None:
    done = rungs("climb", "ladder.toml", cwd=tmp_path, env={"WORLD_SIZE": "2"}, code=2)
    assert "climb cannot run on several ranks" in done.stderr


def wait_for(condition: object, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_locked(folder: Path) -> bool:
    try:
        with RunDir(folder).locked():
            return False
    except UserError:
        return True


def test_the_command_leaves_record_and_report_and_prints_the_table(ladder_file: Path, tmp_path: Path) -> None:
    done = rungs(
        "climb", "ladder.toml", "--epochs", "1", "--set", "evaluation.watch_test=true", "--jobs", "0", cwd=tmp_path
    )
    (folder,) = (tmp_path / "climbs").iterdir()
    assert folder.name.startswith("small-ladder-")  # its length is not the file's
    record = LadderDir(folder).read_record()
    assert [rung.name for rung in record.rungs] == ["first", "wider"] and record.seeds == (0, 1)
    assert record.command == "rungs climb ladder.toml --set evaluation.watch_test=true --epochs 1"
    assert record.reduced == ("1 epoch for 2, and so in proportion", "with evaluation.watch_test=true")
    assert record.rungs[0].answers[0].verdict == "not comparable"
    cell = record.rungs[0].cells[0]
    assert (cell.values["epochs"], cell.values["steps"], cell.values["convergence_steps"]) == (1, 6, 6)
    assert set(cell.curves) == set(CURVES) and all(len(values) == 1 for values in cell.curves.values())
    assert cell.values["highest_test_accuracy"] == pytest.approx(cell.curves["test_accuracy"][0], abs=1e-4)
    assert (folder / "report.html").exists() and (folder / "figures" / "staircase.svg").exists()
    assert "wider" in done.stdout and str(folder / "report.html").removeprefix(f"{tmp_path}/") in done.stdout
    assert from_json((folder / "ladder.json").read_bytes(), LadderRecord, folder) == record
    assert str(tmp_path) not in (folder / "ladder.json").read_text()
    (folder / "report.html").unlink()
    rungs("report", str(folder), cwd=tmp_path)
    assert (folder / "report.html").exists()


def test_only_keeps_what_was_trained_before_in_the_report(
    ladder_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for only, climbed in (("first", ["first"]), ("wider", ["first", "wider"])):
        record = rungs_climb("ladder.toml", seeds=1, only=[only], jobs=0)
        assert [rung.name for rung in record.rungs] == climbed
    assert LadderDir("climbs/small-ladder").read_record() == record
    with pytest.raises(UserError, match="another study, made by: rungs climb ladder"):
        rungs_climb("ladder.toml", seeds=1, epochs=1, jobs=0, folder="climbs/small-ladder")
    more = LADDER + '\n[[rungs]]\nname = "slower"\nabout = "A tenth of the rate."\nset = ["optim.lr=0.01"]\n'
    short = [prepare(ClimbOptions("ladder.toml", epochs=1)).folder.path]
    Path("ladder.toml").write_text(more)
    assert [prepare(ClimbOptions("ladder.toml", epochs=1)).folder.path] == short  # a rung more, the same study


def test_a_failed_cell_gives_exit_code_2_after_the_report(tmp_path: Path) -> None:
    write_ladder(tmp_path, LADDER + FAILING)
    done = rungs("climb", "ladder.toml", "--seeds", "1", "--jobs", "0", cwd=tmp_path, code=2)
    assert "1 cell failed" in done.stderr
    assert "too-deep, seed 0: model.stages: 4 stages shrink an image of 8 pixels" in done.stderr
    record = LadderDir(tmp_path / "climbs" / "small-ladder").read_record()
    assert record.rungs[2].cells[0].status == "failed" and record.rungs[2].estimates == {}


def test_a_dry_run_lists_every_cell_with_an_estimate_and_writes_nothing(ladder_file: Path, tmp_path: Path) -> None:
    rungs("climb", "ladder.toml", "--seeds", "1", "--only", "first", "--jobs", "0", cwd=tmp_path)
    before = sorted(tmp_path.rglob("*"))
    wild = 'set = ["training.epochs=100", "optim.lr=1e30", "'  # it would diverge; 2 epochs may round to 0.0 s
    (tmp_path / "ladder.toml").write_text(LADDER.replace('set = ["', wild))
    done = rungs("climb", "ladder.toml", "--dry-run", "--jobs", "2", cwd=tmp_path)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[1:5] for row in rows[1:5]] == [
        ["first", "0", "2", "finished"],
        ["wider", "0", "100", "to"],
        ["first", "1", "2", "to"],
        ["wider", "1", "100", "to"],
    ]
    assert all(row[-1] == "s" and float(row[-2]) > 0 for row in rows[2:5])
    assert "4 cells, 3 to train, 2 in parallel: about" in done.stdout
    assert "With 2 seeds and 1 change, a look finds differences above about" in done.stdout
    one = rungs("climb", "ladder.toml", "--dry-run", "--jobs", "1", "--only", "wider", "--seeds", "1", cwd=tmp_path)
    assert "\n1 cell, 1 to train" in one.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ladder.toml", "--seeds", "0"], "--seeds must be from 1 to 1000, got 0"),
        (["ladder.toml", "--epochs", "0"], "--epochs must be from 1 to 1000000, got 0"),
        (["ladder.toml", "--images", "1.5"], "--images must be above 0 and at most 1, got 1.5"),
        (["ladder.toml", "--jobs", "-1"], "--jobs must be from 0 to 64, got -1"),
        (["ladder.toml", "--pack", "0"], "--pack must be from 1 to 256, got 0"),
        (["ladder.toml", "--only", "furst"], "did you mean 'first'"),
        (["ladder.toml", "--set", "optim.rate=1"], "optim.rate: no such field"),
        (["ladder.toml", "--set", "seed=7"], "use --seeds: seeds are counted from 0"),
        (["ladder.toml", "--data", "digit"], "no data source 'digit' -> did you mean 'digits'?"),
        (["lab-003"], "lab-003 is a recipe, not a ladder -> rungs train lab-003"),
        (["."], "this is a folder"),
        (["ladder.toml", "--out", "ladder.toml"], "give another --out"),
        (["first-cn"], "did you mean 'first-cnn'"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(
    ladder_file: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    done = rungs("climb", *words, cwd=tmp_path, code=2)
    assert message in " ".join(done.stderr.split()), done.stderr
    assert not (tmp_path / "climbs").exists()


def test_list_shows_every_ladder_with_rungs_source_and_headline(tmp_path: Path) -> None:
    done = rungs("list", "ladders", cwd=tmp_path)
    text = " ".join(done.stdout.split())
    for name in spec.shipped():
        ladder, _ = spec.load(name)
        assert name in text and f"{len(ladder.rungs)} rungs" in text
    assert "51.6 % to 70.7 %" in text and "seed 004" in text
