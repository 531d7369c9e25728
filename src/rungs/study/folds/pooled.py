"""The scores of all folds as one: each image is in it once, predicted by a net that was not trained on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from msgspec.structs import replace

from rungs.run.predictions import Ints, Predictions, decode, encode
from rungs.run.record import EvalResult, Mistake, Scaled
from rungs.run.reliability import merged, wilson


def pooled(results: Sequence[EvalResult], places: Sequence[Ints], mistakes: int) -> EvalResult:
    """Return the score of all images.

    Args:
        results: Of the test part of each fold, with the predictions for each image.
        places: For each fold, int64 (n,): the positions of its images in the source.
        mistakes: Number of worst mistakes to keep; each fold kept as many of its own.
    """
    table = np.sum([result.confusion for result in results], axis=0)  # (K, K)
    n, correct = int(table.sum()), int(table.trace())
    predicted, images, hits = table.sum(0), table.sum(1), table.diagonal()
    error, bins = merged([result.calibration for result in results])
    shares = (
        hits / np.maximum(1, predicted),
        hits / np.maximum(1, images),
        2 * hits / np.maximum(1, predicted + images),
    )
    precision, recall, f1 = (tuple(map(float, share)) for share in shares)
    top5 = [result.top5_accuracy for result in results if result.top5_accuracy is not None]
    weights = [result.n for result in results]
    return EvalResult(
        n=n,
        loss=fmean([result.loss for result in results], weights),
        accuracy=correct / n,
        accuracy_interval=wilson(correct, n),
        top5_accuracy=fmean(top5, weights) if top5 else None,
        confusion=tuple(tuple(row) for row in table.tolist()),
        precision=precision,
        recall=recall,
        f1=f1,
        calibration_error=error,
        calibration=bins,
        scaled=_scaled(results),
        mistakes=_worst(results, places)[:mistakes],
        per_image=encode(_in_order([_predictions(result) for result in results], places)),
    )


def _predictions(result: EvalResult) -> Predictions:
    assert result.per_image is not None  # a run keeps those of its test part
    return decode(result.per_image)


def _in_order(found: Sequence[Predictions], places: Sequence[Ints]) -> Predictions:
    """Return the predictions of all folds in the order of the source."""
    order = np.argsort(np.concatenate(list(places)))
    names = ("truth", "predicted", "confidence", "loss")
    columns = [np.concatenate([getattr(one, name) for one in found])[order] for name in names]
    return Predictions(*columns)


def _worst(results: Sequence[EvalResult], places: Sequence[Ints]) -> tuple[Mistake, ...]:
    """Return the mistakes that the folds kept, worst first."""
    every = [
        replace(mistake, index=int(place[mistake.index]))
        for result, place in zip(results, places, strict=True)
        for mistake in result.mistakes
    ]
    return tuple(sorted(every, key=lambda mistake: -mistake.loss))


def _scaled(results: Sequence[EvalResult]) -> Scaled | None:
    """Return what the folds' temperatures, each fitted on validation, make of the scores; None where one has none."""
    scaled = [result.scaled for result in results if result.scaled is not None]
    if len(scaled) < len(results):
        return None
    error, bins = merged([one.calibration for one in scaled])
    loss = fmean([one.loss for one in scaled], [result.n for result in results])
    temperature = mean_temperature([one.temperature for one in scaled])
    return Scaled(temperature=temperature, loss=loss, calibration_error=error, calibration=bins)


def mean_temperature(temperatures: Sequence[float]) -> float:
    """Return the geometric mean: a temperature is a factor."""
    return math.exp(fmean(map(math.log, temperatures)))
