"""The best rung of a ladder, which is not the luckiest: with its interval, and the rungs not told apart from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, variance

from scipy.special import stdtrit

from rungs.report import metric as report_metric
from rungs.report.seeds import SEED_SD
from rungs.run.record import Difference
from rungs.study.differences import Change, compare
from rungs.study.ladder.changes import at_most, pools, ratio_of, scores
from rungs.study.ladder.record import LadderRecord, RungRecord
from rungs.study.statistics import LEVEL, Interval, mean_variance
from rungs.study.variation import Pool, moderated, weight


@dataclass(frozen=True)
class Best:
    """The best rung by what rungs are judged by."""

    rung: RungRecord
    mean: float  # accuracy over the seeds; a run that diverged counts as guessing
    interval: Interval  # 95 %, with the variance over seeds that the rungs share
    n: int
    ties: tuple[str, ...]  # rungs that are not told apart from it, by a test at 5 % each


def best(record: LadderRecord) -> Best | None:
    """Return the rung whose interval has the highest lower end; None where none has a result.

    By the mean alone, a rung with a single lucky seed would beat rungs with three. Rungs with different validation
    images from those they build on are left out: theirs may be easier.
    """
    metric, folds = record.judged_by, record.folds
    rungs = [
        rung
        for rung in record.rungs
        if metric in rung.estimates and (rung.difference is None or rung.difference.metric == metric)
    ]
    if not rungs:
        return None
    shared = pools(record.rungs, paired=False, metrics=(metric,))[metric]
    table = {rung.name: scores(rung, metric, record.data) for rung in rungs}
    ratios = {rung.name: ratio_of(rung.cells, folds) for rung in rungs}
    intervals = {name: _interval([*table[name].values()], metric, shared, ratio) for name, ratio in ratios.items()}
    top = max(rungs, key=lambda rung: intervals[rung.name][0])
    others = [
        Change(
            one.name,
            top.name,
            metric,
            table[one.name],
            table[top.name],
            at_most(record, one, top, metric),
            folds=folds,
            ratio=max(ratios[one.name], ratios[top.name]),
        )
        for one in rungs
    ]
    others = [change for change in others if change.rung != top.name]
    apart = compare(others, pools(record.rungs, metrics=(metric,)))
    ties = tuple(change.rung for change in others if not _is_apart(apart.get(change.rung)))
    values = table[top.name].values()
    return Best(top, fmean(values), intervals[top.name], len(values), ties)


def _is_apart(found: Difference | None) -> bool:
    """Return whether a difference was seen; without a common seed nothing was."""
    return found is not None and found.p is not None and found.p < LEVEL


def _interval(values: list[float], metric: str, shared: Pool, ratio: float) -> Interval:
    n, mean = len(values), fmean(values)
    scale = weight(metric, mean)
    spread, df, _ = moderated(variance(values) if n > 1 else 0.0, n - 1, SEED_SD**2 * scale, shared, scale)
    half = float(stdtrit(df, 1 - LEVEL / 2)) * math.sqrt(spread * mean_variance(n, ratio))
    return report_metric.clipped(metric, mean - half, mean + half)
