"""Differences of rungs, trials or rates, paired by seed: interval, corrected p and verdict, all of a study at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias

from msgspec.structs import replace

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.run.record import Difference
from rungs.study.statistics import LEVEL, holm, paired
from rungs.study.variation import Pool, Seeds, judge, pool, seeds_of_pairs

MARGIN = 0.01
"""A difference that lies within a point of zero, with its whole interval, is called none."""
LOSS_MARGIN = 0.02
"""The same of a loss, in nats."""

Verdict: TypeAlias = Literal["real gain", "real loss", "no difference", "undecided"]


@dataclass(frozen=True)
class ImageVariance:
    """What the choice of images adds to the uncertainty of a difference."""

    count: int = 0  # images of a set; 0: not known
    se: float = 0.0  # standard error of the mean difference over images that all pairs share
    pair_variance: float = 0.0  # of one pair's difference, where each pair has images of its own
    exact_p: float = 0.0  # of the sign test over images


@dataclass(frozen=True)
class Change:
    """A rung and what it is compared with."""

    rung: str
    against: str
    metric: str
    values: Mapping[int, float]  # of the rung, by seed
    base: Mapping[int, float]
    sampling: ImageVariance = ImageVariance()
    diverged: tuple[str, ...] = ()  # "2 of 5 runs of rate-0.3", which count as guessing
    folds: int = 0  # if not 0, the pairs are folds of one set, of which there are so many ...
    ratio: float = 0.0  # ... and this is n_test / n_train of each: see `statistics.of_folds`


def compare(
    changes: Sequence[Change],
    pools: Mapping[str, Pool] | None = None,
    *,
    level: float = LEVEL,
    margin: float | None = None,
    others: int = 0,
) -> dict[str, Difference]:
    """Compare each rung with the one that it builds on, all of a study at once, because Holm counts them.

    Args:
        changes: All of them; without a common seed one is left out.
        pools: By metric, the variance over seeds that the rungs share; by default that of `changes` themselves.
        level: Chance of any false "real" in all of them together.
        others: Further differences of the study for Holm to count, that are not given.
        margin: A difference is "none" if its interval lies within this of zero; by default `MARGIN`, of losses
            `LOSS_MARGIN`.
    """
    changes = [change for change in changes if change.values.keys() & change.base.keys()]
    pools = pools_of(changes) if pools is None else pools
    found = [_judged(change, pools.get(change.metric)) for change in changes]
    corrected = holm([*(one.p for one in found), *[1.0] * others])[: len(found)]
    return {
        change.rung: worded(_with_verdict(one, p, level, margin))
        for change, one, p in zip(changes, found, corrected, strict=True)
    }


def pools_of(changes: Sequence[Change]) -> dict[str, Pool]:
    """Return, by metric, the variance over seeds of the table that the compared rungs form."""
    tables: dict[str, dict[str, Mapping[int, float]]] = {}
    for change in changes:
        tables.setdefault(change.metric, {}).update({change.rung: change.values, change.against: change.base})
    return {metric: pool(table, metric) for metric, table in tables.items()}


def _judged(change: Change, shared: Pool | None) -> Difference:
    """Return a difference without its verdict."""
    differences, sampling = paired(change.values, change.base), change.sampling
    common = change.values.keys() & change.base.keys()
    means = fmean(change.values[seed] for seed in common), fmean(change.base[seed] for seed in common)
    spread, ratio = sampling.pair_variance, change.ratio
    seeds = seeds_of_pairs(differences, means, change.metric, pool=shared, image_variance=spread, ratio=ratio)
    mean = fmean(differences)
    found = judge(mean, sampling.se, sampling.count, seeds, sampling.exact_p) if seeds.df else None
    return Difference(
        against=change.against,
        metric=change.metric,
        n=len(differences),
        mean=mean,
        low=found.interval[0] if found else None,
        high=found.interval[1] if found else None,
        p=found.p if found else None,
        p_holm=None,
        verdict="undecided",
        diverged=change.diverged,
        folds=change.folds,
        sd=seeds.pair_variance**0.5 if seeds.df else None,
        sd_from=_source(seeds),
        words="",
    )


def _source(seeds: Seeds) -> Literal["", "pairs", "ladder", "elsewhere"]:
    """Return where most of what is known of the variance over seeds was measured; "" for nowhere."""
    if not seeds.df:
        return ""
    if seeds.own_df:
        return "pairs"
    return "ladder" if seeds.pooled_df * 2 >= seeds.df else "elsewhere"


def _with_verdict(found: Difference, p_holm: float | None, level: float, margin: float | None) -> Difference:
    if margin is None or report_metric.is_loss(found.metric):
        margin = LOSS_MARGIN if report_metric.is_loss(found.metric) else MARGIN
    gain = -found.mean if report_metric.is_loss(found.metric) else found.mean
    verdict: Verdict = "undecided"
    if p_holm is not None and p_holm < level:
        verdict = "real gain" if gain > 0 else "real loss"
    elif found.low is not None and found.high is not None and -margin <= found.low and found.high <= margin:
        verdict = "no difference"
    return replace(found, p_holm=p_holm, verdict=verdict, level=level, margin=margin)


# --- words --------------------------------------------------------------------------------------------


def worded(found: Difference) -> Difference:
    """Return a difference with its verdict in a sentence."""
    diverged = f"; {' and '.join(found.diverged)} diverged and count as guessing" if found.diverged else ""
    folds = f"; {fmt.many(found.n, 'fold')}, which share training images" if found.folds else ""
    return replace(found, words=_words(found) + folds + diverged)


def not_judged_yet(found: Difference) -> Difference:
    """Return a difference of a study that is not finished with its size alone in words."""
    size = report_metric.difference(found.metric, found.mean)
    ends = report_metric.difference_bounds(found.metric, found.low, found.high)
    return replace(found, words=f"not judged yet: {size}{f' ({ends})' if ends else ''}")


def _words(found: Difference) -> str:
    metric, low, high = found.metric, found.low, found.high
    size, ends = report_metric.difference(metric, found.mean), report_metric.difference_bounds(metric, low, high)
    unit = "fold" if found.folds else "seed"
    if low is None or high is None or found.p_holm is None:
        return f"undecided: {size} in {fmt.many(found.n, 'pair')}, and nothing measured the sd over {unit}s"
    if found.decided_at not in (None, found.n):
        seeds = fmt.many(found.decided_at or 0, unit)
        return f"{found.verdict}, decided with {seeds}; with {found.n} now {size} ({ends})"
    p, basis = f"{_p_words(found.p_holm)} after Holm", _basis(found)
    if found.verdict in ("real gain", "real loss"):
        sign = 1 if found.mean > 0 else -1
        outwards = " to ".join(
            report_metric.signed(metric, sign * end).lstrip("+") for end in sorted((low, high), key=abs)
        )
        gains = f"{report_metric.verb(metric, found.mean)} {report_metric.amount(metric, found.mean)}"
        return f"{gains} (95 % interval {outwards}; {p}{basis})"
    if found.verdict == "no difference":
        margin = report_metric.amount(metric, found.margin or 0.0)
        return f"no difference beyond {margin}: {size} ({ends}{basis})"
    apart = f"; {p}" if low > 0 or high < 0 else ""  # alone it might be a difference
    return f"undecided: {size} ({ends}{apart}{basis}){_next(found)}"


def _p_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3g}"


def _basis(found: Difference) -> str:
    """Return where the sd over seeds is from, where a single pair cannot show it."""
    if found.sd_from == "ladder":
        return "; one pair, its sd over seeds taken from the other rungs"
    return "; one pair, its sd over seeds taken from other recipes" if found.sd_from == "elsewhere" else ""


def _next(found: Difference) -> str:
    """Return what to do about an undecided difference of a ladder."""
    if found.next_look is not None:
        return f"; next look: --seeds {found.next_look}"
    return "; no look is left" if found.looks else ""
