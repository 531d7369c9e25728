"""The protocol guard: how often each test set was opened, and by whom, in a folder of runs, climbs and searches."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from scipy.integrate import quad
from scipy.stats import norm

from rungs.errors import UserError
from rungs.report import format as fmt
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.looks import Kind, Look, times
from rungs.run.record import Record, RunRecord
from rungs.study import folders
from rungs.study.ladder.record import LadderDir
from rungs.study.search.record import SearchDir

SHOWN = 0.005
"""Points that round to more than 0.00."""


class Opened(Record, frozen=True, kw_only=True):
    """The looks of a run, of a climb or of a search at one test set."""

    folder: str
    kind: Literal["run", "study"]
    source: str  # of its images
    looks: tuple[Look, ...]
    accuracy: float | None = None  # of the run on it
    flattery: float | None = None  # a watched test set: its highest accuracy over the epochs minus that of the kept one

    @property
    def openings(self) -> int:
        """How often the test set was opened."""
        return looks.openings(self.looks)


class SetUse(Record, frozen=True, kw_only=True):
    """One test set, and all runs and studies that looked at it."""

    source: str
    images: int
    test_hash: str
    opened: tuple[Opened, ...]
    luck: float  # expected lead of the best of its runs over their mean, if all are equally good, by chance over images

    def of(self, kind: Literal["run", "study"]) -> tuple[Opened, ...]:
        """Return the runs, or the studies, that looked at it."""
        return tuple(one for one in self.opened if one.kind == kind)


class Guard(Record, frozen=True, kw_only=True):
    """The summary of a folder's logs."""

    folder: str
    runs: int
    closed: int  # runs that never opened a test set themselves
    sets: tuple[SetUse, ...]
    unreadable: tuple[str, ...]  # records that could not be read


