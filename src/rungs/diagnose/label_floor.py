"""The smallest training loss that smoothed and mixed labels allow: the mean entropy of the labels themselves.

A cross-entropy is the entropy of the label plus the divergence of the prediction from it (Gibbs' inequality), so that
even a perfect net, one that predicts each label as it is, keeps the label's entropy as its loss. It is 0 for labels
that are one class; ln K, the loss of guessing among K classes alike, stays what it is for any labels. Validation and
test are always scored with whole labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from rungs.diagnose.findings import guess_loss
from rungs.recipe.augments import CutMix, Mixup
from rungs.run.record import RunRecord

NODES = 200
"""Weights to either side of one half over which a Beta distribution is summed ..."""
TAIL, WIDTHS = 20.0, 8.0
"""... as far out as its density is exp(-20) of its highest, whether it falls like exp(-alpha |t|) or like a bell."""
CENTRES = 8
"""Places of a box's centre along each side of an image over which the pasted area is averaged."""


def label_floor(record: RunRecord) -> float:
    """Return the mean entropy of the labels that a run is trained with; 0 where each is one class.

    With smoothing s a label is 1 - s + s / K for its class and s / K for each other. Mixing blends it with the label of
    another image, with a weight from Beta(alpha, alpha), and changes nothing where both are of one class. Of several
    mixes in a row the additions are added up, a little too much where they are smoothed.
    """
    recipe, classes = record.recipe, len(record.data.classes)
    smoothing = recipe.training.label_smoothing
    same = _alike(record)
    plain = entropy(1.0, smoothing, classes)
    floor = plain
    for augment in recipe.augment.train:
        if isinstance(augment, Mixup | CutMix):
            pasted = isinstance(augment, CutMix)
            mixed = mixed_entropy(augment.alpha, smoothing, classes, pasted=pasted)
            floor += augment.p * (1 - same) * (mixed - plain)
    return min(floor, math.log(classes))


def _alike(record: RunRecord) -> float:
    """Return how often two images that are mixed are of one class, as the loss counts them.

    Of classes that are visited equally often, or weigh equally in all, it is 1 / K.
    """
    counts, recipe = record.data.counts.get("train", ()), record.recipe
    present = [n for n in counts if n]
    if not present:
        return 1 / len(record.data.classes)
    if recipe.data.balance == "sampling" or recipe.training.class_weights == "balanced":
        return 1 / len(present)
    weights = recipe.training.class_weights
    if weights == "none" or len(weights) != len(counts):
        return sum((n / sum(counts)) ** 2 for n in counts)
    total = sum(w * n for w, n in zip(weights, counts, strict=True))
    return sum(w * n * n for w, n in zip(weights, counts, strict=True)) / (total * sum(counts))


def loss_at(record: RunRecord, share: float) -> float:
    """Return the training loss at which this share of the loss of guessing is left, the floor taken off both.

    It is ln K for 1 and the floor for 0; of whole labels simply the share of ln K.
    """
    floor = label_floor(record)
    return floor + share * (guess_loss(record) - floor)


def share_words(record: RunRecord, share: float) -> str:
    """Return this share of the loss of guessing in words, such as "0.3 ln K"."""
    floor = label_floor(record)
    if floor == 0:
        return f"{share:g} ln K"
    return f"{loss_at(record, share):.3f}, {share:g} of the way from its labels' floor, {floor:.3f}, up to ln K"


def above_floor(record: RunRecord) -> list[float]:
    """Return the training losses of all epochs without the floor of their labels: what learning can take away."""
    floor = label_floor(record)
    return [row.train_loss - floor for row in record.history]


def entropy(weight: float, smoothing: float, classes: int) -> float:
    """Return the entropy of a smoothed label, `weight` of which is one class and the rest another."""
    rest = smoothing / classes
    both = ((1 - smoothing) * weight + rest, (1 - smoothing) * (1 - weight) + rest)
    return sum(map(_term, both)) + (classes - 2) * _term(rest)


@cache
def mixed_entropy(alpha: float, smoothing: float, classes: int, *, pasted: bool) -> float:
    """Return the mean entropy of labels of two classes, mixed by Beta(alpha, alpha).

    Without smoothing and boxes it is psi(2 alpha + 1) - psi(alpha + 1): 0.5 for alpha = 1, 0.257 for 0.2.

    Args:
        alpha: Of the Beta distribution.
        smoothing: Share of each label that is spread over all classes.
        classes: K.
        pasted: The weight is the area that a pasted box leaves, as in cutmix, where a part of it may lie outside.
    """
    total = 0.0
    for weight, share in _beta(alpha):
        kept = _areas_left(weight) if pasted else (weight,)
        total += share * sum(entropy(one, smoothing, classes) for one in kept) / len(kept)
    return total


def _term(p: float) -> float:
    return -p * math.log(p) if p > 0 else 0.0


def _beta(alpha: float) -> list[tuple[float, float]]:
    """Return weights and their shares of Beta(alpha, alpha).

    Over t = ln(w / (1 - w)) its density is (w (1 - w))^alpha: smooth, and falling as exp(-alpha |t|), so that evenly
    spaced t sum it well however steep it is at 0 and 1. By symmetry the weights t and -t serve alike.
    """
    step = (TAIL / alpha + WIDTHS / math.sqrt(alpha)) / NODES
    tails = [math.exp(-step * k) for k in range(NODES + 1)]  # (1 - w) / w
    densities = [math.exp(-alpha * (step * k + 2 * math.log((1 + tail) / 2))) for k, tail in enumerate(tails)]
    total = 2 * sum(densities) - densities[0]
    halves = [(1 / (1 + tail), density / total) for tail, density in zip(tails, densities, strict=True)]
    return halves + [(1 - weight, share) for weight, share in halves[1:]]


def _areas_left(weight: float) -> Sequence[float]:
    """Return the shares of an image's area outside boxes of sides sqrt(1 - weight), centred all over it."""
    half = math.sqrt(1 - weight) / 2
    centres = [(i + 0.5) / CENTRES / 2 for i in range(CENTRES)]  # the other half of the image is its mirror image
    sides = [min(1.0, c + half) - max(0.0, c - half) for c in centres]
    return [1 - a * b for a in sides for b in sides]
