"""The storage of a search's trials: Optuna's journal in a file, or any address that Optuna supports.

Optuna (Akiba et al. 2019, doi:10.1145/3292500.3330701) is an optional dependency, imported when a search starts.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from rungs.errors import UserError
from rungs.run.looks import without_password

SQLITE_WAITS_S = 60
"""Lock timeout of a connection; each of the other workers writes for a few milliseconds."""
TRIES = 3
"""Attempts to open a database: two processes that create its tables at the same moment can collide once."""


def optuna() -> Any:
    """Import Optuna with its log messages and warnings silenced.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna as package
    except ImportError as error:
        do = "install the extra: pip install 'rungs[search]', or in the rungs folder: pip install -e '.[search]'"
        raise UserError("optuna is not installed", where="rungs tune", do=do) from error
    package.logging.set_verbosity(package.logging.ERROR)
    warnings.filterwarnings("ignore", module=r"optuna\..*")
    warnings.filterwarnings("ignore", category=package.exceptions.ExperimentalWarning)
    return package


def is_database(address: str) -> bool:
    """Return whether an address is a URL, not the path of a journal."""
    return "://" in address


def open_storage(address: str) -> Any:
    """Open a storage (`optuna.storages.BaseStorage`); a missing journal or database file is created.

    Args:
        address: The path of a journal, or a URL: sqlite:///FILE, postgresql://…, mysql://…, redis://….

    Raises:
        UserError: It cannot be reached or created, its driver is missing, or it is not an Optuna storage.
    """
    package = optuna()
    try:
        if not is_database(address):
            return package.storages.JournalStorage(Journal(Path(address)))
        if address.startswith(("redis://", "rediss://")):
            return package.storages.JournalStorage(package.storages.journal.JournalRedisBackend(address))
        return _database(address)
    except UserError:
        raise
    except ImportError as error:
        what = f"the driver for this storage is not installed: {_words(error)}"
        do = "install it: pip install 'psycopg[binary]' for postgresql://…, pymysql for mysql+pymysql://…"
        raise UserError(what, where=without_password(address), do=do) from error
    except Exception as error:  # each database has its own
        do = "check the address (sqlite:///FILE, postgresql://USER:PASSWORD@HOST/NAME) and that the server is running"
        raise UserError(f"cannot open this storage: {_words(error)}", where=without_password(address), do=do) from error


def _words(error: BaseException) -> str:
    """Return the first line of an error message, without passwords."""
    deepest = error.__cause__ or error
    return without_password((str(deepest) or type(deepest).__name__).strip().splitlines()[0])


def _database(address: str) -> Any:
    """Open a database."""
    package = optuna()
    is_sqlite = address.startswith("sqlite")
    options = {"connect_args": {"timeout": SQLITE_WAITS_S}} if is_sqlite else {"pool_pre_ping": True}
    for left in reversed(range(TRIES)):
        try:
            storage = package.storages.RDBStorage(address, engine_kwargs=options)
            break
        except (ImportError, ValueError):
            raise
        except Exception:
            if not left:
                raise
            time.sleep(0.5)
    if is_sqlite:
        _one_writer_at_a_time(storage.engine)
    return storage


def _one_writer_at_a_time(engine: Any) -> None:
    """Make SQLite take its write lock at the start of a transaction.

    By default it takes the lock only at the first write, so that two workers could both find a trial free. See
    SQLAlchemy's "Serializable isolation / Savepoints / Transactional DDL" for pysqlite.
    """
    from sqlalchemy import event

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    def began(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", began)
    engine.dispose()  # drop connections opened before


class Journal:
    """Optuna's journal in a file of JSON lines; a writer that is killed loses at most its own last line.

    Optuna's own backend appends to a torn line, after which the file is unreadable. Here a torn last line is skipped,
    and cut off before the next write. No process has acted on such a line: a line only counts once its newline is
    written. The lock is the operating system's and is released when its process ends; Optuna's lock file would block
    for 30 seconds first.

    Raises:
        UserError: The file cannot be written, or is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f".{path.name}.lock"))
        self._places = {0: 0}  # lines read -> offset of the next one
        if not path.parent.is_dir():
            raise UserError("its folder does not exist", where=path, do="create it, or give another --storage")
        try:
            with self._lock, path.open("ab"):
                pass
        except OSError as error:
            do = "give the path of a file in an existing, writable folder"
            raise UserError(f"cannot be written: {error.strerror or error}", where=path, do=do) from error
        self._require_journal()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the complete lines from a number on, counted from 0."""
        number = log_number_from if log_number_from in self._places else 0
        with self.path.open("rb") as file:
            place = file.seek(self._places[number])
            for line in file:
                if not line.endswith(b"\n"):  # torn, or still being written
                    return
                place += len(line)
                log = _whole(line)
                if log is None:  # torn, and another program wrote after it
                    self._places[number] = place
                    continue
                number += 1
                self._places[number] = place
                if number > log_number_from:
                    yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none."""
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with self._lock, self.path.open("r+b") as file:
            end = _end_of_whole_lines(file)
            file.truncate(end)
            file.seek(end)
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def _require_journal(self) -> None:
        with self.path.open("rb") as file:
            first = file.readline()
        if first.endswith(b"\n") and _whole(first) is None:
            raise UserError("this is not an Optuna journal", where=self.path, do="give another --storage")


def _whole(line: bytes) -> dict[str, Any] | None:
    try:
        log = json.loads(line)
    except ValueError:
        return None
    return log if isinstance(log, dict) and "op_code" in log else None


def _end_of_whole_lines(file: BinaryIO, block: int = 4096) -> int:
    """Return the offset of the end of the last complete line."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
