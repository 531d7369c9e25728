"""What the winner of a search is worth, although it was chosen by the very runs that measure it.

The winner has the best mean of a few finalists over a few seeds. That is a second choice, after the search's: the best
of several noisy means is too high (Cawley and Talbot 2010, JMLR 11:2079), and an interval around it covers too rarely.
`bench/simulate_tune.py` measures both, before and after what is done here:

- The value is nested: the winner is chosen on some of the seeds and its value read on the others, which had no part
  in the choice (Varma and Simon 2006, doi:10.1186/1471-2105-7-91).
- The lower end of the interval holds for all finalists at once (Bonferroni), so also for the one that was chosen. The
  upper end needs no correction: a choice for being high does not hide that a finalist is better still (Benjamini,
  Hechtlinger and Stark 2019, arXiv:1906.00505).

Shrinking the means towards each other (Efron 2011, doi:10.1198/jasa.2011.tm11181) varies less, but so few finalists do
not say how much to shrink: the script finds it wrong by up to 0.6 standard deviations of a run.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rungs.run.record import Estimate
from rungs.study.statistics import LEVEL
from rungs.study.variation import POOL_DF

Table: TypeAlias = NDArray[np.float64]
"""(finalists, seeds): the metric of each re-run. Finalists with the same seed share their validation images."""


def winner(table: Table) -> int:
    """Return the row with the highest mean; of equals the first."""
    return int(table.mean(axis=1).argmax())


def corrected(table: Table, *, maximise: bool = True) -> Estimate | None:
    """Return the winner's value with its 95 % interval, corrected for its having been chosen among the finalists.

    Args:
        table: (finalists, seeds), the re-runs.
        maximise: Whether higher is better.

    Returns:
        Its `sd` is that of one run, pooled as in `_variance`. None for a single seed, which leaves nothing to read on.
    """
    finalists, seeds = table.shape
    if seeds < 2:
        return None
    if not maximise:
        found = corrected(-table)
        assert found is not None and found.low is not None and found.high is not None
        return Estimate(n=seeds, mean=-found.mean, sd=found.sd, low=-found.high, high=-found.low)
    own = table[winner(table)]
    variance, freedom = _variance(table, own)
    error = math.sqrt(variance / seeds)
    value = _nested(table)
    low = float(own.mean()) - _quantile(freedom, LEVEL / 2 / finalists) * error
    high = float(own.mean()) + _quantile(freedom, LEVEL / 2) * error
    return Estimate(n=seeds, mean=value, sd=math.sqrt(variance), low=min(low, value), high=max(high, value))


def _nested(table: Table) -> float:
    """Return the value of the finalist that is best over all seeds, without the luck of the choice.

    With one of n seeds left out, the choice has only n - 1 to go by, so it errs a little more often than the real one.
    With two left out it errs more often still; what that costs is extrapolated, linearly in 1 / seeds, to none left out
    (the generalised jackknife: Schucany, Gray and Owen 1971, JASA 66, 524-533).
    """
    seeds = table.shape[1]
    value = _read_elsewhere(table, left_out=1)
    if seeds > 2:
        value += (value - _read_elsewhere(table, left_out=2)) * (seeds - 2) / seeds
    return value


def _read_elsewhere(table: Table, left_out: int) -> float:
    """Return the mean value of the best finalist on the seeds left out, over all ways to leave so many out."""
    ways = np.array(list(combinations(range(table.shape[1]), left_out)))
    elsewhere = table[:, ways].sum(axis=2)  # (finalists, ways)
    chosen = (table.sum(axis=1, keepdims=True) - elsewhere).argmax(axis=0)
    return float(elsewhere[chosen, np.arange(len(ways))].mean()) / left_out


def _variance(table: Table, own: Table) -> tuple[float, float]:
    """Return the variance of one re-run of the winner, and its degrees of freedom.

    (4 pooled + (n - 1) own) / (n + 3) for n seeds: three runs alone say little about their spread, and all finalists
    together nothing about a restless one. Finalists with the same seed share its validation images, so the pooled
    variance has two parts, between seeds and the rest; the degrees of freedom of the sum are Satterthwaite's (1946,
    Biometrics Bulletin 2, 110-114).

    Args:
        table: (finalists, seeds).
        own: (seeds,), the winner's.
    """
    finalists, seeds = table.shape
    weight = POOL_DF / (POOL_DF + seeds - 1) if finalists > 1 else 0.0
    by_seed = table.mean(axis=0)
    rest = table - table.mean(axis=1, keepdims=True) - by_seed + table.mean()
    freedom = (finalists - 1) * (seeds - 1)
    parts = [
        (weight * float(by_seed.var(ddof=1)), seeds - 1),
        (weight * float((rest**2).sum()) / (finalists * (seeds - 1)), max(1, freedom)),
        ((1 - weight) * float(own.var(ddof=1)), seeds - 1),
    ]
    variance = sum(part for part, _ in parts)
    squares = sum(part**2 / degrees for part, degrees in parts)
    return variance, variance**2 / squares if squares > 0 else seeds - 1.0


def _quantile(freedom: float, tail: float) -> float:
    """Return how many standard errors leave `tail` of Student's t above them."""
    return float(stdtrit(freedom, 1 - tail))
