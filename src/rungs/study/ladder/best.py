"""The best rung of a ladder, which is not the luckiest: with its interval, and the rungs not told apart from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, variance

from scipy.special import stdtrit

from rungs.report import metric as report_metric
from rungs.report.seeds import SEED_SD
from rungs.study.differences import Change, compare
from rungs.study.ladder.changes import pools, scores
from rungs.study.ladder.record import LadderRecord, RungRecord
from rungs.study.statistics import LEVEL, Interval
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
    metric = "validation_accuracy"
    if not any(metric in rung.estimates for rung in record.rungs):
        metric = "test_accuracy"
    rungs = [
        rung
        for rung in record.rungs
        if metric in rung.estimates and (rung.difference is None or rung.difference.metric == metric)
    ]
    if not rungs:
        return None
    shared = pools(record.rungs, paired=False, metrics=(metric,))[metric]
    table = {rung.name: scores(rung, metric, record.data) for rung in rungs}
    intervals = {rung.name: _interval([*table[rung.name].values()], metric, shared) for rung in rungs}
    top = max(rungs, key=lambda rung: intervals[rung.name][0])
    others = [Change(name, top.name, metric, values, table[top.name]) for name, values in table.items()]
    others = [change for change in others if change.rung != top.name]
    apart = compare(others, pools(record.rungs, metrics=(metric,)))
    ties = tuple(name for name, found in apart.items() if found.p is None or found.p >= LEVEL)
    values = table[top.name].values()
    return Best(top, fmean(values), intervals[top.name], len(values), ties)


def _interval(values: list[float], metric: str, shared: Pool) -> Interval:
    n, mean = len(values), fmean(values)
    scale = weight(metric, mean)
    spread, df, _ = moderated(variance(values) if n > 1 else 0.0, n - 1, SEED_SD**2 * scale, shared, scale)
    half = float(stdtrit(df, 1 - LEVEL / 2)) * math.sqrt(spread / n)
    return report_metric.clipped(metric, mean - half, mean + half)
