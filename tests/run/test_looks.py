"""Every look at a test set is logged: by training, watching, climbing; and a closed test set stays closed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small import run, small
from study.ladder.test_climb import write_ladder

from rungs import climb
from rungs.errors import UserError
from rungs.recipe import toml as recipes
from rungs.run import looks
from rungs.run.folder import RunDir, append_line
from rungs.study.ladder import spec
from rungs.study.ladder.record import LadderDir
from rungs.training.dataset import load_dataset

ONE = "training.epochs=1"


def kinds(folder: Path) -> list[str]:
    return [look.kind for look in looks.read(RunDir(folder).looks)]


def test_a_run_opens_its_test_set_once_and_says_so(tmp_path: Path) -> None:
    record = run(small(ONE), tmp_path / "run")
    (look,) = looks.read(RunDir(tmp_path / "run").looks)
    assert look.kind == "scored" and "epoch 1" in look.purpose
    assert record.test is not None and look.images == record.test.n
    assert look.test_hash == record.data.hashes["test"]
    assert looks.user() in look.who
    assert look.when[:10] == record.finished[:10]


def test_going_on_with_a_finished_run_opens_nothing(tmp_path: Path) -> None:
    run(small(ONE), tmp_path / "run")
    run(small(ONE), tmp_path / "run", resume=True)
    assert kinds(tmp_path / "run") == ["scored"]


def test_a_watched_test_set_is_a_look_an_epoch(tmp_path: Path) -> None:
    run(small("training.epochs=2", "evaluation.watch_test=true"), tmp_path / "run")
    assert kinds(tmp_path / "run") == ["watched", "watched", "scored"]
    assert looks.openings(looks.read(RunDir(tmp_path / "run").looks)) == 3


def test_a_closed_test_set_is_not_even_in_the_hands_of_the_engine(tmp_path: Path) -> None:
    recipe = small(ONE, "evaluation.score_test=false")
    _, dataset = load_dataset(recipe, skip_unreadable=False)
    assert dataset.parts.test is None
    assert sum(dataset.record.counts["test"]) > 0  # that it exists is known
    record = run(recipe, tmp_path / "run")
    assert record.test is None and record.validation is not None
    assert not RunDir(tmp_path / "run").looks.exists()


def test_a_closed_test_set_cannot_be_watched() -> None:
    with pytest.raises(UserError, match="cannot be watched"):
        small("evaluation.score_test=false", "evaluation.watch_test=true")


@pytest.mark.parametrize("monitor", ["test_accuracy", "test_loss"])
def test_no_recipe_chooses_its_epoch_on_the_test_set(monitor: str) -> None:
    with pytest.raises(UserError, match="the test set must not choose the epoch"):
        small(f"stopping.monitor={monitor}")


def test_no_ladder_chooses_a_rung_on_the_test_set(tmp_path: Path) -> None:
    path = write_ladder(tmp_path)
    blind = path.read_text().replace('"model.stages=[[16], [32]]"', '"model.stages=[[16], [32]]", "data.validation=0"')
    path.write_text(blind)
    with pytest.raises(UserError, match="the test set must not choose"):
        spec.load(path)


def test_rungs_with_other_validation_images_are_compared_on_test_and_the_climb_logs_it(tmp_path: Path) -> None:
    path = write_ladder(tmp_path)
    path.write_text(path.read_text().replace("model.stages=[[16], [32]]", "data.validation=120"))
    for _ in range(2):  # the second time nothing is new
        record = climb(path, folder=tmp_path / "climb", jobs=0, seeds=1)
    assert record.rungs[1].difference is not None and record.rungs[1].difference.metric == "test_accuracy"
    (look,) = looks.read(LadderDir(tmp_path / "climb").looks)
    assert look.kind == "compared" and look.purpose.startswith("wider against first")


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    log = tmp_path / "looks.jsonl"
    looks.note(log, "scored", "first", 10)
    log.write_bytes(log.read_bytes() + b'{"when": "2026')
    looks.note(log, "evaluated", "second", 10)
    assert [look.purpose for look in looks.read(log)] == ["first", "second"]
    assert looks.read(tmp_path / "none.jsonl") == ()


def test_lines_of_many_processes_stay_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "from pathlib import Path\nfrom rungs.run.folder import append_line\n"
        f"for i in range(50): append_line(Path({str(log)!r}), b'x' * 300)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert [line for line in log.read_bytes().splitlines() if line] == [b"x" * 300] * 150


def test_a_log_that_cannot_be_written_forbids_the_look(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        append_line(tmp_path / "file" / "looks.jsonl", b"{}")


def test_a_run_that_was_killed_while_it_scored_has_its_look_in_the_log(tmp_path: Path) -> None:
    """The look is written before the test set is opened, so that a crash hides nothing."""
    (tmp_path / "small.toml").write_text(recipes.to_toml(small(ONE)))
    code = (
        "import os, signal, sys\nfrom rungs.training import run\n"
        "run.score_parts = lambda setup, epoch: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.argv = ['rungs', 'train', 'small.toml', '--out', 'run', '--quiet']\n"
        "from rungs.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert kinds(tmp_path / "run") == ["scored"]


def test_a_look_from_a_notebook_names_no_file_of_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/x/ipykernel_launcher.py", "-f", "/tmp/kernel.json"])
    assert looks.command() == "a notebook"
