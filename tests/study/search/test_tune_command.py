"""The command: trials, finals on fresh seeds, the test set once; joining; databases."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from searches import plan_of, rungs_tune, start, write_files

from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import from_json
from rungs.study.search import tune
from rungs.study.search.claim import TAKEOVER_S, TOKEN, Claim
from rungs.study.search.ledger import records
from rungs.study.search.record import SearchDir, SearchRecord
from rungs.study.search.study import create_or_load
from rungs.study.search.workers import search
from rungs.training.dataset import load_dataset


def test_the_command_searches_re_runs_names_a_winner_and_opens_the_test_set_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    words = ["--trials", "5", "--top", "2", "--seeds", "2", "--out", "search", "--pruner", "none"]
    done = rungs_tune(tmp_path, *words)
    folder = SearchDir(tmp_path / "search")
    found = folder.read_record()
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3, 4]
    assert {trial.state for trial in found.trials} == {"complete"}
    assert found.trials[0].params == {"optim.lr": 0.1, "training.batch_size": 50}  # the recipe's own
    _never_opened_while_searching(folder, found)
    _finals_are_on_fresh_seeds(folder, found)
    (look,) = looks.read(folder.looks)
    assert look.kind == "scored" and look.images == sum(found.data.counts["test"]) and found.winner in look.purpose
    assert found.test is not None and found.test.mean == pytest.approx(mean(found.test_accuracies))
    assert "[5/5] trial" in done.stdout and "[re-run 6/6]" in done.stdout and found.winner in done.stdout
    assert found.dashboard == "optuna-dashboard search/journal.log" and found.dashboard in done.stdout
    assert str(tmp_path) not in folder.record.read_text()
    assert from_json(folder.record.read_bytes(), SearchRecord, folder.record) == found

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")}
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"trials": 5, "top": 2, "seeds": 2, "folder": "search", "pruner": "none"}
    assert tune.tune("tiny.toml", "rates.toml", workers=0, **options).trials == found.trials
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("run.json")} == before  # nothing was trained
    assert len(looks.read(folder.looks)) == 1 and folder.read_record().test == found.test


def _never_opened_while_searching(folder: SearchDir, found: SearchRecord) -> None:
    for trial in found.trials:
        run = RunDir(folder.path / trial.folder)
        assert run.read_record().test is None and run.read_record().validation is not None
        assert not run.looks.exists()
        assert trial.value == run.read_record().history[run.read_record().best_epoch - 1].validation_accuracy  # type: ignore[operator]
    for run in map(RunDir, folder.finals.iterdir()):
        assert run.read_record().test is None and not run.looks.exists()


def _finals_are_on_fresh_seeds(folder: SearchDir, found: SearchRecord) -> None:
    assert found.finals is not None and found.finals.seeds == (1, 2) and found.recipe.seed == 0
    rungs = {rung.name: rung for rung in found.finals.rungs}
    best = [f"trial-{trial.number}" for trial in sorted(found.trials, key=lambda t: (-(t.value or 0), t.number))]
    assert {*rungs} == {"recipe", *islice((name for name in best if name != "trial-0"), 2)}
    assert {finalist.name for finalist in found.finalists} == {*rungs}
    assert found.finalists[0].name == found.winner
    means = [finalist.rerun.mean for finalist in found.finalists]
    assert means == sorted(means, reverse=True)
    for finalist in found.finalists:
        again = [cell.values["validation_accuracy"] for cell in rungs[finalist.name].cells]
        assert finalist.rerun.mean == pytest.approx(mean(again)) and len(again) == 2
        if finalist.trial is not None:
            assert finalist.searched == found.trials[finalist.trial].value
            assert finalist.optimism is not None and finalist.searched is not None
            assert finalist.optimism.mean == pytest.approx(finalist.searched - mean(again))


@pytest.mark.dear
def test_a_search_in_sqlite_with_two_workers_gives_its_record_from_the_storage_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"trials": 4, "top": 1, "seeds": 1, "storage": "sqlite:///trials.db"}
    plan = plan_of("tiny.toml", "rates.toml", **options, folder="one")
    plan.folder.prepare()
    study = create_or_load(plan.work, plan.goal, load_dataset(plan.work.recipe, False)[1].record.hash)
    told: list[int] = []
    search(plan.work, study, 2, lambda trial, done, of: told.append(trial.number))
    assert sorted(told) == [0, 1, 2, 3]
    claims = [Claim(plan.work, plan.folder) for _ in range(2)]
    assert [claim.elsewhere() for claim in claims] == ["", ""]  # they are its own, however often it asks
    theirs = tune.tune(
        "tiny.toml", "rates.toml", **options, workers=0, folder="two"
    )  # elsewhere, without the trials' folders
    mine = records(study.get_trials())
    assert [(t.number, t.value, t.curve, t.state) for t in theirs.trials] == [
        (t.number, t.value, t.curve, t.state) for t in mine
    ]
    assert {trial.folder for trial in theirs.trials} == {""} and theirs.test is None and theirs.winner is None
    assert "The finals are running on this machine, in the folder one:" in theirs.verdict
    assert not [*tmp_path.rglob("finals")]


@pytest.mark.dear
def test_two_commands_in_one_folder_share_one_search(tmp_path: Path) -> None:
    write_files(tmp_path)
    words = ["--trials", "6", "--workers", "0", "--top", "1", "--seeds", "1", "--out", "search"]
    both = [start(tmp_path, *words) for _ in range(2)]
    said = []
    for process in both:
        output, errors = process.communicate(timeout=300)
        said.append(output)
        assert process.returncode == 0 and "Traceback" not in errors, errors
    folder = SearchDir(tmp_path / "search")
    found = folder.read_record()
    assert sum(trial.state != "failed" for trial in found.trials) == 6 == len(found.trials)
    assert len({trial.folder for trial in found.trials}) == len([*folder.trials.iterdir()])
    assert len(looks.read(folder.looks)) == 1
    assert all(f"{found.winner} (winner)" in one for one in said)


def test_a_second_machine_on_a_shared_folder_finds_the_finals_and_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"trials": 2, "top": 1, "seeds": 1, "storage": "sqlite:///trials.db", "workers": 0}
    mine = tune.tune("tiny.toml", "rates.toml", **options, folder="shared")
    assert mine.test is not None and {trial.worker.partition(":")[0] for trial in mine.trials} == {"here"}
    monkeypatch.setattr("rungs.study.search.claim.host", lambda: "another")
    monkeypatch.setattr("rungs.study.search.liveness.host", lambda: "another")
    theirs = tune.tune("tiny.toml", "rates.toml", **options, folder="shared")
    assert (theirs.test, theirs.winner, theirs.verdict) == (mine.test, mine.winner, mine.verdict)
    assert {trial.worker for trial in theirs.trials} == {"another machine"}
    folder = SearchDir("shared")
    assert len(looks.read(folder.looks)) == 1

    written = folder.record.read_bytes()  # where the claim is another's, finals that are here are not written over
    folder.claim.unlink()
    assert tune.tune("tiny.toml", "rates.toml", **options, folder="shared").test == mine.test
    assert folder.record.read_bytes() == written and len(looks.read(folder.looks)) == 1


def test_finals_whose_maker_was_silent_for_long_are_made_elsewhere_and_the_test_set_stays_closed_at_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"trials": 2, "top": 1, "seeds": 1, "storage": "sqlite:///trials.db"}
    plan = plan_of("tiny.toml", "rates.toml", **options, folder="gone")
    plan.folder.prepare()
    gone = Claim(plan.work, plan.folder)
    with gone.heartbeat():
        assert gone.elsewhere() == ""
    gone.study.set_user_attr(TOKEN, [gone.token, 0.0])
    gone.study.set_user_attr("heartbeat", gone.study.user_attrs["heartbeat"] - TAKEOVER_S - 1)
    closed = ["evaluation.score_test=false"]
    found = tune.tune("tiny.toml", "rates.toml", closed, **options, workers=0, folder="here")
    assert found.winner is not None and found.test is None and not SearchDir("here").looks.exists()
    assert "stayed closed, as evaluation.score_test = false asks" in found.verdict
    assert not gone.close() and "were run on this machine, in the folder here" in gone.elsewhere()
    later = tune.tune("tiny.toml", "rates.toml", **options, workers=0, folder="here")
    assert later.test is not None and "stayed closed" not in later.verdict
