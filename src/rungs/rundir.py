"""The folders of runs, climbs and benches: every file name in them; files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rungs.bench_records import BenchRecord
from rungs.compare_records import CompareRecord
from rungs.errors import UserError
from rungs.rate_records import RateRecord
from rungs.records import EpochRow, LadderRecord, RunRecord, from_json, to_json
from rungs.search_records import SearchRecord

TEMPORARY = ".rungs-tmp"
"""Ending of a file that is being written."""
LOOKS = "looks.jsonl"


class Folder:
    """A folder in which one process at a time writes."""

    if_unwritable = "make room or rights, then --resume a run that had begun; or choose another folder"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def prepare(self) -> None:
        """Make the folder and prove that it can be written.

        Raises:
            UserError: It cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path) as probe:
                probe.write(b"rungs")
        except OSError as error:
            raise _cannot_write(self.path, error, self.if_unwritable) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; a folder in which nothing was written goes again.

        Raises:
            UserError: Another process trains in it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                "another process is training here", where=self.path, do="wait, or give another --out"
            ) from None
        for leftover in (*self.path.glob(f".*{TEMPORARY}"), *self.path.glob(f"*/.*{TEMPORARY}")):
            leftover.unlink()  # of a process that was killed while it wrote
        try:
            yield
        finally:
            if [path.name for path in self.path.iterdir()] == [".lock"]:  # while it is held: nobody else is here
                (self.path / ".lock").unlink()
                self.path.rmdir()
            lock.release()


class LadderDir(Folder):
    """Names the files of one climb, which holds the folder of each cell, too.

    ladder.json   the `LadderRecord`
    report.html   the report, with its pictures inside
    figures/      the same pictures as SVG and PNG
    looks.jsonl   comparisons by the test set, a `rungs.looks.Look` a line
    RUNG-seedN-…  a run folder for each cell
    """

    if_unwritable = "make room or rights, or give another --out"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / "ladder.json"
        self.looks = self.path / LOOKS

    def read_record(self) -> LadderRecord:
        """Read `ladder.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            raise UserError("no ladder.json here", where=self.path, do="give the folder of a climb")
        return from_json(self.record.read_bytes(), LadderRecord, self.record)


class SearchDir(Folder):
    """Names the files of one search, which holds the run folder of each trial and re-run, too.

    search.json   the `SearchRecord`
    journal.log   Optuna's storage, where no other address was given
    report.html   the report, with its pictures inside
    figures/      the same pictures as SVG and PNG
    looks.jsonl   looks at the test set, a `rungs.looks.Look` a line
    trials/       a run folder for each set of values
    finals/       a run folder for each re-run
    """

    if_unwritable = "make room or rights, or give another --out"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / "search.json"
        self.journal = self.path / "journal.log"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.looks = self.path / LOOKS
        self.trials = self.path / "trials"
        self.finals = self.path / "finals"

    def read_record(self) -> SearchRecord:
        """Read `search.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            raise UserError("no search.json here", where=self.path, do="give the folder of a search")
        return from_json(self.record.read_bytes(), SearchRecord, self.record)


class BenchDir(Folder):
    """Names the files of one bench.

    bench.json    the `BenchRecord`
    report.html   the report, with its picture inside
    figures/      the same picture as SVG and PNG
    """

    if_unwritable = "make room or rights, or give another --out"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / "bench.json"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"

    def require_free(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            UserError: It does, or it is none.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError("this is a file", where=self.path, do="give another --out, a folder")
        if self.path.exists() and any(self.path.iterdir()):
            raise UserError("this folder is not empty", where=self.path, do="give another --out")

    def read_record(self) -> BenchRecord:
        """Read `bench.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            raise UserError("no bench.json here", where=self.path, do="give the folder of a bench")
        return from_json(self.record.read_bytes(), BenchRecord, self.record)