def sum_up(folder: Path) -> Guard:
    """Read every run, climb and search in a folder, recursively.

    Raises:
        UserError: There is no such folder, or none of these in it.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=folder, do="give a folder of runs, such as runs or climbs")
    found, unreadable = list[Opened](), list[str]()
    for path in sorted(folder.rglob("*.json")):
        try:
            found += _logs(path, str(path.parent.relative_to(folder)))
        except UserError as error:
            unreadable.append(f"{path.relative_to(folder)}: {error.what}")
    found = _without_copies(found)
    runs = [one for one in found if one.kind == "run"]
    if not (found or unreadable):
        raise UserError("no runs found", where=folder, do="give a folder of runs, such as runs or climbs")
    return Guard(
        folder=str(folder),
        runs=len(runs),
        closed=sum(not one.openings for one in runs),
        sets=tuple(_by_set(found)),
        unreadable=tuple(unreadable),
    )


def _without_copies(found: list[Opened]) -> list[Opened]:
    """Leave out copies of a run, such as those in a merged climb: its looks were made once."""
    first: dict[object, Opened] = {}
    for one in found:
        copied = one.kind == "run" and one.looks
        first.setdefault((Path(one.folder).name, one.looks) if copied else one.folder, one)
    return list(first.values())


def _logs(path: Path, name: str) -> Iterator[Opened]:
    """Yield the looks of the record at `path` and its log, if it is one of a run or a study."""
    place = folders.holder(path)
    if isinstance(place, RunDir):
        record = place.read_record()
        seen = looks.read(place.looks) or _from_record(record)
        told, accuracy = looks.flattery(record), record.test.accuracy if record.test else None
        flattered = None if told is None else told[1] - told[2]
        source = record.data.source
        yield Opened(folder=name, kind="run", source=source, looks=seen, accuracy=accuracy, flattery=flattered)
    elif isinstance(place, LadderDir | SearchDir):  # only these two studies keep a log of their own
        source = place.read_record().data.source
        yield Opened(folder=name, kind="study", source=source, looks=looks.read(place.looks))


def _from_record(record: RunRecord) -> tuple[Look, ...]:
    """Return the looks of a run that kept no log, as far as its record shows them."""
    if record.test is None:
        return ()
    watched = [row.epoch for row in record.history if row.test_loss is not None]
    found: list[tuple[Kind, str]] = [("watched", f"after epoch {epoch}") for epoch in watched]
    found.append(("scored", "the score of the run"))
    test_hash = record.data.hashes.get("test", f"{record.data.source}, {record.test.n} images")
    return tuple(
        Look(
            when=record.finished,
            kind=kind,
            purpose=purpose,
            images=record.test.n,
            test_hash=test_hash,
            who="from run.json (no log)",
        )
        for kind, purpose in found
    )


def _by_set(found: list[Opened]) -> Iterator[SetUse]:
    """Yield each test set with those that looked at it; one that looked at several is listed with each."""
    by_hash: dict[str, list[Opened]] = defaultdict(list)
    for one in found:
        for test_hash in dict.fromkeys(look.test_hash for look in one.looks):
            mine = tuple(look for look in one.looks if look.test_hash == test_hash)
            own = any(look.kind == "scored" for look in mine)  # the accuracy is on the run's own test set
            accuracy, flattered = (one.accuracy, one.flattery) if own else (None, None)
            by_hash[test_hash].append(
                Opened(
                    folder=one.folder,
                    kind=one.kind,
                    source=one.source,
                    looks=mine,
                    accuracy=accuracy,
                    flattery=flattered,
                )
            )
    for test_hash, opened in by_hash.items():
        accuracies, images = [one.accuracy for one in opened if one.accuracy is not None], opened[0].looks[0].images
        best = max(accuracies, default=0.0)
        luck = highest_of(len(accuracies)) * math.sqrt(best * (1 - best) / images) if images else 0.0
        scored = [one for one in opened if one.accuracy is not None] or opened
        yield SetUse(source=scored[0].source, images=images, test_hash=test_hash, opened=tuple(opened), luck=luck)


def highest_of(n: int) -> float:
    """Return the expected highest of n standard normal numbers: the integral of x n phi(x) Phi(x)^(n - 1)."""
    if n < 2:
        return 0.0
    value, _ = quad(lambda x: x * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), -10, 10)
    return float(value)


def verdict(one: SetUse) -> str:
    """Return sentences on how a test set was used."""
    openings, kinds = sum(who.openings for who in one.opened), Counter(kinds_of(one.opened))
    runs, studies = one.of("run"), one.of("study")
    who = [fmt.many(len(runs), "run")] * bool(runs)
    who += [f"{len(studies)} stud{'y' if len(studies) == 1 else 'ies'}"] * bool(studies)
    said = [
        f"{one.source}, test set of {fmt.count(one.images)} images: opened {times(openings)} by {' and '.join(who)}."
    ]
    once = all(run.openings == 1 for run in one.opened)
    said += ["Each opened it once, after its epoch was chosen."] if once and not kinds["watched"] else []
    flattered = [run.flattery for run in one.opened if run.flattery is not None]
    if flattered:
        mean = 100 * sum(flattered) / len(flattered)
        watchers = "One watched it" if len(flattered) == 1 else f"{len(flattered)} watched it"
        would = f"choosing the epoch on test would have {_optimistic(mean)}"
        said.append(f"{watchers} over the epochs; {would}.")
    if kinds["evaluated"]:
        said.append(f"Trained nets were scored on it again, {times(kinds['evaluated'])}.")
    compared = {(look.when, look.who) for who in one.opened for look in who.looks if look.kind == "compared"}
    if compared:  # a comparison is in the log of each of its runs
        what = f"Its scores were compared {times(len(compared))}"
        said.append(f"{what}: choosing by that is selecting on test.")
    scored = sum(run.accuracy is not None for run in one.opened)
    if scored > 1:
        said.append(_luck(scored, 100 * one.luck))
    return " ".join(said)


def _optimistic(points: float) -> str:
    return f"been optimistic by {points:.2f} points" if points >= SHOWN else "gained nothing"


def _luck(scored: int, points: float) -> str:
    """Return in a sentence what choosing the best of several scores is worth by chance, in points."""
    if points < SHOWN:  # a score of nearly 100 % leaves chance no room
        return f"Choosing the best of these {scored} by it gained nothing."
    return (
        f"Choosing the best of these {scored} by it is optimistic: the best of {scored} equally good nets "
        f"scores about {points:.2f} points too high by chance over images alone."
    )


def kinds_of(opened: tuple[Opened, ...]) -> list[str]:
    """Return the kind of each look."""
    return [look.kind for one in opened for look in one.looks]
