"""The candidates of a comparison: their results, and the costs at which another dominates them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from msgspec.structs import replace

from rungs.run.predictions import decode
from rungs.run.record import EvalResult
from rungs.run.reliability import merged
from rungs.study import statistics
from rungs.study.comparison import paired
from rungs.study.comparison.candidates import Group, brief, key
from rungs.study.comparison.record import Calibration, Candidate, Part
from rungs.study.measures import CELL_VALUES, fold_ratio, is_score
from rungs.study.pareto import Point, dominates

PRICES = ("train_flops", "train_s", "flops")
"""Costs that accuracy is weighed against: training compute, training time, compute per image."""


def compared(groups: Sequence[Group], part: Part) -> tuple[Candidate, ...]:
    """Return the candidates, each with the costs at which another is as good for less, or better for as much (Pareto).

    Args:
        groups: From `rungs.study.comparison.candidates.read_candidates`.
        part: Whose accuracy counts.
    """
    found = [_candidate(group, part) for group in groups]
    if len({key(group.recipe) for group in groups}) == 1:  # seeds alone cost the same
        return tuple(found)
    return tuple(
        replace(one, dominated={p: other for p in PRICES if (other := _dominator(one, found, p, part))})
        for one in found
    )


def _candidate(group: Group, part: Part) -> Candidate:
    runs = tuple(map(brief, group.runs))
    record = group.runs[0].record
    ratio = fmean(fold_ratio(run.record) for run in group.runs)
    values: dict[str, list[float]] = {
        name: [run.values[name] for run in runs if run.status == "finished" and name in run.values]
        for name in CELL_VALUES
    }
    return Candidate(
        name=group.name,
        recipe=record.recipe.name,
        model=record.model.name,
        runs=runs,
        parameters=record.model.parameters,
        flops=record.model.flops,
        estimates={
            name: statistics.estimate(v, _of_one(group, name), ratio if is_score(name) else 0.0)
            for name, v in values.items()
            if v
        },
        calibration=_calibration(group, part),
        dominated={},
    )


def _of_one(group: Group, metric: str) -> tuple[float, float] | None:
    """Return Wilson's interval over images, for the accuracy of a single run."""
    name, _, what = metric.rpartition("_")
    scores = [getattr(run.record, name, None) for run in group.runs]
    if what != "accuracy" or len(scores) != 1 or not isinstance(scores[0], EvalResult):
        return None
    return scores[0].accuracy_interval


def _calibration(group: Group, part: Part) -> Calibration | None:
    """Return the calibration of all runs of a candidate together."""
    results = [result for run in group.runs if (result := run.on(part)) is not None]
    if not results:
        return None
    error, bins = merged([result.calibration for result in results])
    interval = None
    if all(result.per_image is not None for result in results):
        predictions = [decode(result.per_image) for result in results if result.per_image is not None]
        confidences = np.concatenate([one.confidence for one in predictions])
        correct = np.concatenate([one.correct for one in predictions])
        interval = paired.calibration_interval(confidences, correct)
    return Calibration(error=error, interval=interval, bins=bins)


def _dominator(one: Candidate, candidates: Sequence[Candidate], price: str, part: Part) -> str:
    """Return the name of the first candidate that is as good for less, or better for as much; "" where none is."""
    mine = _point(one, price, part)
    for other in candidates:
        theirs = _point(other, price, part)
        if mine is not None and theirs is not None and dominates(theirs, mine):
            return other.name
    return ""


def _point(candidate: Candidate, price: str, part: Part) -> Point | None:
    cost = float(candidate.flops) if price == "flops" else _mean(candidate, price)
    accuracy = _mean(candidate, f"{part}_accuracy")
    return None if cost is None or accuracy is None else Point(cost, accuracy)


def _mean(candidate: Candidate, metric: str) -> float | None:
    found = candidate.estimates.get(metric)
    return None if found is None else found.mean
