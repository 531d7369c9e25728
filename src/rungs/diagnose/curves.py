"""Rules about the shape of the curves: overfitting, underfitting, a validation that diverges, epochs that jump."""

from __future__ import annotations

import itertools
import math

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, gap_sentence, guess_loss, loss_of, mean, note, validated, warning
from rungs.diagnose.label_floor import above_floor, label_floor, loss_at, share_words
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
GAP = 0.10
"""Ten points between training and validation accuracy: more data or augmentation would pay more than a larger net."""
STILL_FALLING = 0.01
"""A mean validation loss of the last tenth of the epochs 1 % below that of the tenth before had not levelled out ..."""
STILL_NATS = 0.005
"""... where that is so much in all: near a loss of zero, 1 % is nothing."""
ANNEALED = 0.1
"""Below this share of its highest value the learning rate makes a loss level out by itself."""
JUMP = 0.25
"""A validation loss that rises by a quarter in one epoch; two such epochs that recover are not chance."""
AHEAD = 0.02
"""Two points: a training accuracy so far above that of other images is ahead of it ..."""
HIGH = 0.80
"""... or hardly can be, where it is as high as this ..."""
BY_HEART = 0.90
"""... and one as high as this is that of images which are known by heart, if others are not."""
UNDERFIT = 0.80
"""A net that misclassifies a fifth of its training images has room to learn ..."""
SMALL_GAP = 0.05
"""... does no worse on others, so that nothing is memorised ..."""
LEVEL = 0.01
"""... and whose loss falls by less than 1 % an epoch is not learning any more ..."""
HOT = 0.3
"""... though the rate is above this share of its highest value, and could move it."""
UNDERFIT_EPOCHS = 8
"""Fewer epochs cannot show a plateau."""
LEARNT = 0.85
"""A training loss above this share of ln K, the loss of guessing, is that of a net that has hardly begun to learn."""

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
    return max(OVERFIT_NATS, OVERFIT_RISE * lowest, OF_AN_IMAGE / math.sqrt(max(1, images)))


def _less_accurate(best: EpochRow, after: list[EpochRow]) -> bool:
    """Return whether validation accuracy fell, too, after the epoch of the smallest loss.

    A net that is trained on smoothed or mixed labels learns to be less confident than it could be. The better it does
    that, the larger its loss on the whole labels of validation, however many of them it predicts.
    """
    accuracies = [row.validation_accuracy for row in after if row.validation_accuracy is not None]
    return not accuracies or mean(accuracies) < (best.validation_accuracy or 0.0) - LOST


def training_accuracy(record: RunRecord, rows: list[EpochRow]) -> float:
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
    learnt = training_accuracy(record, found[1])
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
    if training_accuracy(record, rows) >= BY_HEART:
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
        f"while the training loss falls. Yet only {100 * training_accuracy(record, after):.1f} % of the training "
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


def gap(record: RunRecord) -> Finding | None:
    """Training accuracy far above validation accuracy."""
    held_out = record.validation or record.test
    if record.train is None or held_out is None or record.train.accuracy - held_out.accuracy <= GAP:
        return None
    part = "validation" if record.validation else "test"
    text = f"{gap_sentence(record)} More data or stronger augmentation would help more than a larger net."
    return note(
        "gap",
        f"Training is far ahead of {part}",
        text,
        cures.regularise(record),
        f"the training accuracy is more than {100 * GAP:.0f} points above the {part} accuracy",
        "Goodfellow, Bengio, Courville 2016, Deep Learning, section 5.2, for the gap; the ten points are " + OURS,
        evidence.bars(
            ("training", part),
            "accuracy",
            [("kept weights", (record.train.accuracy, held_out.accuracy))],
            level=record.train.accuracy - GAP,
            level_name="ten points below",
        ),
    )


