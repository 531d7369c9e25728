"""Claims and measurements: published values compared with the runs of a rung."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Literal, TypeAlias

from rungs.recipe.spec import Claim
from rungs.report import metric
from rungs.study.ladder.record import Answer
from rungs.study.statistics import Interval, prediction

ROUNDING = 1e-9  # 0.3 - 0.1 < 0.2, though on paper they are equal

AnswerVerdict: TypeAlias = Literal["reproduced", "better", "worse", "not comparable"]


def answer(claim: Claim, values: Sequence[float], interval_of_one: Interval | None, not_comparable: str = "") -> Answer:
    """Compare a claim, within its tolerance, with the measurement.

    Args:
        claim: The published value.
        values: The measured values, one per seed.
        interval_of_one: Wilson's interval over the images, for the accuracy of a single seed.
        not_comparable: Why the two cannot be compared; "" where they can.
    """
    bounds = None if claim.metric == "parameters" else prediction(values, interval_of_one)
    if bounds:
        bounds = metric.clipped(claim.metric, *bounds)
    low, high = bounds or (None, None)
    verdict, why = _judge(claim, values, bounds)
    if not_comparable:
        verdict, why = "not comparable", not_comparable
    return Answer(
        metric=claim.metric,
        claimed=claim.value,
        tolerance=claim.tolerance,
        measured=float(mean(values)) if values else None,
        low=low,
        high=high,
        verdict=verdict,
        why=why,
        source=claim.source,
    )


def _judge(claim: Claim, values: Sequence[float], bounds: Interval | None) -> tuple[AnswerVerdict, str]:
    if not values:
        return "not comparable", "not measured"
    reach = claim.tolerance + ROUNDING
    if claim.metric == "parameters":
        ours = mean(values)
        return "reproduced" if abs(ours - claim.value) <= reach else "worse", f"ours has {ours:,.0f}"
    if bounds is None:
        return "not comparable", "one seed gives no interval"
    low, high = bounds
    where = f"{metric.between(claim.metric, low, high)}, " + (
        "the prediction interval for one more run" if len(values) > 1 else "the interval of our single seed over images"
    )
    if low - ROUNDING <= claim.value <= high + ROUNDING:
        return "reproduced", f"inside {where}"
    if low - reach <= claim.value <= high + reach:
        return "reproduced", f"within its tolerance of {where}"
    above = low > claim.value
    verdict: AnswerVerdict = "better" if above != metric.is_loss(claim.metric) else "worse"
    return verdict, f"the claim is {'below' if above else 'above'} {where}"