class CompareDir(Folder):
    """Names the files of one comparison.

    comparison.json  the `CompareRecord`
    report.html      the report, with its pictures inside
    figures/         the same pictures as SVG and PNG
    """

    if_unwritable = "make room or rights, or give another --out"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / "comparison.json"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"

    def require_free(self) -> None:
        """Refuse a folder that holds anything but a comparison, which is written again.

        Raises:
            UserError: It does, or it is none.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError("this is a file", where=self.path, do="give another --out, a folder")
        if self.path.exists() and any(self.path.iterdir()) and not self.record.is_file():
            raise UserError("this folder is not empty", where=self.path, do="give another --out")

    def read_record(self) -> CompareRecord:
        """Read `comparison.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            raise UserError("no comparison.json here", where=self.path, do="give the folder of a comparison")
        return from_json(self.record.read_bytes(), CompareRecord, self.record)


class RateDir(Folder):
    """Names the files of one search for a learning rate.

    rates.json    the `RateRecord`
    report.html   the report, with its picture inside
    figures/      the same picture as SVG and PNG
    """

    if_unwritable = "make room or rights, or give another --out"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / "rates.json"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"

    def require_free(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            UserError: It does, or it is none.
        """
        BenchDir(self.path).require_free()

    def read_record(self) -> RateRecord:
        """Read `rates.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            raise UserError("no rates.json here", where=self.path, do="give the folder of rungs lr-find")
        return from_json(self.record.read_bytes(), RateRecord, self.record)


class RunDir(Folder):
    """Names the files of one run.

    recipe.toml         the resolved recipe
    history.jsonl       one `EpochRow` a line, a line an epoch
    weights.safetensors the best weights, with classes, mean, std and the recipe inside
    run.json            the `RunRecord`
    looks.jsonl         every look at the test set, a `rungs.looks.Look` a line
    report.html         the report, with its pictures inside
    figures/            the same pictures as SVG and PNG
    checkpoints/        the last two, to resume from
    events/             for TensorBoard
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.recipe = self.path / "recipe.toml"
        self.history = self.path / "history.jsonl"
        self.weights = self.path / "weights.safetensors"
        self.record = self.path / "run.json"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.looks = self.path / LOOKS

    def holds_run(self) -> bool:
        """Tell whether anything of a run is here."""
        return self.recipe.exists() or self.record.exists() or any(self.checkpoints.glob("*.ckpt"))

    def require_free(self) -> None:
        """Refuse to start in a folder that holds a run.

        Raises:
            UserError: It does.
        """
        if self.holds_run():
            raise UserError("this folder holds a run already", where=self.path, do="--resume it, or give another --out")
        ours = (self.history, self.weights, self.report, self.figures, self.checkpoints, self.events)
        taken = [path.name for path in ours if path.is_file() or (path.is_dir() and any(path.iterdir()))]
        if taken:
            what = f"a run would write over what is here: {', '.join(taken)}"
            raise UserError(what, where=self.path, do="give another --out")

    def require_space(self, needed_bytes: int) -> None:
        """Fail before training where the disk cannot hold what training will write."""
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            what = f"the disk has {free / 1e6:.1f} MB free, this run writes about {needed_bytes / 1e6:.1f} MB"
            raise UserError(what, where=self.path, do="make room, or choose another folder with --out")

    def write_history(self, rows: tuple[EpochRow, ...]) -> None:
        """Write all rows, a line each."""
        import msgspec

        write_whole(self.history, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))

    def write_record(self, record: RunRecord) -> None:
        """Write `run.json`."""
        write_whole(self.record, to_json(record))

    def read_record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            do = "give the folder of a run, a climb, a bench or a search that has ended"
            what = "neither run.json nor ladder.json nor bench.json nor search.json here"
            raise UserError(what, where=self.path, do=do)
        return from_json(self.record.read_bytes(), RunRecord, self.record)


def write_whole(path: Path, *data: bytes | memoryview) -> None:
    """Write a file so that it appears whole or not at all: a temporary one beside it, fsync, rename.

    Raises:
        UserError: The disk is full or the folder cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # not tempfile's, which only its owner may read
            for piece in data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error, Folder.if_unwritable) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a log in one write, and see it onto the disk; what a killed writer left torn is closed first.

    Several processes may write at once: their lines stay whole, an empty one may come between.

    Raises:
        UserError: The disk is full or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line
            file.write(line + b"\n")
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(path, error, Folder.if_unwritable) from error


def _cannot_write(path: Path, error: OSError, do: str) -> UserError:
    return UserError(f"cannot be written: {error.strerror or error}", where=path, do=do)
