"""Rules about a validation loss that rises while the training loss falls: overfitting, and what only looks like it."""

from __future__ import annotations

import math

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, gap_sentence, guess_loss, loss_of, mean, validated, warning
from rungs.diagnose.label_floor import label_floor
from rungs.run.record import EpochRow, Finding, RunRecord

OVERFIT_RISE = 0.05
"""Rise of the validation loss over its minimum: the GL_5 of Prechelt 1998, doi:10.1007/3-540-49430-8_3 ..."""
OVERFIT_NATS = 0.05
"""... and by so much in all: near a loss of zero, 5 % are a few images ..."""
OF_AN_IMAGE = 0.5
"""... and by more than chance: the loss of an image changes by about this from epoch to epoch, so that the mean of n
changes by 0.5 / sqrt(n): 0.16 for ten images, 0.05 for a hundred ..."""
OVERFIT_EPOCHS = 3
"""... in each of so many epochs at the end: one or two can be a jump."""
LOST = 0.01
"""A point of validation accuracy, which a net has to lose, too, where its labels are smoothed or mixed."""
AHEAD = 0.02
"""Two points: a training accuracy so far above that of other images is ahead of it ..."""
HIGH = 0.80
"""... or hardly can be, where it is as high as this ..."""
BY_HEART = 0.90
"""... and one as high as this is that of images which are known by heart, if others are not."""

PRECHELT = "Prechelt 1998, doi:10.1007/3-540-49430-8_3 (generalisation loss above 5 %)"


def rises(record: RunRecord) -> tuple[EpochRow, list[EpochRow]] | None:
    """Return the epoch of the smallest validation loss and the last ones after it, where it rose from there on.

    That is where overfitting is seen: the validation loss rises while the training loss falls (Prechelt 1998).
    """
    rows = validated(record)
    if len(rows) < OVERFIT_EPOCHS + 1:
        return None
    best = min(rows, key=loss_of)
    after = [row for row in rows if row.epoch > best.epoch][-OVERFIT_EPOCHS:]
    if len(after) < OVERFIT_EPOCHS or after[-1].train_loss >= best.train_loss:
        return None
    if min(map(loss_of, after)) <= loss_of(best) + rise_to_see(record, loss_of(best)):
        return None
    if label_floor(record) > 0 and not _less_accurate(best, after):
        return None
    return best, after


def rise_to_see(record: RunRecord, lowest: float) -> float:
    """Return by how much a validation loss has to lie above its minimum for that to be more than chance."""
    images = sum(record.data.counts.get("validation", ()))
    by_chance = OF_AN_IMAGE / math.sqrt(images) if images else 0.0
    return max(OVERFIT_NATS, OVERFIT_RISE * lowest, by_chance)


def _less_accurate(best: EpochRow, after: list[EpochRow]) -> bool:
    """Return whether validation accuracy fell, too, after the epoch of the smallest loss.

    A net that is trained on smoothed or mixed labels learns to be less confident than it could be. The better it does
    that, the larger its loss on the whole labels of validation, however many of them it predicts.
    """
    accuracies = [row.validation_accuracy for row in after if row.validation_accuracy is not None]
    return not accuracies or mean(accuracies) < (best.validation_accuracy or 0.0) - LOST


def highest_accuracy(record: RunRecord, rows: list[EpochRow]) -> float:
    """Return the highest training accuracy known: of these epochs as they ran, or of the kept weights.

    Augmentation, dropout and mixed labels lower the first; the second can be that of an early epoch.
    """
    kept = record.train.accuracy if record.train is not None else 0.0
    return max([kept, *(row.train_accuracy for row in rows)])


def overfits(record: RunRecord) -> bool:
    """Return whether the validation loss rises and the training accuracy says that it is by overfitting.

    That is so only where training images are classified better than others, or nearly all of them are.
    """
    found = rises(record)
    if found is None:
        return False
    learnt = highest_accuracy(record, found[1])
    others = max((row.validation_accuracy or 0.0) for row in found[1])
    return learnt >= HIGH or learnt - others > AHEAD


