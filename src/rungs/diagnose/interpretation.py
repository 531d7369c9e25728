"""The losses plot, interpreted: what the curves of a run show, in sentences for a student."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rungs.diagnose.configuration import floor
from rungs.diagnose.curves import unfinished
from rungs.diagnose.evaluation_mode import evaluation_mode
from rungs.diagnose.label_floor import label_floor
from rungs.diagnose.labels import label_noise
from rungs.diagnose.momentum import momentum
from rungs.diagnose.order import unshuffled
from rungs.diagnose.overfitting import overfits, rises
from rungs.diagnose.pace import large_eps, long_warm_up
from rungs.diagnose.parts import parts_mismatch
from rungs.diagnose.regularisation import regularised, strong_augmentation
from rungs.recipe.optimizers import Plateau, Step
from rungs.run.record import EpochRow, RunRecord

LEVEL = 0.02
"""A loss within 2 % of its minimum has converged; a change of 2 % of its total fall is visible on a plot."""
CUT = 1.5
"""A learning rate that falls by this factor between two epochs was cut; smaller falls do not show in the curves."""
GAP = 2.0
"""Points of accuracy: a smaller gap between training and other images is none."""
LITTLE = 2.0
"""Accuracies below twice that of guessing, 1 / K, say little of what would help."""
VISIBLE = 0.02
"""A smaller floor of the training loss does not show on a plot."""
MAX_CUTS_LISTED = 3
"""A plateau schedule can cut ten times; the first few change something."""
OTHER_CAUSES = (unshuffled, momentum, regularised, strong_augmentation, large_eps, long_warm_up, label_noise)
"""Rules that name why a training stays low, where neither rate nor size is to blame."""


def interpretation(record: RunRecord) -> str:
    """Return what the loss curves of a run show; "" where no epoch was finished."""
    rows = record.history
    if not rows:
        return ""
    sentences = [
        _training(rows, explained(record)),
        _floor(record),
        _validation(record),
        *_cuts(record),
        _ending(record),
        _gap(record),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def explained(record: RunRecord) -> bool:
    """Return whether a finding names another cause than the learning rate, the net's size or too few epochs."""
    found = (rule(record) for rule in OTHER_CAUSES)
    return any(finding is not None and finding.level == "warning" for finding in found)


def _training(rows: Sequence[EpochRow], other_cause: bool) -> str:
    first, last = rows[0], rows[-1]
    if len(rows) == 1:
        return f"After its only epoch the training loss is {first.train_loss:.3f}."
    low = min(rows, key=lambda row: row.train_loss)
    path = f"from {first.train_loss:.3f} to {last.train_loss:.3f} in {len(rows)} epochs"
    if not _falls(rows):
        verb = "hardly falls" if last.train_loss < first.train_loss else "does not fall"
        if other_cause:
            return f"The training loss {verb} ({path})."
        return f"The training loss {verb} ({path}): the learning rate is too large, or far too small."
    back = last.train_loss - low.train_loss
    if back > LEVEL * (first.train_loss - low.train_loss) and low.epoch < last.epoch - 1:
        return f"The training loss goes {path}, but was {low.train_loss:.3f} in epoch {low.epoch}: the steps are large."
    return f"The training loss falls {path}."


def _floor(record: RunRecord) -> str:
    """Return a sentence on how low the training loss can get, where that is not 0."""
    if record.recipe.training.loss != "softmax-cross-entropy":
        low = label_floor(record)
        if low < VISIBLE:
            return ""
        labels = "the entropy of its smoothed or mixed labels; validation labels are neither"
        return f"It cannot fall below {low:.3f}, {labels}."
    low = floor(len(record.data.classes))
    return f"It cannot fall below {low:.3f}: outputs go through a softmax twice, once in the net, once in the loss."


def _falls(rows: Sequence[EpochRow]) -> bool:
    """Return whether the training loss falls so far that a plot shows it."""
    return rows[-1].train_loss < (1 - LEVEL / 2) * rows[0].train_loss


