"""The journal: a torn end loses its own line alone, a lock ends with the process that holds it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rungs.errors import UserError
from rungs.run.looks import without_password
from rungs.study.search.storage import Journal, open_storage, optuna


def study_in(path: Path, name: str = "s") -> Any:
    return optuna().create_study(study_name=name, storage=open_storage(str(path)), load_if_exists=True)


def tell_one(study: Any, value: float) -> None:
    trial = study.ask({"x": optuna().distributions.FloatDistribution(0, 1)})
    study.tell(trial, value)


@pytest.mark.parametrize("torn", [b'{"op_code":4,"worker_id":"a', b"{", b"\x00" * 5000])
def test_a_torn_end_is_cut_off_at_the_start_and_loses_nothing(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.log"
    study = study_in(path)
    for value in (1.0, 2.0):
        tell_one(study, value)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(torn)
    again = study_in(path)
    assert [trial.value for trial in again.trials] == [1.0, 2.0]
    tell_one(again, 3.0)
    assert path.read_bytes().startswith(whole + b'{"op_code"')
    assert [trial.value for trial in study_in(path).trials] == [1.0, 2.0, 3.0]
    for line in path.read_bytes().splitlines():
        json.loads(line)


def test_a_journal_torn_in_the_middle_of_a_search_goes_on_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    mine, other = study_in(path), study_in(path)
    tell_one(mine, 1.0)
    assert len(other.trials) == 1
    with path.open("ab") as file:  # a third one is killed while it writes
        file.write(b'{"op_code":6,"trial_id":0,"sta')
    assert len(other.trials) == 1  # who reads passes it over
    tell_one(other, 2.0)
    tell_one(mine, 3.0)
    assert [trial.value for trial in mine.trials] == [trial.value for trial in other.trials] == [1.0, 2.0, 3.0]


def test_a_line_that_another_program_glued_to_a_torn_one_is_passed_over_by_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    mine = study_in(path)
    tell_one(mine, 1.0)
    with path.open("ab") as file:
        file.write(b'{"op_code":6,"tr{"op_code":8,"worker_id":"x","trial_id":0,"user_attr":{"a":1}}\n')
    tell_one(mine, 2.0)
    assert [trial.value for trial in mine.trials] == [trial.value for trial in study_in(path).trials] == [1.0, 2.0]


def test_optuna_itself_reads_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    tell_one(study_in(path), 1.0)
    backend = optuna().storages.journal.JournalFileBackend(str(path))
    theirs = optuna().load_study(study_name="s", storage=optuna().storages.JournalStorage(backend))
    assert [trial.value for trial in theirs.trials] == [1.0]


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    study = study_in(path)
    code = f"""
import pathlib, time
from rungs.study.search.storage import Journal
with Journal(pathlib.Path({str(path)!r}))._lock:
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()
    began = time.monotonic()
    tell_one(study, 1.0)
    assert time.monotonic() - began < 5 and len(study.trials) == 1


def test_only_new_lines_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.log")
    journal.append_logs([{"op_code": 0, "n": n} for n in range(5)])
    assert [log["n"] for log in journal.read_logs(0)] == [0, 1, 2, 3, 4]
    journal.append_logs([{"op_code": 0, "n": 5}])
    assert [log["n"] for log in journal.read_logs(5)] == [5]
    assert [log["n"] for log in Journal(journal.path).read_logs(4)] == [4, 5]
    assert list(journal.read_logs(6)) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("no/such/folder/journal.log", "its folder does not exist"),
        ("text.log", "this is not an Optuna journal"),
        ("sqlite:////no/such/folder/a.db", "cannot open this storage: unable to open database file"),
        ("nosql://here", "cannot open this storage"),
        ("postgresql+psycopg2://me:secret@localhost:1/none", ""),  # no driver, or no server
        ("sqlite:///text.log", "cannot open this storage"),
    ],
)
def test_a_storage_that_is_not_there_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.log").write_text("dear diary\n" * 100)
    with pytest.raises(UserError) as caught:
        open_storage(address)
    assert message in str(caught.value) and "secret" not in str(caught.value)
    assert caught.value.do


def test_passwords_are_hidden_wherever_an_address_stands() -> None:
    text = "rungs tune x --storage postgresql://me:s:e/c@ret@host/db --out sqlite:///a.db"
    assert without_password(text) == "rungs tune x --storage postgresql://me:***@host/db --out sqlite:///a.db"
    assert without_password("mysql://h/db?user=me&password=word&x=1") == "mysql://h/db?user=me&password=***&x=1"