def validation_diverges(record: RunRecord) -> Finding | None:
    """A validation loss that climbs above where it began, or above guessing, while the training loss falls."""
    found = rises(record)
    if found is None or not overfits(record):
        return None
    (best, after), first = found, loss_of(validated(record)[0])
    bound = min(first, guess_loss(record))
    if mean([loss_of(row) for row in after]) <= bound:
        return None
    where = "where it began" if bound == first else "the loss of guessing"
    text = (
        f"From epoch {best.epoch} on the validation loss climbs, from {loss_of(best):.3f} to {loss_of(after[-1]):.3f}, "
        f"above {bound:.3f}, {where}; the training loss falls all the while, to {after[-1].train_loss:.3f}, so the "
        f"rate is not too large. This is severe overfitting: the net {_learns(record, after, 'has memorised')}, and "
        f"grows more confident in its mistakes on others. {gap_sentence(record)}"
    )
    return warning(
        "validation-diverges",
        "The validation loss diverges",
        text.strip(),
        cures.regularise(record),
        f"the validation loss of the last {OVERFIT_EPOCHS} epochs is {100 * OVERFIT_RISE:.0f} % above its minimum, and "
        "in the mean above that of the first epoch or of guessing, while the training loss falls",
        f"{PRECHELT}; Guo et al. 2017, arXiv:1706.04599, section 3: the loss is overfitted before the accuracy",
        evidence.curves(record, level=bound, level_name=where, at=best.epoch, at_name="smallest"),
    )


def overfitting(record: RunRecord) -> Finding | None:
    """Validation loss rises while training loss falls."""
    found = rises(record)
    if found is None or not overfits(record):
        return None
    best, after = found
    rise = mean([loss_of(row) for row in after]) / loss_of(best) - 1
    text = (
        f"From epoch {best.epoch} on the validation loss rises, from {loss_of(best):.3f} to {loss_of(after[-1]):.3f} "
        f"({100 * rise:.0f} % above its minimum), while the training loss keeps falling, from {best.train_loss:.3f} "
        f"to {after[-1].train_loss:.3f}: the net {_learns(record, after, 'is memorising')}. {gap_sentence(record)}"
    )
    return warning(
        "overfitting",
        "Overfitting",
        text.strip(),
        cures.regularise(record),
        f"in each of the last {OVERFIT_EPOCHS} epochs the validation loss is {100 * OVERFIT_RISE:.0f} %, "
        f"{OVERFIT_NATS:g} and {OF_AN_IMAGE:g} / sqrt(n) of n images above its minimum, while the training loss falls",
        PRECHELT,
        evidence.curves(
            record,
            level=loss_of(best) + rise_to_see(record, loss_of(best)),
            level_name="threshold",
            at=best.epoch,
            at_name="smallest",
        ),
    )


def _learns(record: RunRecord, rows: list[EpochRow], verb: str) -> str:
    """Return what the net does with its training images: it knows them by heart only where it classifies them so."""
    if highest_accuracy(record, rows) >= BY_HEART:
        return f"{verb} its training images"
    return "learns what holds for its training images alone"


def validation_rises(record: RunRecord) -> Finding | None:
    """A validation loss that rises while the training loss falls, though the training accuracy is no higher."""
    found = rises(record)
    if found is None or overfits(record):
        return None
    best, after = found
    text = (
        f"From epoch {best.epoch} on the validation loss rises, from {loss_of(best):.3f} to {loss_of(after[-1]):.3f}, "
        f"while the training loss falls. Yet only {100 * highest_accuracy(record, after):.1f} % of the training "
        f"images are classified correctly, and {100 * (after[-1].validation_accuracy or 0):.1f} % of the validation "
        "images, so nothing is learnt by heart. Either the validation images or their labels are unlike the training "
        "ones, or the net is confident in its mistakes: look at the worst of them first."
    )
    return warning(
        "validation-rises",
        "The validation loss rises, but not by overfitting",
        text,
        None,
        f"the validation loss rises as in overfitting, but the training accuracy is below {100 * HIGH:.0f} % and less "
        f"than {100 * AHEAD:.0f} points above that of validation",
        f"{PRECHELT}; the accuracies are {OURS}",
        evidence.curves(record, at=best.epoch, at_name="smallest"),
    )
