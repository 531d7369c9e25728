"""Rules about how training ended: whether it came to its end, and whether the net learnt anything."""

from __future__ import annotations

import math

from rungs.diagnose import cures
from rungs.records import Finding, RunRecord

FEW_EPOCHS = 3
"""Fewer points than this make no curve."""
STUCK = 0.97
"""Share of ln K, the loss of guessing among K classes, that training has to get under."""


def warning(rule: str, title: str, text: str, cure: str | None) -> Finding:
    """Return a finding that something went wrong."""
    return Finding(rule=rule, level="warning", title=title, text=text, cure=cure)


def note(rule: str, title: str, text: str, cure: str | None) -> Finding:
    """Return a finding that is good to know."""
    return Finding(rule=rule, level="note", title=title, text=text, cure=cure)


def diverged(record: RunRecord) -> Finding | None:
    """A loss that is not finite."""
    losses = [loss for row in record.history for loss in (row.train_loss, row.validation_loss) if loss is not None]
    if record.status != "diverged" and all(map(math.isfinite, losses)):
        return None
    text = (
        f"{_sentence(record.ending)} The learning rate was {record.recipe.optim.lr:g}; a training loss that "
        "explodes nearly always means that the steps are too large for this net."
    )
    return warning("diverged", "Training diverged", text, cures.rate(record, 0.1))


def interrupted(record: RunRecord) -> Finding | None:
    """A run that was stopped from outside."""
    if record.status != "interrupted":
        return None
    text = (
        f"{_sentence(record.ending)} {len(record.history)} of {record.recipe.training.epochs} epochs are done; "
        "what was reached is kept, and the run goes on bit for bit from its last checkpoint."
    )
    return warning("interrupted", "Not finished", text, "the same command again with --resume")


def stuck(record: RunRecord) -> Finding | None:
    """A training loss that stays at that of guessing."""
    if len(record.history) < FEW_EPOCHS or record.status == "diverged":
        return None
    guess = math.log(len(record.data.classes))
    first, best = record.history[0].train_loss, min(row.train_loss for row in record.history)
    if best < STUCK * guess:
        return None
    text = (
        f"After {len(record.history)} epochs the training loss is {best:.3f}; guessing among "
        f"{len(record.data.classes)} classes gives {guess:.3f}. The net has learnt next to nothing."
    )
    slow = record.history[-1].train_loss < first  # it falls, but hardly: the rate is too small rather than too large
    return warning("stuck", "The loss hardly moves", text, cures.rate(record, 10 if slow else 0.1))


def guessing(record: RunRecord) -> Finding | None:
    """An accuracy that cannot be told from that of always naming the largest class."""
    part, result = ("test", record.test) if record.test else ("validation", record.validation)
    if result is None or record.status == "diverged" or stuck(record) is not None:
        return None
    largest = max(map(sum, result.confusion)) / result.n
    low, high = result.accuracy_interval
    if low > largest:
        return None
    text = (
        f"{100 * result.accuracy:.2f} % of {result.n} {part} images are right (95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f} %); always naming the most frequent class would be right in {100 * largest:.2f} %. "
        f"Done: {len(record.history)} of {record.recipe.training.epochs} epochs."
    )
    if record.train is not None and record.train.accuracy_interval[0] > max(2 * largest, high):
        text += (
            f" {100 * record.train.accuracy:.1f} % of the training images are right: do the parts share their labels?"
        )
        return warning("guessing", "Cannot be told from guessing", text, None)
    absurd = record.recipe.optim.lr > cures.LARGEST_RATE
    longer = f"--set training.epochs={max(10, 2 * record.recipe.training.epochs)}"
    return warning("guessing", "Cannot be told from guessing", text, cures.rate(record, 0.1) if absurd else longer)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
