"""The folders of runs and studies: the names of their files, and of the folders; files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from rungs.errors import UserError
from rungs.run.record import EpochRow, Record, RunRecord, from_json, to_json

TEMPORARY = ".rungs-tmp"
"""Ending of a file that is being written."""
LOOKS = "looks.jsonl"
FOLDS, FINAL = "folds.json", "final"
"""Of a cross-validation: its record, and the folder of the net that is trained on all images."""
R = TypeVar("R", bound=Record)


class Folder:
    """A folder in which one process at a time writes."""

    if_unwritable = "free disk space or fix the permissions, then --resume a started run; or choose another folder"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._made: list[Path] = []  # folders above it that `prepare` created, the innermost first

    def prepare(self) -> None:
        """Create the folder and check that it can be written.

        Raises:
            UserError: It cannot.
        """
        try:
            self._made = [path for path in self.path.parents if not path.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path) as probe:
                probe.write(b"rungs")
        except OSError as error:
            raise _cannot_write(self.path, error, self.if_unwritable) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for one process; if nothing was written, remove it at the end, and those made for it.

        Raises:
            UserError: Another process trains in it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=1)  # `is_locked` may hold it for a moment
        except Timeout:
            raise self._in_use() from None
        for leftover in (*self.path.glob(f".*{TEMPORARY}"), *self.path.glob(f"*/.*{TEMPORARY}")):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()  # of a process that was killed
        try:
            yield
        finally:
            # while the lock is held, no other process is here
            if [path.name for path in self.path.iterdir()] == [".lock"]:
                (self.path / ".lock").unlink()
                self.remove_empty()
            lock.release()

    def remove_empty(self) -> None:
        """Remove the folder and those that `prepare` created above it, as far as they are empty."""
        with contextlib.suppress(OSError):
            for path in (self.path, *self._made):
                path.rmdir()

    def _in_use(self) -> UserError:
        return UserError("another process is training here", where=self.path, do="wait, or give another --out")

    def require_unlocked(self) -> None:
        """Refuse a folder in which another process works, before anything that takes long.

        Raises:
            UserError: One does.
        """
        if self.is_locked():
            raise self._in_use()

    def is_locked(self) -> bool:
        """Return whether a process works in the folder; False where that cannot be told. No file is created."""
        from filelock import FileLock, Timeout

        if not (self.path / ".lock").is_file():
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # removed since, or of somebody else
            return False


class StudyDir(Folder, Generic[R]):
    """The files of a study: its record, its report and its pictures, and its log of looks at a test set.

    RECORD        the record, named after the kind of study
    report.html   the report, with its pictures inside
    figures/      the same pictures as SVG and PNG
    looks.jsonl   looks at the test set, a `rungs.run.looks.Look` per line
    """

    if_unwritable = "free disk space or fix the permissions, or give another --out"
    name: ClassVar[str]  # of the record's file
    what: ClassVar[str]  # "a climb"
    kind: type[R]  # of the record
    rewritten: ClassVar[bool] = False  # whether the same command may overwrite its output

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.record = self.path / self.name
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.looks = self.path / LOOKS

    def require_free(self) -> None:
        """Refuse a folder that holds anything but, where it may be written again, a study of this kind.

        Raises:
            UserError: It does, or it is not a folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError("this is a file", where=self.path, do="give another --out, a folder")
        again = self.rewritten and self.record.is_file()
        if self.path.exists() and any(self.path.iterdir()) and not again:
            raise UserError("this folder is not empty", where=self.path, do="give another --out")

    def read_record(self) -> R:
        """Read the record.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.path.exists():
            raise UserError("no such folder", where=self.path, do=f"give the folder of {self.what}")
        if not self.record.is_file():
            raise UserError(f"no {self.name} here", where=self.path, do=f"give the folder of {self.what}")
        return from_json(self.record.read_bytes(), self.kind, self.record)


class RunDir(Folder):
    """The files of one run.

    recipe.toml         the resolved recipe
    history.jsonl       one `EpochRow` per line, one line per epoch
    weights.safetensors the best weights, with classes, mean, std and the recipe inside
    run.json            the `RunRecord`
    looks.jsonl         every look at the test set, a `rungs.run.looks.Look` per line
    report.html         the report, with its pictures inside
    figures/            the same pictures as SVG and PNG
    checkpoints/        the last two, to resume from
    events/             for TensorBoard
    """

    name: ClassVar[str] = "run.json"
    what: ClassVar[str] = "a run"

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.recipe = self.path / "recipe.toml"
        self.history = self.path / "history.jsonl"
        self.weights = self.path / "weights.safetensors"
        self.record = self.path / self.name
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.looks = self.path / LOOKS

    def holds_run(self) -> bool:
        """Return whether the folder holds any file of a run."""
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
            what = f"a run would overwrite files here: {', '.join(taken)}"
            raise UserError(what, where=self.path, do="give another --out")

    def require_space(self, needed_bytes: int) -> None:
        """Fail before training if the disk cannot hold what it will write."""
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            what = f"the disk has {free / 1e6:.1f} MB free, but this run writes about {needed_bytes / 1e6:.1f} MB"
            raise UserError(what, where=self.path, do="free disk space, or choose another folder with --out")

    def write_history(self, rows: tuple[EpochRow, ...]) -> None:
        """Write all rows, one per line."""
        import msgspec

        write_whole(self.history, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))

    def read_history(self) -> tuple[EpochRow, ...]:
        """Read all rows; none where the file is absent or damaged."""
        import msgspec

        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return tuple(msgspec.json.Decoder(EpochRow).decode_lines(self.history.read_bytes()))
        return ()

    def write_record(self, record: RunRecord) -> None:
        """Write `run.json`."""
        write_whole(self.record, to_json(record))

    def read_record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            UserError: There is none, or it is damaged.
        """
        if not self.record.is_file():
            do = f"give the folder of {self.what} that has ended"
            raise UserError(f"no {self.name} here", where=self.path, do=do)
        return from_json(self.record.read_bytes(), RunRecord, self.record)


def net_folder(path: str | Path) -> Path:
    """Return where the net of a folder is: of a cross-validation that of its final net, else the folder itself."""
    return Path(path) / FINAL if (Path(path) / FOLDS).is_file() else Path(path)


def numbered(first: Path, taken: Callable[[Path], bool] = Path.exists) -> Path:
    """Return the first of NAME, NAME-2, NAME-3, … that is not taken; `first` is NAME."""
    return next(path for path in numbers(first) if not taken(path))


def numbers(first: Path) -> Iterator[Path]:
    """Yield NAME, NAME-2, NAME-3, … without end; `first` is NAME."""
    yield first
    for number in count(2):
        yield first.with_name(f"{first.name}-{number}")


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
    """Append a line to a log in one write, with fsync; a torn line of a killed writer is terminated first.

    Several processes may write at once: their lines stay whole, with an empty one between at most.

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
