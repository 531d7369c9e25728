"""The finding of a run that no rule warns of: good, or what is missing for calling it so."""

from __future__ import annotations

from rungs.diagnose import cures, evidence
from rungs.diagnose.accuracy import kept_accuracy, largest_class
from rungs.diagnose.curves import UNDERFIT
from rungs.diagnose.findings import FEW_EPOCHS, OURS, loss_of, note, validated
from rungs.diagnose.label_floor import label_floor
from rungs.diagnose.overfitting import OVERFIT_NATS, OVERFIT_RISE, rise_to_see
from rungs.run.record import EvalResult, Evidence, Finding, RunRecord

HALF_WIDTH = 0.05
"""A score known to no better than 5 points either way calls nothing good ..."""
FEW_IMAGES = 50
"""... nor does one of fewer images, of which a class has hardly any."""
HALF = 0.5
"""Nor is a net good that misclassifies half of the images it learnt from, augmented and while it trained."""
FALLING = 0.02
"""A training loss that fell by 2 % in the last epoch would have gone on falling in a longer training."""
WILSON = "Wilson 1927, doi:10.1080/01621459.1927.10502953, for the interval"
THRESHOLD = (
    f"a run is finished, no rule warns of it, its validation accuracy is known to within {100 * HALF_WIDTH:.0f} points "
    f"and lies above that of guessing, and the kept weights classify at least {100 * UNDERFIT:.0f} % of the training "
    f"images correctly; where they were not scored on these, {100 * HALF:.0f} % while training are enough"
)


def sound(record: RunRecord) -> Finding:
    """Return the finding of a finished run without a warning."""
    few = _too_few(record)
    hardly = few if few is not None and _hardly_known(record) else None
    found = _too_early(record) or hardly or _modest(record) or few or _no_better(record)
    return found or Finding(
        rule="sound",
        level="good",
        title="No problem found",
        text="The training loss fell smoothly, validation followed, and no rule of this report found a problem.",
        threshold=THRESHOLD,
        citation="the rules of this page",
        evidence=evidence.curves(record),
    )


def _modest(record: RunRecord) -> Finding | None:
    """Return the finding of a run that went smoothly and has learnt little."""
    learnt = kept_accuracy(record)
    if learnt >= (HALF if record.train is None else UNDERFIT):
        return None
    rows = record.history
    falling = len(rows) > 1 and rows[-1].train_loss < (1 - FALLING) * rows[-2].train_loss
    text = (
        "The training loss fell smoothly, validation followed, and no rule of this report found a problem. Yet only "
        f"{100 * learnt:.1f} % of the training images are classified correctly: longer training, another learning "
        "rate (rungs lr-find) or a larger net may do much better."
    )
    return note(
        "sound",
        "No problem found, but room to learn",
        text,
        f"--set training.epochs={2 * len(rows)}" if falling else None,
        THRESHOLD,
        "the rules of this page",
        evidence.curves(record),
    )


def _too_early(record: RunRecord) -> Finding | None:
    """Return the finding of curves that are too short, or end on a rise."""
    done, losses = len(record.history), [loss_of(row) for row in validated(record)]
    above = bool(losses) and losses[-1] > min(losses) + rise_to_see(record, min(losses))
    above &= label_floor(record) == 0  # such labels make a net less confident, and so raise the loss
    if done >= FEW_EPOCHS and not above:
        return None
    text = f"After {'1 epoch' if done == 1 else f'{done} epochs'} the curves cannot show whether training goes well"
    text += ": the validation loss ended above its minimum, but too soon after it to say why." if above else "."
    return note(
        "few-epochs",
        "Too few epochs to judge",
        text,
        f"--set training.epochs={max(10, 2 * done)}",
        f"a run that no other rule warns of has fewer than {FEW_EPOCHS} epochs, or ends with a validation loss "
        f"{100 * OVERFIT_RISE:.0f} % and {OVERFIT_NATS:g} above its minimum",
        OURS,
        evidence.curves(record),
    )


def _too_few(record: RunRecord) -> Finding | None:
    """Return the finding of a run whose validation score could be almost anything."""
    result = record.validation
    if result is None:
        return None
    low, high = result.accuracy_interval
    if result.n >= FEW_IMAGES and (high - low) / 2 <= HALF_WIDTH:
        return None
    guessed = largest_class(result)
    text = (
        f"No rule found a problem, but {result.n} validation image{'s' * (result.n > 1)} cannot show that there is "
        f"none: an accuracy of {100 * result.accuracy:.1f} % on so few is compatible with anything from "
        f"{100 * low:.1f} to {100 * high:.1f} %."
    )
    if low <= guessed:
        text += f" Always predicting the most frequent class would give {100 * guessed:.1f} %."
    return note(
        "too-few-to-tell",
        "Too few validation images to call it good",
        text,
        cures.any_larger_validation(record),
        f"there are fewer than {FEW_IMAGES} validation images, or the 95 % interval of their accuracy reaches more "
        f"than {100 * HALF_WIDTH:.0f} points to either side",
        f"{WILSON}; the numbers are {OURS}",
        _interval(result, guessed),
    )


def _no_better(record: RunRecord) -> Finding | None:
    """Return the finding of a run whose validation score is well known, and no better than guessing."""
    result = record.validation
    if result is None or result.accuracy_interval[0] > largest_class(result):
        return None
    (low, high), guessed = result.accuracy_interval, largest_class(result)
    text = (
        f"{100 * result.accuracy:.1f} % of {result.n:,} validation images are classified correctly (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f} %), but always predicting the most frequent class would give "
        f"{100 * guessed:.1f} %: accuracy does not show that the net tells the classes apart. Judge it by the mean "
        f"recall of the classes, here {100 * result.balanced_accuracy:.1f} %."
    )
    recipe = record.recipe
    balanced = recipe.data.balance != "none" or recipe.training.class_weights != "none"
    if not balanced:
        text += " Balanced sampling shows the net all classes equally often."
    return note(
        "no-better",
        "No better than the most frequent class",
        text,
        None if balanced else "--set data.balance=sampling",
        "a run that no other rule warns of has a validation accuracy whose 95 % interval does not lie above the share "
        "of the largest class",
        f"{WILSON}; Buda et al. 2018, arXiv:1710.05381, for the sampling; the comparison is {OURS}",
        _interval(result, guessed),
    )


def _interval(result: EvalResult, guessed: float) -> Evidence:
    low, high = result.accuracy_interval
    return evidence.bars(
        ("low end", "accuracy", "high end"),
        "share correct",
        [("validation", (low, result.accuracy, high))],
        level=guessed,
        level_name="largest class",
    )


def _hardly_known(record: RunRecord) -> bool:
    """Return whether validation says so little that it comes before what training shows."""
    result = record.validation
    return result is not None and (result.n < FEW_IMAGES or result.accuracy_interval[0] <= largest_class(result))
