"""Rules about a loss that hardly moves, and why: units that are dead or driven to their ends, a rate, too few steps."""

from __future__ import annotations

import itertools

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import FEW_EPOCHS, OURS, guess_loss, mean, note, warning
from rungs.diagnose.label_floor import above_floor, loss_at, share_words
from rungs.run.record import ActivationRow, Evidence, Finding, RunRecord

STUCK = 0.97
"""Share of ln K, the loss of guessing among K classes, that training has to get under."""
POOR = 0.5
"""A training loss that ends above half of ln K is far from done."""
SLOW = 0.85
"""A training loss that ends above this share of ln K has gone less than 15 % of the way from guessing to zero ..."""
HARDLY = 0.93
"""... and one above this share less than 7 %."""
TINY = 0.1
"""A tenth of a rate that is seldom too large: where the loss stays high, that is why."""
BEND = 0.6
"""... and that fell in the second half of the epochs by this share of its fall in the first is on no bend yet."""
DEAD = 0.9
"""A layer of which nine in ten ReLUs never fire passes nearly nothing on ..."""
MOSTLY_DEAD = 0.75
"""... and one of which three in four never fire is a quarter as wide as it says."""
SATURATED = 0.5
"""Half of a layer's sigmoids at their ends, where the slope is less than a fifth of its most."""
SIGMOIDS = 3
"""So many sigmoids in a row pass on at most (1/4)^3 = 1.6 % of a gradient, saturated or not."""
STILL = 0.0005
"""A loss that moves by less than this share of ln K is that of weights which stay as they were drawn."""
CREEP = 0.2
"""A small rate takes even steps: a loss that falls in the second half by less than a fifth of its fall in the first,
for the same rates, dropped at first, and then stood still."""
STEPS_AN_EPOCH = 10
"""Fewer steps than these an epoch: the net is hardly moved by all of its images ..."""
STEPS = 500
"""... and fewer than these in all are few for any net."""
EXPLODED = 2.0
"""The loss of an untrained net is about ln K; a mean of an epoch above twice that comes from steps that went wrong."""
WARM_UP_STEPS = 5
"""A warm-up of fewer steps has no effect."""
STILL_FALLING = 0.01
"""A training loss that falls by 1 % in the last epoch has not converged ..."""
FAR = 0.3
"""... where it is above this share of ln K."""
SMALLER = 8
"""A batch of an eighth takes eight times as many steps."""
FEWEST_IMAGES = 16
"""Smaller batches make a BatchNorm's statistics too noisy (Wu & He 2018, arXiv:1803.08494, figure 1)."""

RELU_SOURCE = "Lu et al. 2019, arXiv:1903.06733 (dying ReLU); the share is " + OURS
SIGMOID_SOURCE = "Glorot & Bengio 2010, proceedings.mlr.press/v9/glorot10a, section 3; the share is " + OURS
RATE_SOURCE = "Bengio 2012, arXiv:1206.5533, section 3.1.1: the rate matters most; the shares are " + OURS


def dead_relus(record: RunRecord) -> Finding | None:
    """A layer whose ReLUs are zero for all images: no gradient comes through them, so that they stay so."""
    rows = [row for row in record.activations if row.kind == "relu"]
    worst = max(rows, key=lambda row: row.idle, default=None)
    if worst is None or worst.idle < MOSTLY_DEAD or not record.history:
        return None
    poor = worst.idle >= DEAD and record.history[-1].train_loss > loss_at(record, POOR)
    text = (
        f"{100 * worst.idle:.0f} % of the ReLUs of layer {worst.name} are zero for every image that was tried. A ReLU "
        "that is always zero passes no gradient, so it does not recover; a few steps that were too large at the start "
        "are the usual cause."
    )
    text += "" if poor else " The net still learns with the remaining units: it is effectively narrower."
    make, share = (warning, DEAD) if poor else (note, MOSTLY_DEAD)
    return make(
        "dead-relus",
        "Dead ReLUs",
        text,
        cures.rate(record, 0.1) if poor else None,
        f"{100 * share:.0f} % of a layer's ReLUs are zero for all of 256 training images"
        + (f" and the training loss ends above {share_words(record, POOR)}" if poor else ""),
        RELU_SOURCE,
        _of_layers(rows, "share that never fires", [row.idle for row in rows], share),
    )


