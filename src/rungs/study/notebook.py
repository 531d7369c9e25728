"""A record as a notebook shows it: `rungs.html`, which a record calls at the end of a cell."""

from __future__ import annotations

from rungs.report import notebook
from rungs.report.notebook import WIDE, page
from rungs.run.record import EvalResult, Record, RunRecord
from rungs.study.bench.record import BenchRecord
from rungs.study.comparison.record import CompareRecord
from rungs.study.folds.record import FoldsRecord
from rungs.study.ladder.record import LadderRecord
from rungs.study.rates.record import RateRecord
from rungs.study.search.record import SearchRecord


def html(record: Record) -> str | None:
    """Return a record as HTML: the tables that its command prints, and its main figures.

    Args:
        record: Of a run, a cross-validation, a climb, a search, a comparison, a range test or a bench, or a score.

    Returns:
        The HTML, without scripts and links; None for a part of a record, which has no page of its own.
    """
    match record:
        case RunRecord():
            return notebook.run(record)
        case EvalResult():
            return notebook.score(record)
        case FoldsRecord():
            return _folds(record)
        case LadderRecord():
            return _ladder(record)
        case CompareRecord():
            return _comparison(record)
        case SearchRecord():
            return _search(record)
        case RateRecord():
            return _rates(record)
        case BenchRecord():
            return _bench(record)
    return None


def _folds(record: FoldsRecord) -> str:
    from rungs.study.folds import figures, tables

    return page([tables.summary(record)], [("Accuracy of each fold", figures.folds(record))])


def _ladder(record: LadderRecord) -> str:
    from rungs.study.ladder import curves, tables, words

    figures = [("Accuracy of each rung", curves.staircase(record))]
    if any(cell.curves for rung in record.rungs for cell in rung.cells):
        figures.append(("Learning curves of each rung", curves.curves(record)))
    return page([words.headline(record), tables.summary(record, WIDE)], figures)


def _comparison(record: CompareRecord) -> str:
    from rungs.study.comparison import figures, tables

    verdicts = [f"{pair.shown.upper()} {' '.join((pair.words, *pair.more))}" for pair in record.pairs]
    drawn = [("Differences of accuracies", figures.differences(record)), ("Learning curves", figures.curves(record))]
    return page([*verdicts, *tables.tables(record, WIDE), *tables.remarks(record)], drawn)


def _search(record: SearchRecord) -> str:
    from rungs.study.search import history, tables, words

    drawn = words.of_state(record, "complete", "pruned")
    return page([tables.summary(record)], [("Trials in order", history.history(record))] if drawn else [])


def _rates(record: RateRecord) -> str:
    from rungs.study.rates import figures, tables

    return page([tables.summary(record)], [("Loss over the learning rate", figures.overview(record))])


def _bench(record: BenchRecord) -> str:
    from rungs.study.bench import figures, tables
    from rungs.study.bench.advice import advise

    return page([tables.summary(record, advise(record))], [("Time, operations and speed", figures.overview(record))])
