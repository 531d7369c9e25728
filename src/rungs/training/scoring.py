"""The scores of a finished net: each part once, with the recipe's test-time augmentation, and with a temperature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.evaluate import evaluate_logits, temperature
from rungs.evaluate.score import score
from rungs.evaluate.tta import second_look
from rungs.run.predictions import decode
from rungs.run.record import EvalResult, WithoutTwins
from rungs.run.reliability import wilson
from rungs.training.feed import scoring_batches
from rungs.training.setup import Setup


@dataclass
class Scores:
    """The results of a net by part, and the temperature that was fitted on validation."""

    results: dict[str, EvalResult] = field(default_factory=dict)  # "test_tta", "validation_tta": with augmentation
    temperature: float = 1.0
    temperature_reason: str = "not fitted: there is no validation set"


def score_parts(setup: Setup, epoch: int) -> Scores:
    """Score the net of a setup on its parts, validation before test.

    All results are of the net as it was trained; that of the test set, and of validation, also says what the
    temperature makes of it. The mean logits of test-time augmentation are not scaled: the temperature is that of one
    view, as `rungs predict` sees it.

    Args:
        setup: With the best weights.
        epoch: Of these weights, counted from 0: the seed of an augmented validation.

    Raises:
        NotFinite: The net's outputs for some image are not finite.
    """
    recipe, scores = setup.recipe, Scores()
    parts, whole = setup.parts.present(), setup.as_whole()
    shown = list(parts)[-1]  # the part whose mistakes are kept: test, or validation without one
    for name, part in parts.items():
        if name == "train" and not recipe.evaluation.score_train:
            continue
        pictures = whole.parts.present()[name]
        augments = recipe.augment.validation if name == "validation" else ()
        logits, labels = score(setup.scored_net, scoring_batches(setup, part, augments, epoch), setup.autocast)
        mistakes = recipe.evaluation.mistakes if name == shown else 0
        if name == "validation":
            scores.temperature, scores.temperature_reason = _temperature(logits, labels)
        scores.results[name] = evaluate_logits(
            logits,
            labels,
            images=pictures.at,
            paths=part.paths,
            mistakes=mistakes,
            keep_images=name != "train",
            temperature=1.0 if name == "train" else scores.temperature,
        )
        if recipe.evaluation.tta != "none" and name != "train" and not augments:
            means = with_tta(whole, pictures, logits)
            scores.results[f"{name}_tta"] = evaluate_logits(means, labels, images=pictures.at)
    return scores


def without_twins(result: EvalResult, twins: npt.NDArray[np.int64]) -> EvalResult:
    """Return a score that also says what it is without some of its images.

    Args:
        result: Of the test set, with its predictions.
        twins: Positions of images that have a near or an identical copy among the training images.
    """
    if result.per_image is None or not len(twins) or len(twins) == result.n:
        return result
    correct = decode(result.per_image).correct
    hits, n = int(correct.sum() - correct[twins].sum()), result.n - len(twins)
    return replace(
        result,
        without_twins=WithoutTwins(
            twins=len(twins),
            twins_accuracy=float(correct[twins].mean()),
            n=n,
            accuracy=hits / n,
            accuracy_interval=wilson(hits, n),
        ),
    )


def _temperature(logits: Tensor, labels: Tensor) -> tuple[float, str]:
    """Return the temperature that validation logits (N, K) ask for, and on what it rests or why it is 1."""
    images = f"{len(labels):,} validation image{'s' * (len(labels) != 1)}"
    if not logits.isfinite().all():
        return 1.0, "not fitted: the net's outputs for some validation images are not finite"
    if len(labels) < temperature.FEWEST:
        return 1.0, f"not fitted: {images}, and it takes {temperature.FEWEST}"
    return temperature.fit(logits, labels), f"fitted on {images}"


def with_tta(setup: Setup, part: ImageSet, logits: Tensor) -> Tensor:
    """Return logits (N, K) of a part, those of the least confident images with test-time augmentation."""
    spec = setup.recipe.evaluation
    assert spec.tta != "none"

    def inputs(chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return scoring_batches(setup, part, only=chosen)

    return second_look(setup.scored_net, logits, inputs, setup.autocast, views=spec.tta, share=spec.tta_share)
