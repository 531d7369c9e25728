"""Rules about the configuration: a stem for larger images, a schedule, a double softmax."""

from __future__ import annotations

import itertools
import math

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, validated, warning
from rungs.diagnose.label_floor import above_floor, label_floor, loss_at, share_words
from rungs.recipe.models import ResNet18
from rungs.run.record import Evidence, Finding, RunRecord, Series

SMALL_PIXELS = 64
"""Up to this size a stem that divides the map by four leaves too little of it (He et al. 2015, section 4.2)."""
LEFT = 4
"""Pixels a side of a map on which a 3x3 kernel mostly sees padding."""


def large_stem(record: RunRecord) -> Finding | None:
    """ResNet-18's stem for 224 pixels on small images."""
    model, pixels = record.recipe.model, record.data.image_size
    if not isinstance(model, ResNet18) or model.stem != "imagenet" or pixels > SMALL_PIXELS:
        return None
    text = (
        f"The stem for 224 pixels divides the map by four before the first block: of {pixels} pixels "
        f"{pixels // 4} remain. On small images the CIFAR stem is usually several points better."
    )
    sides = [row.output[1] for row in record.model.layers if len(row.output) == 3]
    picture = Evidence(
        x_label="layer",
        y_label="pixels a side",
        x=tuple(float(i) for i in range(len(sides) + 1)),
        series=(Series(name="map", y=(float(pixels), *map(float, sides))),),
        level=float(LEFT),
        level_name="a kernel sees mostly padding",
    )
    return warning(
        "large-stem",
        "Stem for larger images",
        text,
        "--set model.stem=cifar",
        f"images of at most {SMALL_PIXELS} pixels go into ResNet-18's stem for 224",
        "He et al. 2015, arXiv:1512.03385, section 4.2: for 32 pixels the authors use a 3x3 stem; the bound is " + OURS,
        picture,
    )


CUT = 2.5
"""A rate that falls by this factor from one epoch to the next was cut; a smooth schedule does so only at its end."""
STEEP = 0.03
"""A training loss that fell by 3 % an epoch before the cut was still learning fast ..."""
HARDLY = 1 / 3
"""... if it falls by less than a third of that in each epoch after it, the cut has ended the learning ..."""
FAR = 0.3
"""... and a training loss that ends above this share of ln K is far from done."""
EPOCHS_LEFT = 0.2
"""A cut in the last fifth of the epochs is meant to end the learning."""


def early_decay(record: RunRecord) -> Finding | None:
    """A cut of the learning rate that stopped a loss in the middle of its fall."""
    rows = record.history
    if record.status != "finished" or not rows or rows[-1].train_loss <= loss_at(record, FAR):
        return None
    left = above_floor(record)
    for i, (before, after) in enumerate(itertools.pairwise(rows)):
        earlier, later = left[max(0, i - 2) : i + 1], left[i + 2 :]
        if before.learning_rate < CUT * after.learning_rate or len(later) < max(2, EPOCHS_LEFT * len(rows)):
            continue
        if len(earlier) < 2:  # a single epoch: it came down from guessing
            earlier = [max(loss_at(record, 1) - label_floor(record), left[0]), left[0]]
        steep, hardly = _fall_an_epoch(earlier), _fall_an_epoch(left[i + 1 :])
        if steep < STEEP or hardly > HARDLY * steep:
            continue
        text = (
            f"In epoch {after.epoch} the learning rate is cut from {before.learning_rate:.2g} to "
            f"{after.learning_rate:.2g}. Before, the training loss fell by {100 * steep:.1f} % an epoch; after the "
            f"cut by {100 * max(hardly, 0):.1f} %, and {len(later)} epochs later it is at {rows[-1].train_loss:.3f}, "
            "far from converged: at so small a rate it cannot get there. Cut later."
        )
        return warning(
            "early-decay",
            "The rate was cut too early",
            text,
            cures.later_cut(record),
            f"the rate falls by a factor of {CUT:g}, the training loss fell by {100 * STEEP:.0f} % an epoch before and "
            f"falls by less than a third of that after, and ends above {share_words(record, FAR)}",
            "Loshchilov & Hutter 2017, arXiv:1608.03983, for schedules that fall late; the numbers are " + OURS,
            evidence.curves(record, at=after.epoch, at_name="rate cut"),
        )
    return None


