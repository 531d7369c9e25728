"""Rules about the shape of the curves: a gap, underfitting, training that ends too soon, epochs that jump."""

from __future__ import annotations

import itertools

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, gap_sentence, loss_of, note, validated, warning
from rungs.diagnose.label_floor import above_floor, label_floor, loss_at, share_words
from rungs.run.record import EpochRow, Finding, RunRecord

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
    if record.recipe.stopping.keep == "last" and loss_of(rows[-1]) > min(map(loss_of, rows)):
        return None  # kept, but not the best
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