def saturated_sigmoids(record: RunRecord) -> Finding | None:
    """Sigmoids at their ends, or many of them in a row: hardly any gradient comes through."""
    rows = [row for row in record.activations if row.kind == "sigmoid"]
    if not rows or not record.history or record.history[-1].train_loss <= loss_at(record, SLOW):
        return None
    worst = max(rows, key=lambda row: row.saturated)
    full = worst.saturated >= SATURATED
    if not full and (len(rows) < SIGMOIDS or not _stuck(record)):
        return None
    if full:
        text = (
            f"{100 * worst.saturated:.0f} % of the outputs of layer {worst.name} lie below 0.05 or above 0.95, where a "
            "sigmoid is nearly flat: hardly any gradient comes through, and the layers before it learn next to nothing."
        )
        rule, title = "saturated-sigmoids", "Saturated sigmoids"
        when = f"{100 * SATURATED:.0f} % of a layer's outputs are below 0.05 or above 0.95 and the training loss ends "
        when += f"above {share_words(record, SLOW)}"
    else:
        text = (
            f"{len(rows)} sigmoids stand one after the other, and each passes on at most a quarter of the gradient "
            f"that reaches it: {100 * 0.25 ** len(rows):.2g} % is left for the first layer. The loss does not move."
        )
        rule, title = "vanishing-gradients", "Sigmoids in a row stop the gradient"
        when = (
            f"{SIGMOIDS} or more layers end in a sigmoid and the training loss stays above {share_words(record, STUCK)}"
        )
    picture = _of_layers(rows, "share at the ends", [row.saturated for row in rows], SATURATED)
    return warning(rule, title, text, cures.relu(record), when, SIGMOID_SOURCE, picture)


def few_steps(record: RunRecord) -> Finding | None:
    """A batch so large that the optimiser takes few steps, and training is far from done."""
    rows, batch = record.history, record.recipe.training.batch_size
    if len(rows) < FEW_EPOCHS or record.status != "finished" or batch < 2 * FEWEST_IMAGES:
        return None
    an_epoch, steps, last = rows[-1].step / len(rows), rows[-1].step, rows[-1]
    left = above_floor(record)
    falling = left[-1] < (1 - STILL_FALLING) * left[-2]
    rates = [row.learning_rate for row in rows]
    falling &= rates[-1] >= 0.1 * max(rates) and last.train_loss > loss_at(record, FAR)
    poor = last.train_loss > loss_at(record, POOR)
    if an_epoch > STEPS_AN_EPOCH or steps > STEPS or not (falling or poor):
        return None
    warm_up = record.recipe.schedule.warmup_epochs * an_epoch
    text = (
        f"A batch of {batch} images leaves {an_epoch:.0f} step{'s' * (an_epoch >= 1.5)} an epoch, {steps} in all, and "
        f"the training loss ends at {last.train_loss:.3f}: training stopped before it converged. Smaller "
        "batches take more steps for the same work."
    )
    if 0 < warm_up < WARM_UP_STEPS:
        text += f" The warm-up, too, ends after {warm_up:.1f} steps."
    return warning(
        "few-steps",
        "The batch is too large for so few epochs",
        text,
        f"--set training.batch_size={max(FEWEST_IMAGES, batch // SMALLER)}",
        f"there are at most {STEPS_AN_EPOCH} steps an epoch and {STEPS} in all, and the training loss ends above "
        f"{share_words(record, POOR)} or still falls by {100 * STILL_FALLING:.0f} %",
        "Shallue et al. 2019, jmlr.org/papers/v20/18-789: steps, not epochs, are what training needs; Goyal et al. "
        "2017, arXiv:1706.02677, for the warm-up of large batches; the numbers are " + OURS,
        evidence.curves(record, level=loss_at(record, POOR), level_name="half of guessing"),
    )


def slow(record: RunRecord) -> Finding | None:
    """A training loss that falls in a straight line and has hardly gone anywhere: the rate is too small."""
    rows, guess = record.history, guess_loss(record)
    if len(rows) < FEW_EPOCHS or record.status == "diverged":
        return None
    rates, losses = [row.learning_rate for row in rows], [row.train_loss for row in rows]
    first_fall, second_fall = _falls(losses)
    creeps = f"falls in every epoch, in one of the second half by at least {CREEP:g} of what it falls in one of the "
    creeps += "first, at the same rates; or ends no higher than it began, at rates of at most "
    creeps += f"{cures.usual_rate(record):g}"
    if _stuck(record):
        if not _creeps(record):
            return None
        when = f"the training loss stays above {share_words(record, STUCK)}, and {creeps}"
    else:
        straight = min(rates) > 0.5 * max(rates) and second_fall >= BEND * first_fall > 0
        hardly = losses[-1] > loss_at(record, HARDLY) and _creeps(record)
        tiny = max(rates) <= TINY * cures.usual_rate(record) and _creeps(record)
        if len(rows) < 4 or losses[-1] <= loss_at(record, SLOW) or not (straight or hardly or tiny):
            return None
        when = f"the training loss ends above {share_words(record, SLOW)}, at a steady rate, and fell in an epoch of "
        when += f"the second half by at least {BEND:g} of what it fell in one of the first; or it ends above "
        when += f"{share_words(record, HARDLY)} and {creeps}; or it ends above {share_words(record, SLOW)} at rates of "
        when += f"at most {TINY * cures.usual_rate(record):.2g}, lower than it began"
    text = (
        f"In {len(rows)} epochs the training loss went from {losses[0]:.3f} to {losses[-1]:.3f}; guessing among "
        f"{len(record.data.classes)} classes gives {guess:.3f}. It moves, if at all, in steps far smaller than "
        f"necessary: the learning rate, {record.recipe.optim.lr:g}, is too small."
    )
    picture = evidence.curves(record, level=guess, level_name="guessing")
    cure = cures.rate(record, 10)
    return warning(
        "rate-too-small",
        "The loss hardly moves: the learning rate is too small",
        text,
        cure,
        when,
        RATE_SOURCE,
        picture,
    )