def _fall_an_epoch(losses: list[float]) -> float:
    """Return by what share a loss falls in each epoch, in the geometric mean; 0 for fewer than two."""
    if len(losses) < 2 or losses[0] <= 0 or losses[-1] <= 0:
        return 0.0
    return 1 - float((losses[-1] / losses[0]) ** (1 / (len(losses) - 1)))


ROUNDING = 0.005
"""A mean over batches in bf16 may lie this much outside the bounds."""
NEAR = 0.1
"""A net with the greatest confidence has the floor's loss on correct predictions and 1 more on wrong ones, the
floor + 1 - accuracy in the mean; one that comes so near to it is not just slow."""
ACCURATE = 0.9
"""A net this accurate with such a loss is not just slow: a slow one's loss is about 1 by then."""
LEVEL = 0.02
"""A loss that falls by less than 2 % in the last epoch has reached its floor; that of a slow net keeps falling."""


def floor(classes: int) -> float:
    """Return the smallest cross-entropy of probabilities that go through a softmax again, -ln(e / (e + K - 1)).

    1.461 for 10 classes, 0.313 for 2. The largest is 1 above it: -ln(1 / (e + K - 1)).
    """
    return math.log(1 + (classes - 1) / math.e)


def equally_confident(accuracy: float, classes: int) -> float:
    """Return the loss of a net of this accuracy whose confidence in each image is just that accuracy.

    The rest of its probability is spread evenly over the other classes. A net whose confidence tells easy images from
    hard ones has a smaller loss, so a loss above this is that of a net whose probabilities are not its confidence.
    """
    p = min(max(accuracy, 1e-9), 1 - 1e-9)
    return -p * math.log(p) - (1 - p) * math.log((1 - p) / max(1, classes - 1))


def double_softmax(record: RunRecord) -> Finding | None:
    """Outputs that go through a softmax in the net and again in the loss: by the recipe, or by the losses."""
    classes = len(record.data.classes)
    asked = record.recipe.training.loss == "softmax-cross-entropy"
    if not record.history or not (asked or _built_in(record) or _seen(record)):
        return None
    low, last = floor(classes), record.history[-1]
    text = (
        f"In the last epoch {100 * last.train_accuracy:.1f} % of the training images are classified correctly, and "
        f"the training loss is {last.train_loss:.3f}; it cannot fall below {low:.3f}. Outputs go through a softmax "
        "in the net and once more in the loss, so that even a perfect net is penalised as underconfident, and "
        "gradients are small. Pass the logits to the loss."
    )
    return warning(
        "double-softmax",
        "Softmax applied twice",
        text,
        "--set training.loss=cross-entropy" if asked else None,
        f"the recipe asks for it, or the net ends in a softmax; or all losses lie between {low:.3f} and "
        f"{low + 1:.3f}, the training loss is level at last, within {NEAR:g} of {low:.3f} + 1 - accuracy, with "
        f"{100 * ACCURATE:.0f} % of the training images classified correctly",
        "Bridle 1990, doi:10.1007/978-3-642-76153-9_28, for softmax with its loss; the floor ln(1 + (K - 1) / e) "
        "follows from it; detecting it from the losses is " + OURS,
        evidence.curves(record, level=low, level_name=f"floor {low:.3f}"),
    )


def _built_in(record: RunRecord) -> bool:
    """Return whether the net's last layer is a softmax: the loss takes another."""
    return bool(record.model.layers) and record.model.layers[-1].kind in ("Softmax", "Softmax2d")


def _seen(record: RunRecord) -> bool:
    """Return whether the losses alone, of training and validation, show a second softmax."""
    rows, classes = validated(record), len(record.data.classes)
    if not rows or classes < 2:
        return False
    low, high = floor(classes) - ROUNDING, floor(classes) + 1 + ROUNDING
    validation = [(row.validation_accuracy or 0.0, row.validation_loss or 0.0) for row in rows]
    training = [(row.train_accuracy, row.train_loss) for row in rows]
    plain = label_floor(record) == 0 and record.recipe.training.class_weights == "none"
    judged = training if plain else validation  # the loss of soft or weighted labels has other bounds
    if len(rows) < 2 or not all(low <= loss <= high for _, loss in (*judged, *validation)):
        return False
    accuracy, loss = max(judged, key=lambda one: (one[0], -one[1]))
    if accuracy < ACCURATE or equally_confident(accuracy, classes) > low or loss > low + 1 - accuracy + NEAR:
        return False
    return judged[-1][1] > (1 - LEVEL) * judged[-2][1]