def _validation(record: RunRecord) -> str:
    rows = [row for row in record.history if row.validation_loss is not None]
    if len(rows) < 2:
        return ""
    low, last = min(rows, key=_loss), rows[-1]
    falls = "The validation loss falls with it" if _falls(record.history) else "The validation loss falls"
    if rises(record) is not None:
        after = "from there on the net overfits: what it learns no longer generalises."
        if evaluation_mode(record) is not None or parts_mismatch(record) is not None:
            after = "for another reason than overfitting, see the findings."
        elif not overfits(record):
            after = "but it is not ahead on the training images, so this is not overfitting."
        if low is rows[0]:
            first = f"The validation loss is smallest after epoch {low.epoch} ({_loss(low):.3f})"
            return f"{first} and rises from then on, to {_loss(last):.3f}: {after}"
        return f"{falls} until epoch {low.epoch} ({_loss(low):.3f}) and then rises, to {_loss(last):.3f}: {after}"
    if unfinished(record) is not None:
        return f"{falls} to {_loss(last):.3f} and is still falling at the end: more epochs would help."
    arrived = next(row for row in rows if _loss(row) <= (1 + LEVEL) * _loss(low))
    if arrived is last:
        return f"{falls}, to {_loss(last):.3f} in the last epoch."
    smallest = f"The validation loss reaches its smallest value, {_loss(low):.3f}, in epoch {low.epoch}"
    if _loss(last) > (1 + LEVEL) * _loss(low):
        return f"{smallest}; at the end it is {_loss(last):.3f}."
    if arrived is low:
        return f"{smallest}; after it there is no gain."
    return f"{smallest}; from epoch {arrived.epoch} on there is little gain."


def _cuts(record: RunRecord) -> list[str]:
    """Return what each cut of the learning rate did to the validation loss; a smooth schedule makes none."""
    if not isinstance(record.recipe.schedule, Step | Plateau):
        return []
    pairs = itertools.pairwise(record.history)
    cuts = [(before, after) for before, after in pairs if before.learning_rate > CUT * after.learning_rate]
    said = [
        f"When the learning rate is cut from {before.learning_rate:.2g} to {after.learning_rate:.2g}, in epoch "
        f"{after.epoch}, the validation loss {_response(_loss(before), _loss(after))}."
        for before, after in cuts[:MAX_CUTS_LISTED]
        if before.validation_loss is not None and after.validation_loss is not None
    ]
    if said and (more := len(cuts) - MAX_CUTS_LISTED) > 0:
        times = "once more" if more == 1 else f"{more} times more"
        said.append(f"It is cut {times}, to {cuts[-1][1].learning_rate:.2g} in epoch {cuts[-1][1].epoch}.")
    return said


def _response(before: float, after: float) -> str:
    """Return what a loss did from one epoch to the next."""
    change = after - before
    if abs(change) < LEVEL * before:
        return f"hardly moves ({before:.3f} to {after:.3f})"
    return f"{'falls' if change < 0 else 'rises'} immediately by {abs(change):.3f}"


def _ending(record: RunRecord) -> str:
    return f"Then training broke down: {record.ending}." if record.status == "diverged" else ""


def _gap(record: RunRecord) -> str:
    held_out = record.validation or record.test
    if record.train is None or held_out is None:
        return ""
    part = "validation" if record.validation else "test"
    points = 100 * (record.train.accuracy - held_out.accuracy)
    by_accuracy = record.validation and record.recipe.stopping.monitor == "validation_accuracy"
    by_accuracy = by_accuracy and record.recipe.stopping.keep == "best"
    kept = f"epoch {record.best_epoch}{', the most accurate on validation,' if by_accuracy else ','}"
    said = (
        f"The kept weights, of {kept} classify {100 * record.train.accuracy:.1f} % of the "
        f"training images and {100 * held_out.accuracy:.1f} % of the {part} images correctly"
    )
    if evaluation_mode(record) is not None:
        return f"{said}; while training it classified far more of the former: evaluation mode spoils the net."
    if points <= -GAP:
        return f"{said}: the latter are easier, or too few to tell."
    if points < GAP and record.train.accuracy < LITTLE / len(record.data.classes):
        return f"{said}: little more than guessing gives."
    if points < GAP and 100 * (1 - record.train.accuracy) < GAP:
        return f"{said}: there is hardly a gap, and little left to gain."
    if points < GAP and explained(record):
        return f"{said}: there is hardly a gap."
    if points < GAP:
        return f"{said}: there is hardly a gap, so a larger net or longer training may help."
    return f"{said}, a gap of {points:.1f} points."


def _loss(row: EpochRow) -> float:
    return math.inf if row.validation_loss is None else row.validation_loss
