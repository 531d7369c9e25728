"""The rule about a softmax too many: a loss with a floor, whatever the net learns."""

from __future__ import annotations

import math

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, validated, warning
from rungs.run.record import Finding, RunRecord

ROUNDING = 0.005
"""A mean over batches in bf16 may lie this much beside the bounds."""
NEAR = 0.1
"""A net that is as sure as it can be has the floor's loss on what it gets right and 1 more on what it gets wrong, the
floor + 1 - accuracy in the mean; one that comes so near to it is not just slow."""
ACCURATE = 0.9
"""A net that is right so often and yet has such a loss is no slow one: their losses are about 1 by then."""
LEVEL = 0.02
"""A loss that falls by less than 2 % in the last epoch has met its floor; that of a slow net goes on falling."""


def floor(classes: int) -> float:
    """Return the smallest cross-entropy of probabilities that go through a softmax again, -ln(e / (e + K - 1)).

    1.461 for 10 classes, 0.313 for 2. The largest is 1 above it: -ln(1 / (e + K - 1)).
    """
    return math.log(1 + (classes - 1) / math.e)


def equally_sure(accuracy: float, classes: int) -> float:
    """Return the loss of a net that is right in a share `accuracy` of the images and says just that of each.

    The rest of its probability is spread over the other classes alike. A net that knows which images it is sure of
    has a smaller loss, so that one above this does not mean what it says.
    """
    p = min(max(accuracy, 1e-9), 1 - 1e-9)
    return -p * math.log(p) - (1 - p) * math.log((1 - p) / max(1, classes - 1))


def double_softmax(record: RunRecord) -> Finding | None:
    """Outputs that go through a softmax in the net and again in the loss: by the recipe, or by the losses."""
    classes = len(record.data.classes)
    asked = record.recipe.training.loss == "softmax-cross-entropy"
    if not record.history or not (asked or _seen(record)):
        return None
    low, last = floor(classes), record.history[-1]
    text = (
        f"In the last epoch {100 * last.train_accuracy:.1f} % of the training images are right, and the training loss "
        f"is {last.train_loss:.3f}; it cannot fall below {low:.3f}. Outputs go through a softmax in the net and once "
        "more in the loss, so that even a perfect net is told that it is unsure, and gradients are small. Give the "
        "loss the logits."
    )
    return warning(
        "double-softmax",
        "Softmax twice",
        text,
        "--set training.loss=cross-entropy" if asked else None,
        f"the recipe asks for it; or all losses lie between {low:.3f} and {low + 1:.3f}, the training loss is level at "
        f"last, within {NEAR:g} of {low:.3f} + 1 - accuracy, with {100 * ACCURATE:.0f} % of the training images right",
        "Bridle 1990, doi:10.1007/978-3-642-76153-9_28, for softmax with its loss; the floor ln(1 + (K - 1) / e) "
        "follows from it; telling it by the losses is " + OURS,
        evidence.losses(record, level=low, level_name=f"floor {low:.3f}"),
    )


def _seen(record: RunRecord) -> bool:
    """Tell by the losses alone, of training and validation, whether there is a second softmax."""
    rows, classes = validated(record), len(record.data.classes)
    if not rows or classes < 2:
        return False
    low, high = floor(classes) - ROUNDING, floor(classes) + 1 + ROUNDING
    losses = [loss for row in rows for loss in (row.train_loss, row.validation_loss or 0.0)]
    if len(rows) < 2 or not all(low <= loss <= high for loss in losses):
        return False
    best = max(rows, key=lambda row: (row.train_accuracy, -row.train_loss))
    accuracy = best.train_accuracy
    if accuracy < ACCURATE or equally_sure(accuracy, classes) > low or best.train_loss > low + 1 - accuracy + NEAR:
        return False
    return rows[-1].train_loss > (1 - LEVEL) * rows[-2].train_loss
