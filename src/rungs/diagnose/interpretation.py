"""The losses plot, interpreted: what the curves of a run say, in sentences for a student."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rungs.diagnose.rules import overfitting, unfinished
from rungs.records import EpochRow, RunRecord

LEVEL = 0.02
"""A loss within 2 % of its minimum has arrived."""
RATE_FALL = 3.0
"""A learning rate that falls by this factor from one epoch to the next was cut, not annealed."""


def interpretation(record: RunRecord) -> str:
    """Return what the loss curves of a run say; "" where no epoch was finished."""
    rows = record.history
    if not rows:
        return ""
    sentences = [_training(rows), _validation(record), *_cuts(rows), _gap(record)]
    return " ".join(sentence for sentence in sentences if sentence)


def _training(rows: Sequence[EpochRow]) -> str:
    first, last = rows[0], rows[-1]
    if len(rows) == 1:
        return f"After its only epoch the training loss is {first.train_loss:.3f}."
    low = min(rows, key=lambda row: row.train_loss)
    path = f"from {first.train_loss:.3f} to {last.train_loss:.3f} in {len(rows)} epochs"
    if last.train_loss >= first.train_loss:
        return f"The training loss does not fall ({path}): the learning rate is too large, or far too small."
    if last.train_loss > (1 + LEVEL) * low.train_loss and low.epoch < last.epoch - 1:
        return (
            f"The training loss goes {path}, but it was {low.train_loss:.3f} in epoch {low.epoch}: the steps are large."
        )
    return f"The training loss falls {path}."


def _validation(record: RunRecord) -> str:
    rows = [row for row in record.history if row.validation_loss is not None]
    if len(rows) < 2:
        return ""
    low = min(rows, key=_loss)
    if overfitting(record) is not None:
        return (
            f"The validation loss falls with it until epoch {low.epoch} ({_loss(low):.3f}) and then rises, to "
            f"{_loss(rows[-1]):.3f}: from there on the net overfits, what it learns no longer holds for other images."
        )
    if unfinished(record) is not None:
        return (
            f"The validation loss falls with it to {_loss(low):.3f} and is still falling at the end: more epochs would "
            "help."
        )
    arrived = next(row for row in rows if _loss(row) <= (1 + LEVEL) * _loss(low))
    if arrived.epoch == rows[-1].epoch:
        return f"The validation loss falls with it, to {_loss(low):.3f} in the last epoch."
    return (
        f"The validation loss reaches its smallest value, {_loss(low):.3f}, in epoch {low.epoch}; from epoch "
        f"{arrived.epoch} on there is little gain."
    )


def _cuts(rows: Sequence[EpochRow]) -> list[str]:
    """Return what each cut of the learning rate did to the validation loss."""
    said = []
    for before, after in itertools.pairwise(rows):
        if after.learning_rate <= 0 or before.learning_rate < RATE_FALL * after.learning_rate:
            continue
        if before.validation_loss is None or (after.epoch == rows[-1].epoch and len(rows) > 3 and _annealed(rows)):
            continue
        change = _loss(after) - _loss(before)
        how = f"falls at once by {-change:.3f}" if change < 0 else "does not fall"
        said.append(
            f"When the learning rate is cut from {before.learning_rate:.2g} to {after.learning_rate:.2g}, in epoch "
            f"{after.epoch}, the validation loss {how}."
        )
    return said


def _annealed(rows: Sequence[EpochRow]) -> bool:
    """Tell whether the rate fell in every one of the last epochs: a smooth schedule that ends near 0."""
    rates = [row.learning_rate for row in rows[-4:]]
    return all(later < earlier for earlier, later in itertools.pairwise(rates))


def _gap(record: RunRecord) -> str:
    held_out = record.validation or record.test
    if record.train is None or held_out is None:
        return ""
    part = "validation" if record.validation else "test"
    points = 100 * (record.train.accuracy - held_out.accuracy)
    said = (
        f"The kept weights, of epoch {record.best_epoch}, are right on {100 * record.train.accuracy:.1f} % of the "
        f"training images and {100 * held_out.accuracy:.1f} % of the {part} images"
    )
    if abs(points) < 2:
        return f"{said}: there is hardly a gap, a larger net or a longer training may pay."
    return f"{said}, a gap of {points:.1f} points."


def _loss(row: EpochRow) -> float:
    return math.inf if row.validation_loss is None else row.validation_loss