def underfitting(record: RunRecord) -> Finding | None:
    """A training accuracy that is low and level, while validation is as good: the net is too small."""
    rows, train, held_out = record.history, record.train, record.validation or record.test
    if record.status != "finished" or train is None or held_out is None or len(rows) < UNDERFIT_EPOCHS:
        return None
    if train.accuracy >= UNDERFIT or train.accuracy - held_out.accuracy >= SMALL_GAP:
        return None
    most = max(row.learning_rate for row in rows)
    left, floor = above_floor(record), label_floor(record)
    hot = [loss for row, loss in zip(rows, left, strict=True) if row.learning_rate >= HOT * most]
    tail = hot[-max(3, len(hot) // 3) :]
    if len(hot) < UNDERFIT_EPOCHS // 2 or tail[-1] < tail[0] * (1 - LEVEL) ** (len(tail) - 1):
        return None
    if floor + tail[-1] > loss_at(record, LEARNT):  # it has hardly begun to learn: no net is too small for that
        return None
    if left[-1] < 0.9 * hot[-1]:  # it fell with the rate: the steps were too large for more, not the net
        return None
    text = (
        f"The kept weights classify {100 * train.accuracy:.1f} % of the training images and "
        f"{100 * held_out.accuracy:.1f} % of the others correctly, so nothing is memorised; and the training loss has "
        f"been level, at {floor + tail[-1]:.3f}, while the rate was still large enough to move it. The net is too "
        "small for more."
    )
    return warning(
        "underfitting",
        "Underfitting",
        text,
        cures.larger_net(record),
        f"the training accuracy is below {100 * UNDERFIT:.0f} %, less than {100 * SMALL_GAP:.0f} points above that of "
        f"other images, and the training loss falls by less than {100 * LEVEL:.0f} % an epoch at a rate above "
        f"{HOT:g} of its highest, having come below {share_words(record, LEARNT)}",
        "Goodfellow, Bengio, Courville 2016, Deep Learning, section 5.2 (capacity); the numbers are " + OURS,
        evidence.curves(
            record,
            ("train_accuracy", "validation_accuracy"),
            y_label="accuracy",
            level=UNDERFIT,
            level_name="threshold",
        ),
    )


def unfinished(record: RunRecord) -> Finding | None:
    """The last epoch is the best, and validation was still improving."""
    rows = validated(record)
    if record.status != "finished" or len(rows) < 3 or record.best_epoch != rows[-1].epoch:
        return None
    many = max(1, round(len(rows) / 10))
    fall = 1 - sum(map(loss_of, rows[-many:])) / sum(map(loss_of, rows[-2 * many : -many]))
    if fall <= STILL_FALLING or fall * loss_of(rows[-1]) <= STILL_NATS or annealed(rows):
        return None
    last, before = ("the last epoch", "the one") if many == 1 else (f"the last {many} epochs", f"the {many}")
    text = (
        f"The best epoch is the last one, {rows[-1].epoch}, and the validation loss of {last} is "
        f"{100 * fall:.1f} % below that of {before} before: the net was still learning."
    )
    return warning(
        "unfinished",
        "Still improving at the end",
        text,
        f"--set training.epochs={2 * len(rows)}",
        f"the last epoch is the best, the validation loss of the last tenth of the epochs is {100 * STILL_FALLING:.0f} "
        f"% and {STILL_NATS:g} below that of the tenth before, and the rate is above {ANNEALED:g} of its highest",
        "Hoffer et al. 2017, arXiv:1705.08741 (train longer); the numbers are " + OURS,
        evidence.curves(record, at=rows[-1].epoch, at_name="best"),
    )


def annealed(rows: list[EpochRow]) -> bool:
    """Return whether the learning rate has fallen so far that a loss levels out by itself."""
    return rows[-1].learning_rate <= 1.001 * ANNEALED * max(row.learning_rate for row in rows)


def unstable(record: RunRecord) -> Finding | None:
    """Validation loss that jumps up and comes back, again and again, at a rate that stays large to the end."""
    rows = validated(record)
    if rows and annealed(rows):
        return None
    jumps = [
        b.epoch
        for i, (a, b) in enumerate(itertools.pairwise(rows))
        if loss_of(b) > (1 + JUMP) * loss_of(a) and any(loss_of(later) < loss_of(a) for later in rows[i + 2 :])
    ]
    if len(jumps) < 2:
        return None
    epochs = ", ".join(map(str, jumps[:5])) + (", ..." if len(jumps) > 5 else "")
    text = (
        f"In {len(jumps)} epochs ({epochs}) the validation loss jumped up by more than {100 * JUMP:.0f} % and "
        "recovered: the steps are large, and stay so to the end. Decay the rate, or lower it."
    )
    return note(
        "unstable",
        "Unstable epochs",
        text,
        cures.rate(record, 0.3),
        f"the validation loss rises by more than {100 * JUMP:.0f} % in one epoch and comes back, twice or more, and "
        f"the rate ends above {ANNEALED:g} of its highest",
        "Cohen et al. 2021, arXiv:2103.00065 (edge of stability), for the cause; the numbers are " + OURS,
        evidence.curves(record, ("validation_loss",), at=float(jumps[0]), at_name="first jump"),
    )
