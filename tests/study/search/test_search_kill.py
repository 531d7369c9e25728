"""Real processes, killed at any moment: what is finished is kept, what ran is taken up, nothing is run twice."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from searches import RECIPE, plan_of, start, trials, wait_for, write_files

from rungs.study.search.ledger import (
    BEAT,
    MOST_DEATHS,
    TAKES_UP,
    WORKER,
    reason_of,
    record,
    records,
    requeue_abandoned,
    slots,
)
from rungs.study.search.liveness import ChangeTimer, host, is_alive_here, worker_id
from rungs.study.search.storage import optuna
from rungs.study.search.study import Search, create_or_load, distributions
from rungs.study.search.workers import search, try_trials
from rungs.training.dataset import load_dataset

LONG = RECIPE.replace("epochs = 2", "epochs = 30")


def prepared(folder: Path, number: int, recipe: str = LONG) -> tuple[Search, Any]:
    write_files(folder, recipe)
    plan = plan_of(folder / "tiny.toml", folder / "rates.toml", trials=number, pruner="none", folder=folder / "s")
    plan.folder.prepare()
    return plan, create_or_load(plan.work, plan.goal, load_dataset(plan.work.recipe, False)[1].record.hash)


def pid_of(trial: Any) -> int:
    return int(trial.user_attrs[WORKER].split(":")[1])


def training(journal: Path) -> list[Any]:
    """Return the trials that are in the middle of their training."""
    running = [t for t in trials(journal) if t.state == optuna().trial.TrialState.RUNNING and WORKER in t.user_attrs]
    return [trial for trial in running if 2 <= len(trial.intermediate_values) < 20]


@pytest.mark.dear
def test_four_workers_two_of_them_killed(tmp_path: Path) -> None:
    """All finished trials are kept, none is lost, none runs twice, and there are as many as were asked for."""
    plan, study = prepared(tmp_path, 7)
    told: list[int] = []
    killed: list[Any] = []

    def victim() -> Any:
        taken = {pid_of(trial) for trial in killed}
        return next((trial for trial in training(plan.folder.journal) if pid_of(trial) not in taken), None)

    def kill_two() -> None:
        for _ in range(2):
            killed.append(wait_for(victim))
            os.kill(pid_of(killed[-1]), signal.SIGKILL)

    killer = threading.Thread(target=kill_two)
    killer.start()
    search(plan.work, study, 4, lambda trial, done, of: told.append(trial.number))
    killer.join()
    every = study.get_trials()
    whole = [record(t) for t in every if t.state == optuna().trial.TrialState.COMPLETE]
    assert len(whole) == 7 == len([slot for slot in slots(every) if slot.is_done])
    assert sorted(told) == sorted(trial.number for trial in whole)
    dead = {trial.number for trial in every if reason_of(trial) == "died"}
    assert dead == {trial.number for trial in killed}
    assert {trial.takes_up for trial in whole} == {None, *dead}  # each was taken up, once
    assert len({trial.folder for trial in whole}) == 7 and all(trial.epochs == 30 for trial in whole)
    for trial in killed:  # it went on from its checkpoint: what it had reported is in the whole curve
        again = next(t for t in every if t.user_attrs.get(TAKES_UP) == trial.number)
        assert again.params == trial.params
        before = [value for _, value in sorted(trial.intermediate_values.items())]
        assert list(record(again).curve[: len(before)]) == before
    assert not [*tmp_path.rglob("looks.jsonl")]


@pytest.mark.dear
def test_ctrl_c_gives_trials_back_and_the_same_command_goes_on(tmp_path: Path) -> None:
    write_files(tmp_path, RECIPE.replace("epochs = 2", "epochs = 400"))
    journal = tmp_path / "s" / "journal.log"
    words = ["--trials", "2", "--workers", "1", "--top", "1", "--seeds", "1", "--out", "s", "--pruner", "none"]
    with start(tmp_path, *words) as process:
        held = wait_for(lambda: training(journal))[0]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "resume with the same command" in errors and "--resume" not in errors and "Traceback" not in errors
    stopped, *rest = trials(journal)
    assert reason_of(stopped) == "stopped" and stopped.number == held.number
    assert [t.user_attrs.get(TAKES_UP) for t in rest] == [0] and record(rest[0]).state == "waiting"
    (history,) = (tmp_path / "s" / "trials").glob("*/history.jsonl")
    rows = history.read_text().splitlines()
    assert 2 <= len(rows) < 400
    with start(tmp_path, *words) as process:  # killed this time, in the middle of the same trial
        wait_for(lambda: len(history.read_text().splitlines()) > len(rows) + 2)
        process.kill()
    assert history.read_text().splitlines()[: len(rows)] == rows  # it went on, and repeated nothing
    worker = next(t for t in trials(journal) if t.user_attrs.get(TAKES_UP) == 0).user_attrs[WORKER]
    wait_for(lambda: is_alive_here(worker) is False)  # a worker whose parent is gone ends


@pytest.mark.dear
def test_a_search_whose_journal_is_torn_while_workers_write_goes_on(tmp_path: Path) -> None:
    plan, study = prepared(tmp_path, 3)
    told: list[int] = []

    def tear() -> None:
        wait_for(lambda: training(plan.folder.journal))
        with plan.folder.journal.open("ab") as file:  # as a process on another machine that loses its power
            file.write(b'{"op_code":7,"worker_id":"gone","trial_id":0,"st')

    writer = threading.Thread(target=tear)
    writer.start()
    search(plan.work, study, 1, lambda trial, done, of: told.append(trial.number))
    writer.join()
    assert sorted(told) == [0, 1, 2] and len(trials(plan.folder.journal)) == 3
    assert b'"gone"' not in plan.folder.journal.read_bytes()


def asked(plan: Search, study: Any, worker: str | None) -> Any:
    trial = study.ask(distributions(plan.work.space))
    if worker is not None:
        trial.set_user_attr(WORKER, worker)
    return trial


def test_values_that_kill_their_workers_are_given_up_in_the_end(tmp_path: Path) -> None:
    plan, study = prepared(tmp_path, 1, RECIPE)
    for death in range(MOST_DEATHS):
        asked(plan, study, f"{host()}:{2**22 + 1}:0")  # no such process
        assert requeue_abandoned(study, ChangeTimer(), at_once=True) == [death]
    (slot,) = slots(study.get_trials())
    assert slot.is_done and len(study.get_trials()) == MOST_DEATHS
    last = records(study.get_trials())[-1]
    assert last.state == "failed" and last.ending.startswith("abandoned: 3 workers died") and last.takes_up == 1


def test_who_marked_a_dead_trial_and_died_before_it_let_it_wait_loses_nothing(tmp_path: Path) -> None:
    plan, study = prepared(tmp_path, 1, RECIPE)
    trial = asked(plan, study, f"{host()}:{2**22 + 1}:0")
    study._storage.set_trial_user_attr(trial._trial_id, "end", ["died", "its worker died"])
    study.tell(trial.number, state=optuna().trial.TrialState.FAIL)
    assert requeue_abandoned(study, ChangeTimer()) == [] and len(study.get_trials()) == 1  # another may be about to
    requeue_abandoned(study, ChangeTimer(), at_once=True)
    requeue_abandoned(study, ChangeTimer(), at_once=True)
    assert [t.user_attrs.get(TAKES_UP) for t in study.get_trials()] == [None, 0]
    assert list(try_trials(plan.work)) == [1]


def test_a_living_worker_keeps_its_trial_and_a_silent_one_elsewhere_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, study = prepared(tmp_path, 4, RECIPE)
    timer, now = ChangeTimer(), [1000.0]
    monkeypatch.setattr("rungs.study.search.liveness.time.monotonic", lambda: now[0])
    asked(plan, study, worker_id())
    silent, beating = asked(plan, study, "elsewhere:1:1"), asked(plan, study, "elsewhere:2:1")
    asked(plan, study, None)  # whoever asked for it died before it said so
    taken = []
    for beat in range(8):
        beating.set_user_attr(BEAT, beat)
        taken.append(requeue_abandoned(study, timer))
        now[0] += 20
    assert taken == [[], [3], [], [], [], [], [], [silent.number]]


def test_a_process_is_told_from_a_later_one_of_the_same_number() -> None:
    mine = worker_id()
    assert is_alive_here(mine) is True
    assert is_alive_here(f"{mine.rpartition(':')[0]}:12") is False or not Path("/proc").exists()
    assert is_alive_here("elsewhere:1:1") is None
