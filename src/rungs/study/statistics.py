"""Statistics over a few seeds: intervals over runs, differences paired by seed.

Runs that differ in the seed alone are taken as draws from a normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Literal, TypeAlias

from scipy.special import stdtr, stdtrit

from rungs.report import metric as report_metric
from rungs.run.record import Difference, Estimate

LEVEL = 0.05  # of all tests of a ladder together; intervals are of 1 - LEVEL
MOST_MORE_SEEDS = 20  # a difference that needs more seeds than this counts as none
FEWEST_PAIRS = 3  # one shows no spread, and two may agree by chance where a test set is small
TIE = 1e-12  # differences of accuracies are multiples of one image: small sets often give the same

Interval: TypeAlias = tuple[float, float]
Change: TypeAlias = tuple[str, str, str, Mapping[int, float], Mapping[int, float]]
"""A rung, what it builds on, the metric, and the values of both by seed."""
Verdict: TypeAlias = Literal["real gain", "real loss", "no difference", "undecided"]


def estimate(values: Sequence[float], interval_of_one: Interval | None = None) -> Estimate:
    """Return mean, sd and the 95 % interval of the mean over seeds (Student 1908, doi:10.1093/biomet/6.1.1).

    Args:
        values: One per seed, at least one.
        interval_of_one: For a single seed, which has no spread: Wilson's interval over its images.
    """
    n, centre = len(values), float(mean(values))
    if n == 1:
        low, high = interval_of_one or (None, None)
        return Estimate(n=1, mean=centre, sd=None, low=low, high=high)
    sd = float(stdev(values))
    half = _quantile(n) * sd / math.sqrt(n)
    return Estimate(n=n, mean=centre, sd=sd, low=centre - half, high=centre + half)


def prediction(values: Sequence[float], interval_of_one: Interval | None = None) -> Interval | None:
    """Return the 95 % prediction interval for one more run: mean ± t sd sqrt(1 + 1/n), t with n - 1 degrees of freedom.

    Claims are compared with it, because they are single runs (Hahn & Meeker, Statistical Intervals, 1991).
    For a single value it is `interval_of_one`.
    """
    n = len(values)
    if n < 2:
        return interval_of_one
    centre, half = float(mean(values)), _quantile(n) * float(stdev(values)) * math.sqrt(1 + 1 / n)
    return centre - half, centre + half


def paired(rung: Mapping[int, float], base: Mapping[int, float]) -> tuple[float, ...]:
    """Return rung - base of the seeds that both have, in order of seed."""
    return tuple(rung[seed] - base[seed] for seed in sorted(rung.keys() & base.keys()))


def p_value(differences: Sequence[float]) -> float | None:
    """Return p of the two-sided paired t test; None for fewer than two differences."""
    n = len(differences)
    return None if n < 2 else _p(float(mean(differences)), float(stdev(differences)), n)


def holm(ps: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p values corrected for all of these tests (Holm 1979, Scand. J. Statist. 6, 65-70); None does not count.

    The i-th smallest of m (from 0) is multiplied by m - i, and is never below a smaller one's.
    """
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    ranked = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    for rank, (p, place) in enumerate(ranked):
        highest = max(highest, min(1.0, (len(ranked) - rank) * p))
        corrected[place] = highest
    return tuple(corrected)


def more_seeds(differences: Sequence[Sequence[float]]) -> tuple[int | None, ...]:
    """Return, for each comparison of a ladder, the fewest additional seeds that would decide it.

    All comparisons get as many more, and are assumed to keep their mean and sd; one is decided if its p after Holm is
    below `LEVEL`. Since new seeds do change mean and sd, the number suffices about half of the time. None: not even
    `MOST_MORE_SEEDS` would, or there are fewer than two differences.
    """
    seen = [(float(mean(d)), float(stdev(d)), len(d)) if len(d) > 1 else None for d in differences]
    fewest: list[int | None] = [None] * len(seen)
    for more in range(1, MOST_MORE_SEEDS + 1):
        ps = holm([s and _p(s[0], s[1], s[2] + more) for s in seen])
        fewest = [more if f is None and p is not None and p < LEVEL else f for f, p in zip(fewest, ps, strict=True)]
    return tuple(fewest)


