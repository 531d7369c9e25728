"""Rules that read a `RunRecord` and say what they see. Each returns a `Finding` or None."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from rungs.diagnose import cures
from rungs.diagnose.endings import FEW_EPOCHS, diverged, guessing, interrupted, note, stuck, warning
from rungs.records import EpochRow, Finding, RunRecord
from rungs.specs import ResNet18

OVERFIT_RISE = 0.05
"""Rise of the validation loss over its minimum: the GL_5 of Prechelt 1998, doi:10.1007/3-540-49430-8_3."""
OVERFIT_NATS = 0.05
"""... and by so much in all: near a loss of zero, 5 % are a few images."""
GAP = 0.10
"""Ten points between training and validation accuracy: more data or augmentation would pay more than a larger net."""
STILL_FALLING = 0.01
"""A mean validation loss of the last tenth of the epochs 1 % below that of the tenth before had not levelled out."""
ANNEALED = 0.1
"""Below this share of its highest value the learning rate makes a loss level out by itself."""
JUMP = 0.25
"""A validation loss that rises by a quarter in one epoch; two such epochs that recover are not chance."""
VALIDATION_HALF_WIDTH = 0.02
"""Half of the 95 % interval of the validation accuracy: two points hide most changes of a recipe."""
PAIR_SHARE = 3.0
"""A pair of classes that has three times its even share of all mistakes ..."""
PAIR_MISTAKES = 20
"""... and at least so many: fewer can be chance."""
CALIBRATION = 0.05
"""Expected calibration error from which a stated probability misleads; Guo et al. 2017 saw 4 to 10 % in such nets."""
CALIBRATION_IMAGES = 500
"""500 / 15 bins = 33 images each, whose accuracy is known to 1.96 sqrt(0.25 / 33) = 17 points: with fewer, noise."""
IMBALANCE = 3.0
"""Ratio of the largest to the smallest class from which accuracy no longer speaks for all classes."""
TTA_LOSS = 0.01
"""Accuracy that test-time augmentation may cost before it is a fault."""
SMALL_PIXELS = 64
"""Up to this size a stem that divides the map by four leaves too little of it (He et al. 2015, section 4.2)."""


def examine(record: RunRecord) -> tuple[Finding, ...]:
    """Return what all rules see: warnings first, then notes; before them a "good" one where all is well."""
    found = [finding for rule in RULES if (finding := rule(record)) is not None]
    doubts = any(finding.level == "warning" or finding.rule in ("no-validation", "unstable") for finding in found)
    if record.status == "finished" and not doubts:
        found.append(_sound(record))
    return tuple(sorted(found, key=lambda finding: ("good", "warning", "note").index(finding.level)))


def _sound(record: RunRecord) -> Finding:
    """What is said of a finished run without a warning."""
    done = len(record.history)
    if done < FEW_EPOCHS:
        text = (
            f"After {'1 epoch' if done == 1 else f'{done} epochs'} the curves cannot tell whether training goes well."
        )
        return note("few-epochs", "Too few epochs to judge", text, f"--set training.epochs={max(10, 2 * done)}")
    text = "Training went down smoothly, validation followed it, and no rule of this report found a fault."
    return Finding(rule="sound", level="good", title="Nothing looks wrong", text=text)


# --- what the curves show -----------------------------------------------------------------------------


def overfitting(record: RunRecord) -> Finding | None:
    """Validation loss rises while training loss falls (Prechelt 1998)."""
    rows = _validated(record)
    if len(rows) < 4:
        return None
    best = min(rows, key=_loss)
    after = [row for row in rows if row.epoch > best.epoch][-3:]
    if len(after) < 2 or after[-1].train_loss >= best.train_loss:
        return None
    rise = sum(map(_loss, after)) / len(after) / _loss(best) - 1
    if rise <= OVERFIT_RISE or rise * _loss(best) <= OVERFIT_NATS:
        return None
    text = (
        f"From epoch {best.epoch} on the validation loss rises, from {_loss(best):.3f} to {_loss(after[-1]):.3f} "
        f"({100 * rise:.0f} % above its minimum), while the training loss goes on falling, from {best.train_loss:.3f} "
        f"to {after[-1].train_loss:.3f}: the net learns its training images by heart. {_gap_sentence(record)}"
    )
    return warning("overfitting", "Overfitting", text, cures.regularise(record))


def gap(record: RunRecord) -> Finding | None:
    """Training accuracy far above validation accuracy."""
    held_out = record.validation or record.test
    if record.train is None or held_out is None or record.train.accuracy - held_out.accuracy <= GAP:
        return None
    if overfitting(record) is not None:
        return None
    text = f"{_gap_sentence(record)} More or more varied images would help more than a larger net."
    return note("gap", "Training is far ahead of validation", text, cures.regularise(record))


def unfinished(record: RunRecord) -> Finding | None:
    """The last epoch is the best, and validation was still improving."""
    rows = _validated(record)
    if record.status != "finished" or len(rows) < 3 or record.best_epoch != rows[-1].epoch:
        return None
    rates = [row.learning_rate for row in rows]
    many = max(1, round(len(rows) / 10))
    fall = 1 - sum(map(_loss, rows[-many:])) / sum(map(_loss, rows[-2 * many : -many]))
    if fall <= STILL_FALLING or rates[-1] < ANNEALED * max(rates):
        return None
    last, before = ("the last epoch", "the one") if many == 1 else (f"the last {many} epochs", f"the {many}")
    text = (
        f"The best epoch is the last one, {rows[-1].epoch}, and the validation loss of {last} is "
        f"{100 * fall:.1f} % below that of {before} before: the net was still learning."
    )
    return warning("unfinished", "Still improving at the end", text, f"--set training.epochs={2 * len(rows)}")


def unstable(record: RunRecord) -> Finding | None:
    """Validation loss that jumps up and comes back, again and again."""
    rows = _validated(record)
    jumps = [
        b.epoch
        for i, (a, b) in enumerate(itertools.pairwise(rows))
        if _loss(b) > (1 + JUMP) * _loss(a) and any(_loss(later) < _loss(a) for later in rows[i + 2 :])
    ]
    if len(jumps) < 2:
        return None
    epochs = ", ".join(map(str, jumps[:5])) + (", ..." if len(jumps) > 5 else "")
    text = (
        f"In {len(jumps)} epochs ({epochs}) the validation loss jumped up by more than {100 * JUMP:.0f} % and came "
        "back: the steps are large. It does no harm where the rate falls to the end; else lower it."
    )
    return note("unstable", "Restless epochs", text, cures.rate(record, 0.3))


# --- what the numbers can bear ------------------------------------------------------------------------


def no_validation(record: RunRecord) -> Finding | None:
    """No validation set, so nothing chose the epoch."""
    if not record.history or _validated(record):
        return None
    text = f"Nothing chose the epoch: the weights are those of the last one, {record.history[-1].epoch}, good or not."
    return note("no-validation", "No validation set", text, "--set data.validation=0.1")


def small_validation(record: RunRecord) -> Finding | None:
    """A validation set too small to tell recipes apart (Wilson's interval)."""
    result = record.validation
    if result is None:
        return None
    low, high = result.accuracy_interval
    if (high - low) / 2 <= VALIDATION_HALF_WIDTH:
        return None
    text = (
        f"{result.n} validation images show an accuracy of {100 * result.accuracy:.1f} %, but anything from "
        f"{100 * low:.1f} to {100 * high:.1f} % fits them: small differences between epochs or recipes may be chance."
    )
    return note(
        "small-validation", "A small validation set", text, cures.larger_validation(record, VALIDATION_HALF_WIDTH / 2)
    )


def imbalance(record: RunRecord) -> Finding | None:
    """Classes of very unequal size."""
    counts = record.data.counts.get("train", ())
    if not counts or max(counts) <= IMBALANCE * max(1, min(counts)):
        return None
    rare = counts.index(min(counts))
    result = record.test or record.validation
    judged = sum(result.confusion[rare]) if result else 0
    recall = f"; of {judged} held-out ones {100 * result.recall[rare]:.0f} % are found" if result and judged else ""
    text = (
        f"{record.data.classes[rare]!r} has {counts[rare]} training images{recall}; the largest class has "
        f"{max(counts)}. Read precision and recall per class: accuracy is mostly about the large ones."
    )
    make = warning if result and judged and result.recall[rare] == 0 else note
    return make("imbalance", "Unequal classes", text, None)


def confused_pair(record: RunRecord) -> Finding | None:
    """The two classes that are most often taken for each other."""
    result = record.test or record.validation
    k = len(record.data.classes)
    if result is None or k < 3 or guessing(record) is not None:
        return None
    table = result.confusion
    many, i, j = max((table[i][j] + table[j][i], i, j) for i in range(k) for j in range(i))
    wrong = sum(map(sum, table)) - sum(table[i][i] for i in range(k))
    if many < PAIR_MISTAKES or many / wrong <= PAIR_SHARE / (k * (k - 1) / 2):
        return None
    a, b = record.data.classes[j], record.data.classes[i]
    text = (
        f"{table[j][i]} times {a!r} was called {b!r}, and {table[i][j]} times the other way round: "
        f"{100 * many / wrong:.0f} % of all {wrong} mistakes. Look at these pictures first."
    )
    return note("confused-pair", f"{a} and {b} are mixed up", text, None)


def calibration(record: RunRecord) -> Finding | None:
    """Stated probabilities that are off (Guo et al. 2017, arXiv:1706.04599)."""
    result = record.test or record.validation
    if result is None or result.n < CALIBRATION_IMAGES or result.calibration_error <= CALIBRATION:
        return None
    error = result.calibration_error
    sure = sum(confidence * many for confidence, _, many in result.calibration) / max(1, result.n)
    text = f"On average the net says it is {100 * sure:.1f} % sure and is right in {100 * result.accuracy:.1f} %"
    text += f"; its probabilities are off by {100 * error:.1f} points (expected calibration error)."
    smoothed = record.recipe.training.label_smoothing > 0
    if sure - result.accuracy > error / 2:
        cure = None if smoothed else "--set training.label_smoothing=0.1"
        return note("calibration", "Too sure of itself", text, cure)
    if result.accuracy - sure > error / 2:
        return note("calibration", "Too modest", text, "--set training.label_smoothing=0" if smoothed else None)
    return note("calibration", "Its probabilities are uneven", text, None)


def augmented_test(record: RunRecord) -> Finding | None:
    """Test-time augmentation costs accuracy: the views are not of the same class any more."""
    plain, twice = record.test, record.test_tta
    if record.validation_tta is not None:
        plain, twice = record.validation, record.validation_tta
    if plain is None or twice is None or plain.accuracy - twice.accuracy <= TTA_LOSS:
        return None
    lost = 100 * (plain.accuracy - twice.accuracy)
    text = f"With test-time augmentation {100 * twice.accuracy:.1f} % of the held-out images are classified right, "
    text += f"{lost:.1f} points fewer than without: a mirrored or moved image is another thing here, as with digits."
    return warning("augmented-test", "Test-time augmentation does harm", text, "--set evaluation.tta=none")


# --- what the recipe asks for -------------------------------------------------------------------------


def large_stem(record: RunRecord) -> Finding | None:
    """ResNet-18's stem for 224 pixels on small images."""
    model, pixels = record.recipe.model, record.data.image_size
    if not isinstance(model, ResNet18) or model.stem != "imagenet" or pixels > SMALL_PIXELS:
        return None
    text = (
        f"The stem for 224 pixels divides the map by four before the first block: of {pixels} pixels "
        f"{pixels // 4} are left. On small images the other stem is usually many points better."
    )
    return warning("large-stem", "A stem for larger images", text, "--set model.stem=cifar")


def leak(record: RunRecord) -> Finding | None:
    """Images of the test or validation part that are in a part before it, too."""
    leaks = record.data.leaks
    if not leaks:
        return None
    many = [f"{n} of {sum(record.data.counts[part])} {part} images" for part, n in leaks.items()]
    text = (
        f"{' and '.join(many)} equal, pixel for pixel, images that the net was trained or chosen on: it may know "
        "them by heart, and the accuracy on them says nothing of new images."
    )
    return warning("leak", "A leak between the parts", text, f"rungs data {record.data.source}")


def mixed_code(record: RunRecord) -> Finding | None:
    """A run that was resumed under other code."""
    if len(record.code) < 2:
        return None
    text = f"It was begun with {record.code[0]} and ended with {record.code[-1]}: no single program repeats it."
    return note("mixed-code", "Resumed under other code", text, None)


def skipped(record: RunRecord) -> Finding | None:
    """Files that were left out at the user's word."""
    files = record.data.skipped
    if not files:
        return None
    many = "1 file was" if len(files) == 1 else f"{len(files)} files were"
    text = f"{many} left out as asked; the first: {files[0].path} ({files[0].reason})."
    return note("skipped", "Skipped files", text, None)


RULES: tuple[Callable[[RunRecord], Finding | None], ...] = (
    diverged, interrupted, leak, stuck, guessing, overfitting, unfinished, large_stem, imbalance,
    gap, unstable, no_validation, small_validation, confused_pair, calibration, augmented_test, skipped, mixed_code,
)  # fmt: skip


def _validated(record: RunRecord) -> list[EpochRow]:
    return [row for row in record.history if row.validation_loss is not None]


def _loss(row: EpochRow) -> float:
    return math.inf if row.validation_loss is None else max(row.validation_loss, 1e-12)


def _gap_sentence(record: RunRecord) -> str:
    held_out = record.validation or record.test
    if record.train is None or held_out is None:
        return ""
    part = "validation" if record.validation else "test"
    return (
        f"The kept weights are right on {100 * record.train.accuracy:.1f} % of the training images and on "
        f"{100 * held_out.accuracy:.1f} % of the {part} images."
    )
