"""Claims and measurements: published values, and published changes, compared with the runs of a ladder.

A claim is within M points of ours if the whole interval of the difference is (the two one-sided tests of Schuirmann
1987, doi:10.1007/BF01068419): few seeds, or seeds that vary much, then cannot tell, instead of agreeing with anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal, TypeAlias

from scipy.special import stdtrit

from rungs.recipe.spec import Claim
from rungs.report import format as fmt
from rungs.report import metric
from rungs.report.seeds import SEED_SD
from rungs.study.ladder.record import Answer
from rungs.study.statistics import LEVEL, Interval
from rungs.study.variation import Pool, moderated, weight

ROUNDING = 1e-9  # 0.3 - 0.1 < 0.2, though on paper they are equal

MARGIN, LOSS_MARGIN = 0.02, 0.05
"""A claim is confirmed if ours is known to lie within this of it: 2 points, or 0.05 nats of a loss; or within the
claim's own rounding where that is wider."""

AnswerVerdict: TypeAlias = Literal["within", "better", "worse", "cannot tell", "equal", "different", "not comparable"]


@dataclass(frozen=True)
class Measured:
    """What was measured of a claim."""

    values: Sequence[float]  # by seed: of the rung, or its differences to the rung that it builds on
    scale: float = 1.0  # what the variance over seeds is proportional to, see `rungs.study.variation.weight`
    pool: Pool | None = None  # the variance over seeds that the ladder's rungs share
    image_variance: float = 0.0  # of a value, where each run has images of its own


def measured(
    name: str, values: Sequence[float], pool: Pool | None = None, images: int = 0, *, shared: bool = True
) -> Measured:
    """Return what was measured of a value.

    Args:
        name: The metric.
        values: One per seed.
        pool: Of the ladder, not paired.
        images: Number of images of the part.
        shared: Whether the claim is about the same images, a published test set.
    """
    if not values or name == "parameters":
        return Measured(values)
    centre = fmean(values)
    spread = centre * (1 - centre) / images if metric.is_accuracy(name) and images and not shared else 0.0
    return Measured(values, weight(name, centre), pool, spread)


def answer(claim: Claim, found: Measured, margin: float | None = None, not_comparable: str = "") -> Answer:
    """Compare a claim with the measurement.

    Args:
        claim: The published value or change.
        found: What was measured.
        margin: Half-width of "within"; by default `MARGIN`, for losses `LOSS_MARGIN`.
        not_comparable: Why the two cannot be compared; "" where they can.
    """
    if margin is None:
        margin = LOSS_MARGIN if metric.is_loss(claim.metric) else MARGIN
    margin = 0.0 if claim.metric == "parameters" else max(margin, claim.tolerance)
    bounds = None if claim.metric == "parameters" else interval(claim, found)
    verdict, why = _judge(claim, found.values, bounds, margin)
    if not_comparable:
        verdict, why = "not comparable", not_comparable
    low, high = bounds or (None, None)
    return Answer(
        metric=claim.metric,
        kind="change" if claim.change else "value",
        claimed=claim.value,
        tolerance=claim.tolerance,
        margin=margin,
        measured=fmean(found.values) if found.values else None,
        n=len(found.values),
        low=low,
        high=high,
        verdict=verdict,
        why=why,
        source=claim.source,
    )


def interval(claim: Claim, found: Measured) -> Interval | None:
    """Return where a value like the claimed one lies with 95 % probability: mean ± t sd sqrt(1/n + 1/runs).

    A single published run is as uncertain as one of ours; the mean of many is less so.
    """
    n = len(found.values)
    if not n:
        return None
    own = variance(found.values) if n > 1 else 0.0
    prior = SEED_SD**2 * found.scale + found.image_variance if metric.is_accuracy(claim.metric) else None
    spread, df, _ = moderated(own, n - 1, prior, found.pool, found.scale)
    if not df:
        return None
    half = float(stdtrit(df, 1 - LEVEL / 2)) * math.sqrt(spread * (1 / n + 1 / claim.runs))
    bounds = fmean(found.values) - half, fmean(found.values) + half
    return bounds if claim.change else metric.clipped(claim.metric, *bounds)


def _judge(claim: Claim, values: Sequence[float], bounds: Interval | None, margin: float) -> tuple[AnswerVerdict, str]:
    if not values:
        return "not comparable", "not measured"
    reach = claim.tolerance + ROUNDING
    if claim.metric == "parameters":
        ours = fmean(values)
        return "equal" if abs(ours - claim.value) <= reach else "different", f"ours has {ours:,.0f}"
    seeds = fmt.many(len(values), "seed")
    if bounds is None:
        return "cannot tell", f"{seeds}, and nothing measured the sd over seeds"
    low, high = bounds
    far = max(high - claim.value, claim.value - low)
    reaches = metric.amount(claim.metric, far)
    if far <= margin + ROUNDING:
        return "within", f"the whole interval is within {reaches} of the claim"
    if low - reach <= claim.value <= high + reach:
        return "cannot tell", f"the interval contains the claim, and values up to {reaches} from it"
    above = low > claim.value
    verdict: AnswerVerdict = "better" if above != metric.is_loss(claim.metric) else "worse"
    return verdict, f"the claim is {'below' if above else 'above'} the interval"


def claimed_changes(claims: Sequence[Claim], base: Sequence[Claim]) -> tuple[Claim, ...]:
    """Return the changes that two rungs' claims of the same accuracy imply: 69.9 %, then 70.7 %, is +0.8 points."""
    before = {claim.metric: claim for claim in base if not claim.change}
    return tuple(
        Claim(
            metric=claim.metric,
            value=claim.value - before[claim.metric].value,
            source=f"{claim.source}; {metric.value(claim.metric, before[claim.metric].value)} before",
            tolerance=claim.tolerance + before[claim.metric].tolerance,
            runs=min(claim.runs, before[claim.metric].runs),
            change=True,
        )
        for claim in claims
        if metric.is_accuracy(claim.metric) and not claim.change and claim.metric in before
    )


def measured_change(name: str, values: Mapping[int, float], base: Mapping[int, float], pool: Pool | None) -> Measured:
    """Return what was measured of a change, paired by seed."""
    common = sorted(values.keys() & base.keys())
    if not common:
        return Measured(())
    scale = weight(name, fmean(values.values())) + weight(name, fmean(base.values()))
    return Measured([values[seed] - base[seed] for seed in common], scale, pool)
