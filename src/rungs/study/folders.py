"""Identify a folder, a run or one of the studies, by the record in it, and rebuild its report.

A new kind of study is added here: to `AnyDir`, to `KINDS` and to `rewrite_report`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.study.bench.record import BenchDir
from rungs.study.comparison.record import CompareDir
from rungs.study.folds.record import FoldsDir
from rungs.study.ladder.record import LadderDir
from rungs.study.rates.record import RateDir
from rungs.study.search.record import SearchDir

AnyDir: TypeAlias = RunDir | FoldsDir | LadderDir | SearchDir | CompareDir | RateDir | BenchDir
KINDS: tuple[type[AnyDir], ...] = (RunDir, FoldsDir, LadderDir, SearchDir, CompareDir, RateDir, BenchDir)


def identify(folder: str | Path) -> AnyDir | None:
    """Return a folder as its kind; None where it holds no record."""
    places = [kind(folder) for kind in KINDS]
    return next((place for place in places if place.record.is_file()), None)


def holder(record: Path) -> AnyDir | None:
    """Return the folder of a record, by the file's name; None where the name is not one of ours."""
    return next((kind(record.parent) for kind in KINDS if kind.name == record.name), None)


def require_known(folder: str | Path) -> AnyDir:
    """Return a folder as its kind.

    Raises:
        UserError: It holds no record.
    """
    place = identify(folder)
    if place is None and not Path(folder).is_dir():
        is_file = Path(folder).is_file()
        do = f"give its folder, {Path(folder).parent}" if is_file else "give the folder of a run or of a study"
        raise UserError("this is a file" if is_file else "no such folder", where=folder, do=do)
    if place is None:
        first, *others = (kind.name for kind in KINDS)
        *called, last = (kind.what for kind in KINDS)
        what = f"neither {first} nor {' nor '.join(others)} here"
        raise UserError(what, where=folder, do=f"give the folder of {', '.join(called)} or {last} that has ended")
    return place


def require_runs(words: Sequence[str | Path]) -> None:
    """Refuse folders of studies where runs, or the rungs of a climb, are asked for.

    Raises:
        UserError: One of them is a study other than a climb or a cross-validation.
    """
    for place in map(identify, words):
        if place is not None and not isinstance(place, RunDir | FoldsDir | LadderDir):
            raise not_a_run(place, "give run folders")


def not_a_run(place: AnyDir, do: str) -> UserError:
    """Return the error for a study given instead of a run."""
    return UserError(f"this is {place.what}, not a run", where=place.path, do=do)


def rewrite_report(folder: str | Path) -> Path:
    """Rebuild the report of a run or of a study from its record, and return its path.

    Raises:
        UserError: The folder holds no record, or it is damaged.
    """
    match place := require_known(folder):
        case FoldsDir():
            from rungs.study.folds import page as folds_page

            return folds_page.write(place.read_record(), place)
        case LadderDir():
            from rungs.study.ladder import page as ladder_page

            return ladder_page.write(place.read_record(), place)
        case SearchDir():
            from rungs.study.search import page as search_page

            return search_page.write(place.read_record(), place)
        case CompareDir():
            from rungs.study.comparison import page as comparison_page

            return comparison_page.write(place.read_record(), place)
        case RateDir():
            from rungs.study.rates import page as rates_page

            return rates_page.write(place.read_record(), place)
        case BenchDir():
            return _rewrite_bench(place)
        case RunDir():
            return _rewrite_run(place)


def _rewrite_bench(place: BenchDir) -> Path:
    from rungs.study.bench import page
    from rungs.study.bench.advice import advise

    record = place.read_record()
    return page.write(record, advise(record), place)


def _rewrite_run(place: RunDir) -> Path:
    from rungs.diagnose import examine
    from rungs.diagnose.interpretation import interpretation
    from rungs.report import run_page
    from rungs.run import looks

    record, seen = place.read_record(), looks.read(place.looks)
    return run_page.write(record, examine(record, seen), place, interpretation(record), seen)
