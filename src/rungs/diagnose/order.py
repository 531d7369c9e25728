"""A rule about the order of the images: sorted ones, of which each batch holds one class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from rungs.diagnose.findings import OURS, mean, warning
from rungs.run.record import EpochRow, Evidence, Finding, RunRecord, Series

SPREADS = 6.0
"""Standard errors above what shuffled batches show on average, over all batches that were looked at ..."""
MORE = 1.2
"""... and so many times that average: any order that repeats itself is a little off, and harmless."""
LOOKED_AT = 10
"""Batches of an epoch whose classes are counted: the last one of each tenth."""
DRAWN = 2000
"""Batches that are drawn to see what shuffled ones show: their mean is known to within 1 %."""
SAW = 0.15
"""A saw-tooth: the loss of a tenth lies by this share of the epoch's off the straight line through the tenths ..."""
ALIKE = 0.8
"""... in epoch after epoch at the same places: the mean correlation of neighbouring epochs."""
EPOCHS = 4
"""So many epochs after the first show whether a pattern comes back."""


def unshuffled(record: RunRecord) -> Finding | None:
    """Batches of one class, or a loss that goes up and down at the same places in each epoch."""
    counts = record.data.counts.get("train", ())
    shares = [row.class_share for row in record.history if row.class_share is not None]
    if not any(counts) or not record.history:
        return None
    if record.recipe.data.balance == "sampling":  # all classes are shown equally often
        counts = tuple(min(1, n) for n in counts)
    largest = max(counts) / sum(counts)
    images = sum(record.data.counts["train"])
    expected, error = _shuffled(counts, images, record.recipe.training.batch_size, len(shares))
    bound = min(0.999, max(expected + SPREADS * error, MORE * expected))
    by_class = bool(shares) and mean(shares) > bound and largest < 0.9
    if not by_class and not _saw_tooth(record.history):
        return None
    if by_class:
        text = (
            f"On average {100 * mean(shares):.0f} % of a batch are of its most frequent class; shuffled, it would be "
            f"about {100 * expected:.0f} %: images of one class, or of a few, come one after another. The net "
            "learns these classes anew and forgets the others, BatchNorm sees only a few classes at a time, and the "
            "loss jumps wherever others begin."
        )
    else:
        text = (
            "Within each epoch the training loss rises and falls at the same places: the images come in the same "
            "order every time, easy and hard ones, or kinds of images, together."
        )
    text += " Shuffle the images anew in every epoch, as `rungs.data.batches.order` does."
    return warning(
        "unshuffled",
        "The images are not shuffled",
        text,
        None,
        f"the most frequent class's share of a batch is, on average, {SPREADS:g} standard errors and "
        f"{100 * (MORE - 1):.0f} % above that of shuffled images; or the losses of the tenths of an epoch differ by "
        f"{100 * SAW:.0f} %, with a correlation of {ALIKE:g} between epochs",
        f"Bengio 2012, arXiv:1206.5533, section 2.1.2: consecutive examples must not be alike; the numbers are {OURS}",
        _picture(record.history),
    )


@cache
def _shuffled(counts: tuple[int, ...], images: int, batch_size: int, epochs: int) -> tuple[float, float]:
    """Return the most frequent class's share of a batch of shuffled images, on average, and its standard error.

    It is drawn, by a fixed seed. The last batch of an epoch is one of those looked at, and can be a small one.
    """
    images = max(2, images)
    full = min(batch_size, images)
    steps = max(1, -(-images // full))
    looked_at, rest = min(LOOKED_AT, steps), max(2, images - (steps - 1) * full)
    draw, shares = np.random.default_rng(0), np.array(counts) / sum(counts)
    many, last = (draw.multinomial(size, shares, DRAWN).max(1) / size for size in (full, rest))
    average = ((looked_at - 1) * many.mean() + last.mean()) / looked_at
    variance = ((looked_at - 1) * many.var() + last.var()) / looked_at**2 / max(1, epochs)
    return float(average), math.sqrt(variance)


def _saw_tooth(rows: Sequence[EpochRow]) -> bool:
    """Return whether the losses within an epoch have a pattern that comes back in each."""
    shapes = [_shape(row.tenths) for row in rows[1:] if len(row.tenths) >= 5 and all(map(math.isfinite, row.tenths))]
    if len(shapes) < EPOCHS or len({len(shape) for shape in shapes}) != 1:
        return False
    large = mean([math.sqrt(mean([x * x for x in shape])) for shape in shapes]) > SAW
    return large and mean([_correlation(a, b) for a, b in itertools.pairwise(shapes)]) > ALIKE


def _shape(tenths: Sequence[float]) -> list[float]:
    """Return how far the losses lie off the straight line through them, as shares of their mean."""
    n, centre = len(tenths), mean(tenths)
    places = [i - (n - 1) / 2 for i in range(n)]
    slope = sum(x * y for x, y in zip(places, tenths, strict=True)) / sum(x * x for x in places)
    return [(y - centre - slope * x) / max(abs(centre), 1e-12) for x, y in zip(places, tenths, strict=True)]


def _correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the correlation of two series whose means are 0."""
    lengths = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def _picture(rows: Sequence[EpochRow]) -> Evidence | None:
    """Return the training loss of each tenth of the last epochs."""
    points = [
        (row.epoch - 1 + (i + 1) / len(row.tenths), loss)
        for row in rows[-EPOCHS:]
        for i, loss in enumerate(row.tenths)
        if math.isfinite(loss)
    ]
    if not points:
        return None
    return Evidence(
        x_label="epoch",
        y_label="training loss",
        x=tuple(x for x, _ in points),
        series=(Series(name="of each tenth", y=tuple(y for _, y in points)),),
    )
