"""Rules about how training ended: whether it finished, and whether the net learnt anything."""

from __future__ import annotations

import math

from rungs.diagnose import cures, evidence
from rungs.diagnose.accuracy import largest_class
from rungs.diagnose.findings import FEW_EPOCHS, OURS, guess_loss, sentence, warning
from rungs.diagnose.label_floor import loss_at, share_words
from rungs.diagnose.learning import dead_relus, saturated_sigmoids
from rungs.run.record import EvalResult, Finding, RunRecord

LEARNT = 0.9
"""A training loss that once was below this share of ln K, the loss of guessing, had learnt something ..."""
LOST = 1.0
"""... and one that ends above this share of it has lost that again."""
FEW_IMAGES = 50
"""Of fewer images even a net that has learnt much is not told from guessing."""
WORSE = 1.1
"""One that ends a tenth above it is worse than guessing: small steps do not lead there."""


def diverged(record: RunRecord) -> Finding | None:
    """A training loss that is not finite, or that ends above guessing after it had learnt."""
    losses = [loss for row in record.history for loss in (row.train_loss, row.validation_loss) if loss is not None]
    broken = record.status == "diverged" or not all(map(math.isfinite, losses))
    low, guess = min((row.train_loss for row in record.history), default=math.inf), guess_loss(record)
    last = record.history[-1].train_loss if len(record.history) >= FEW_EPOCHS else 0.0
    lost = low < loss_at(record, LEARNT) and last > loss_at(record, LOST)
    causes = [finding for rule in (dead_relus, saturated_sigmoids) if (finding := rule(record)) is not None]
    worse = last > loss_at(record, WORSE) and all(finding.level == "note" for finding in causes)
    if not broken and not lost and not worse:
        return None
    text = sentence(record.ending)
    if not broken and not lost:
        text = f"The training loss ends at {last:.3f}, far above {guess:.3f}, the loss of guessing."
    elif not broken:
        text = (
            f"The training loss had come down to {low:.3f} and ended at {last:.3f}, above "
            f"{guess:.3f}, the loss of guessing: what was learnt is lost."
        )
    text += (
        f" The learning rate was {record.recipe.optim.lr:g}; a training loss that explodes nearly always means that "
        "the steps are too large for this net."
    )
    return warning(
        "diverged",
        "Training diverged",
        text,
        cures.rate(record, 0.1),
        f"a loss is not finite; or the training loss ends above {share_words(record, WORSE)}, or above ln K = "
        f"{guess:.3f} though it was below {share_words(record, LEARNT)}",
        "Goodfellow, Bengio, Courville 2016, Deep Learning, section 11.4.1: too large a rate increases the loss",
        evidence.curves(record, level=guess, level_name="guessing"),
    )


def interrupted(record: RunRecord) -> Finding | None:
    """A run that was stopped from outside."""
    if record.status != "interrupted":
        return None
    done, asked = len(record.history), record.recipe.training.epochs
    are = "is" if 1 in (done, asked) else "are"
    text = (
        f"{sentence(record.ending)} {done} of {asked} epoch{'s' * (asked != 1)} {are} done; "
        "what was reached is kept, and the run resumes bit for bit from its last checkpoint."
    )
    bars = evidence.bars(("done", "asked for"), "epochs", [("epochs", (done, asked))])
    return warning(
        "interrupted",
        "Not finished",
        text,
        "--resume",
        "training was stopped before its end",
        "none: the record shows it",
        bars,
    )


def guessing(record: RunRecord) -> Finding | None:
    """An accuracy indistinguishable from that of always predicting the largest class."""
    part, result = ("test", record.test) if record.test else ("validation", record.validation)
    if result is None:
        return None
    largest = largest_class(result)
    low, high = result.accuracy_interval
    if low > largest or _too_few(record, result):
        return None
    asked = record.recipe.training.epochs
    text = (
        f"{100 * result.accuracy:.2f} % of {result.n} {part} images are classified correctly (95 % interval "
        f"{100 * low:.2f} to {100 * high:.2f} %); always predicting the most frequent class would "
        f"give {100 * largest:.2f} %. "
        f"Done: {len(record.history)} of {asked} epoch{'s' * (asked != 1)}."
    )
    absurd = record.recipe.optim.lr > cures.LARGEST_RATE
    longer = f"--set training.epochs={max(10, 2 * asked)}"
    cure = cures.rate(record, 0.1) if absurd else longer
    return warning(
        "guessing",
        "No better than guessing",
        text,
        cure,
        "the lower end of the accuracy's 95 % interval does not lie above the share of the largest class, unless there "
        f"are fewer than {FEW_IMAGES} images, and these may be classified as well as the training images",
        "Wilson 1927, doi:10.1080/01621459.1927.10502953, for the interval; the comparison is " + OURS,
        evidence.bars(
            ("low end", "accuracy", "high end"),
            "share correct",
            [(part, (low, result.accuracy, high))],
            level=largest,
            level_name="largest class",
        ),
    )


def _too_few(record: RunRecord, result: EvalResult) -> bool:
    """Return whether training images are recognised, and other ones may be as well but are too few to tell."""
    largest = max(map(sum, result.confusion)) / result.n
    if record.train is None or result.n >= FEW_IMAGES or result.accuracy <= largest:
        return False
    low, _ = record.train.accuracy_interval
    return low > largest and result.accuracy_interval[1] > low
