"""The protocol guard: who looked at which test set how often, over a whole folder of runs, climbs and searches."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from scipy.integrate import quad
from scipy.stats import norm

from rungs import looks
from rungs.errors import UserError
from rungs.looks import Look
from rungs.records import Record, RunRecord
from rungs.rundir import LOOKS, LadderDir, RunDir, SearchDir


class Opened(Record, frozen=True, kw_only=True):
    """The looks of one run at its test set, or of a climb or search at those of its runs."""

    folder: str
    looks: tuple[Look, ...]
    flattery: float | None = None  # a watched test set: its highest accuracy over the epochs minus that of the kept one

    @property
    def openings(self) -> int:
        """How often the test set was opened."""
        return looks.openings(self.looks)


class SetUse(Record, frozen=True, kw_only=True):
    """One test set, and all who looked at it."""

    source: str
    images: int
    test_hash: str
    opened: tuple[Opened, ...]
    runs: int  # that scored it
    accuracy: float  # the highest of these
    luck: float  # how far the best of so many equal nets lies above their mean by the luck of the images alone


class Guard(Record, frozen=True, kw_only=True):
    """What a folder's logs say."""

    folder: str
    runs: int
    closed: int  # runs whose test set was never opened
    sets: tuple[SetUse, ...]
    studies: tuple[Opened, ...]  # climbs and searches that compared or scored by the test set


def sum_up(folder: Path) -> Guard:
    """Read every run, climb and search in a folder, however deep.

    Raises:
        UserError: There is no such folder, or none of these in it.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, do="give a folder of runs, as runs or climbs")
    runs = list(_runs(folder))
    if not runs:
        raise UserError("no run in here", where=folder, do="give a folder of runs, as runs or climbs")
    by_set: dict[str, list[tuple[Opened, RunRecord]]] = defaultdict(list)
    for record, opened in runs:
        if opened.looks:
            by_set[opened.looks[0].test_hash].append((opened, record))
    return Guard(
        folder=str(folder),
        runs=len(runs),
        closed=sum(not opened.openings for _, opened in runs),
        sets=tuple(_test_set(name, found) for name, found in by_set.items()),
        studies=tuple(_studies(folder)),
    )


def _runs(folder: Path) -> Iterator[tuple[RunRecord, Opened]]:
    for path in sorted(folder.rglob(RunDir(".").record.name)):
        run = RunDir(path.parent)
        record = run.read_record()
        seen = looks.read(run.looks) or _from_record(record)
        yield record, Opened(folder=str(path.parent.relative_to(folder)), looks=seen, flattery=_flattery(record))


def _flattery(record: RunRecord) -> float | None:
    told = looks.flattery(record)
    return None if told is None else told[1] - told[2]


def _from_record(record: RunRecord) -> tuple[Look, ...]:
    """Return the looks of a run that kept no log, as far as its record shows them."""
    if record.test is None:
        return ()
    watched = [row.epoch for row in record.history if row.test_loss is not None]
    common = {"when": record.finished, "who": "from run.json, there is no log", "images": record.test.n}
    found = [("watched", f"after epoch {epoch}") for epoch in watched] + [("scored", "the score of the run")]
    test_hash = record.data.hashes.get("test", f"{record.data.source}, {record.test.n} images")
    return tuple(Look(kind=kind, purpose=words, test_hash=test_hash, **common) for kind, words in found)  # type: ignore[arg-type]


def _studies(folder: Path) -> Iterator[Opened]:
    names = {LadderDir(".").record.name, SearchDir(".").record.name}
    for path in sorted(folder.rglob(LOOKS)):
        if any((path.parent / name).is_file() for name in names):
            yield Opened(folder=str(path.parent.relative_to(folder)), looks=looks.read(path))


def _test_set(test_hash: str, found: Iterable[tuple[Opened, RunRecord]]) -> SetUse:
    found = list(found)
    accuracies = [record.test.accuracy for _, record in found if record.test is not None]
    best, images = max(accuracies, default=0.0), found[0][0].looks[0].images
    return SetUse(
        source=found[0][1].data.source,
        images=images,
        test_hash=test_hash,
        opened=tuple(opened for opened, _ in found),
        runs=len(accuracies),
        accuracy=best,
        luck=highest_of(len(accuracies)) * math.sqrt(best * (1 - best) / images) if accuracies else 0.0,
    )


def highest_of(n: int) -> float:
    """Return the expected highest of n standard normal numbers: the integral of x n phi(x) Phi(x)^(n - 1)."""
    if n < 2:
        return 0.0
    value, _ = quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -10, 10)
    return float(value)