def stuck(record: RunRecord) -> Finding | None:
    """A training loss that stays at that of guessing and does not keep falling: the steps are too large."""
    rows, guess = record.history, guess_loss(record)
    if not _stuck(record) or _creeps(record):
        return None
    best = min(row.train_loss for row in rows)
    text = (
        f"After {len(rows)} epoch{'s' * (len(rows) > 1)} the training loss is {rows[-1].train_loss:.3f}, at best "
        f"{best:.3f}; guessing among {len(record.data.classes)} classes gives {guess:.3f}. The net has learnt next to "
        f"nothing, and the loss does not keep falling: with a learning rate of {record.recipe.optim.lr:g} the steps "
        "are probably too large."
    )
    return warning(
        "stuck",
        "The loss does not move",
        text,
        cures.rate(record, 0.1),
        f"the training loss stays above {share_words(record, STUCK)} and does not keep falling, or stands "
        f"still at a rate above {cures.usual_rate(record):g}",
        RATE_SOURCE,
        evidence.curves(record, level=guess, level_name="guessing"),
    )


def too_fast(record: RunRecord) -> Finding | None:
    """A loss far above guessing in some epoch, or an absurd rate, in a training that has not made up for it."""
    rows, guess = record.history, guess_loss(record)
    if len(rows) < FEW_EPOCHS:
        return None
    worst, absurd = max(rows, key=lambda row: row.train_loss), record.recipe.optim.lr > cures.LARGEST_RATE
    exploded = worst.train_loss > EXPLODED * guess
    if not (exploded or absurd) or not rows[-1].train_loss > loss_at(record, POOR):
        return None
    if exploded:
        text = (
            f"In epoch {worst.epoch} the training loss was {worst.train_loss:.3g} on average, far above {guess:.3f}, "
            f"the loss of guessing, and it ends at {rows[-1].train_loss:.3f}: some steps threw the weights so far away "
            "that the rest of the training could not bring them back."
        )
        title = "The first steps were too large" if worst.epoch == 1 else "Some steps were too large"
    else:
        text, title = f"The training loss ends at {rows[-1].train_loss:.3f}.", "The learning rate is too large"
    text += (
        f" The learning rate is {record.recipe.optim.lr:g}; {cures.usual_rate(record):g} is seldom too large for this "
        "optimiser."
    )
    return warning(
        "rate-too-large",
        title,
        text,
        cures.rate(record, 0.1),
        f"the mean training loss of an epoch is above {EXPLODED:g} ln K, or the learning rate above "
        f"{cures.LARGEST_RATE:g}, and the last epoch's loss is above {share_words(record, POOR)}",
        "Goodfellow, Bengio, Courville 2016, Deep Learning, section 11.4.1: too large a rate increases the loss; the "
        f"numbers are {OURS}",
        evidence.curves(record, level=guess, level_name="guessing"),
    )


def _stuck(record: RunRecord) -> bool:
    """Return whether the training loss never left that of guessing."""
    if len(record.history) < FEW_EPOCHS or record.status == "diverged":
        return False
    return min(row.train_loss for row in record.history) >= loss_at(record, STUCK)


def _creeps(record: RunRecord) -> bool:
    """Return whether a loss hardly moves as at a rate that is too small: evenly, or at small rates without a rise."""
    losses, still = [row.train_loss for row in record.history], STILL * guess_loss(record)
    rates, half = [row.learning_rate for row in record.history], len(losses) // 2
    if max(rates) <= cures.usual_rate(record):
        return losses[-1] < losses[0] + still
    first, second = _falls(losses)
    even = second > 0 and second * mean(rates[1 : half + 1]) >= CREEP * first * mean(rates[half + 1 :])
    moves = max(losses) - min(losses) >= still  # weights that large steps broke stand still
    return moves and even and all(after < before + still for before, after in itertools.pairwise(losses))


def _falls(losses: list[float]) -> tuple[float, float]:
    """Return by how much a loss falls in an epoch of the first half, and in one of the second."""
    half = len(losses) // 2
    return (losses[0] - losses[half]) / half, (losses[half] - losses[-1]) / max(1, len(losses) - 1 - half)


def _of_layers(rows: list[ActivationRow], y_label: str, values: list[float], level: float) -> Evidence:
    names = [row.name.rpartition(".")[2] or row.name for row in rows]
    return evidence.bars(names, y_label, [("share", values)], x_label="layer", level=level, level_name="threshold")
