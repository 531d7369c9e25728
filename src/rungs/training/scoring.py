"""The scores of a finished net: each part once, and with the recipe's test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.evaluate import judge
from rungs.evaluate.score import score
from rungs.evaluate.tta import second_look
from rungs.run.record import EvalResult
from rungs.training.feed import scoring_batches
from rungs.training.setup import Setup


def score_parts(setup: Setup, epoch: int) -> dict[str, EvalResult]:
    """Score the net of a setup on its parts, as the recipe says.

    Args:
        setup: With the weights that were chosen.
        epoch: The one they are of, counted from 0: it seeds a validation that is augmented.

    Returns:
        By the name of the part; "test_tta" and "validation_tta" are with test-time augmentation.

    Raises:
        NotFinite: The net says no numbers of some image.
    """
    recipe, results = setup.recipe, dict[str, EvalResult]()
    parts = setup.parts.present()
    shown = list(parts)[-1]  # the part whose mistakes are kept: test, or validation without one
    for name, part in parts.items():
        if name == "train" and not recipe.evaluation.score_train:
            continue
        augments = recipe.augment.validation if name == "validation" else ()
        logits, labels = score(setup.scored_net, scoring_batches(setup, part, augments, epoch), setup.autocast)
        mistakes = recipe.evaluation.mistakes if name == shown else 0
        keep_images = name != "train"
        results[name] = judge(
            logits, labels, images=part.at, paths=part.paths, mistakes=mistakes, keep_images=keep_images
        )
        if recipe.evaluation.tta != "none" and name != "train" and not augments:
            results[f"{name}_tta"] = judge(look_again(setup, part, logits), labels, images=part.at)
    return results


def look_again(setup: Setup, part: ImageSet, logits: Tensor) -> Tensor:
    """Return logits (N, K) of a part with those of the least sure images replaced, as the recipe says."""
    spec = setup.recipe.evaluation
    assert spec.tta != "none"

    def inputs(chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return scoring_batches(setup, part, only=chosen)

    return second_look(setup.scored_net, logits, inputs, setup.autocast, views=spec.tta, share=spec.tta_share)