def compare(changes: Sequence[Change]) -> dict[str, Difference]:
    """Compare each rung with the one that it builds on, all of a ladder at once, because Holm counts them.

    Args:
        changes: All of them; without a common seed one is left out.
    """
    pairs = [(rung, against, metric, paired(values, base)) for rung, against, metric, values, base in changes]
    pairs = [row for row in pairs if row[3]]
    ps = [p_value(differences) if len(differences) >= FEWEST_PAIRS else None for *_, differences in pairs]
    corrected, more = holm(ps), more_seeds([differences for *_, differences in pairs])
    return {
        rung: _difference(metric, against, estimate(differences), p, p_holm, extra)
        for (rung, against, metric, differences), p, p_holm, extra in zip(pairs, ps, corrected, more, strict=True)
    }


def _quantile(n: int) -> float:
    """Return the two-sided 95 % quantile of Student's t for n values."""
    return float(stdtrit(n - 1, 1 - LEVEL / 2))


def _p(centre: float, sd: float, n: int) -> float:
    if sd < TIE:  # the t test divides by it; all signs equal have this chance (sign test)
        return 1.0 if abs(centre) < TIE else 2 * 0.5**n
    return float(2 * stdtr(n - 1, -abs(centre) * math.sqrt(n) / sd))


def _difference(
    metric: str, against: str, found: Estimate, p: float | None, p_holm: float | None, more: int | None
) -> Difference:
    verdict = _verdict(-found.mean if report_metric.is_loss(metric) else found.mean, p_holm, more)
    if found.n < FEWEST_PAIRS:
        more = FEWEST_PAIRS - found.n
    return Difference(
        against=against,
        metric=metric,
        n=found.n,
        mean=found.mean,
        low=found.low,
        high=found.high,
        p=p,
        p_holm=p_holm,
        verdict=verdict,
        more_seeds=more if verdict == "undecided" else None,
        words=_words(metric, found, verdict, p_holm, more),
    )


def _verdict(gain: float, p_holm: float | None, more: int | None) -> Verdict:
    if p_holm is None:
        return "undecided"
    if p_holm < LEVEL:
        return "real gain" if gain > 0 else "real loss"
    return "no difference" if more is None else "undecided"


def _words(metric: str, found: Estimate, verdict: Verdict, p_holm: float | None, more: int | None) -> str:
    low, high = found.low, found.high
    size, ends = report_metric.difference(metric, found.mean), report_metric.difference_bounds(metric, low, high)
    if low is None or high is None or p_holm is None:
        pairs = "one pair" if found.n == 1 else f"{found.n} pairs"
        interval = f" ({ends})" if ends else ""
        enough = f"a test needs {FEWEST_PAIRS} pairs: run {more} more seed{'' if more == 1 else 's'}"
        return f"undecided: {size} in {pairs}{interval}; {enough}"
    p = "p < 0.001" if p_holm < 0.001 else f"p = {p_holm:.3g}"
    if verdict in ("real gain", "real loss"):
        sign = 1 if found.mean > 0 else -1
        outwards = " to ".join(
            report_metric.signed(metric, sign * end).lstrip("+") for end in sorted((low, high), key=abs)
        )
        gains = f"{report_metric.verb(metric, found.mean)} {report_metric.amount(metric, found.mean)}"
        return f"{gains} (95 % interval {outwards}; {p} after Holm)"
    if low > 0 or high < 0:  # alone it would be a difference
        ends += f", but {p} after Holm"
    if verdict == "no difference":
        return f"no difference that {found.n} seeds can show: {size} ({ends})"
    return f"undecided: {size} ({ends}); about {more} more seed{'' if more == 1 else 's'} would decide it"
