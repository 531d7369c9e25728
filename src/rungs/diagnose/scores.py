"""Rules about the scores: how many images they rest on, calibration, classes that are confused."""

from __future__ import annotations

import math

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, note, validated, warning
from rungs.run.record import EvalResult, Evidence, Finding, RunRecord, Series
from rungs.run.reliability import bins

VALIDATION_HALF_WIDTH = 0.02
"""Half of the 95 % interval of the validation accuracy: two points hide most changes of a recipe."""
ONE_POINT = 0.01
"""What a change of a recipe often brings."""
CALIBRATION = 0.05
"""Expected calibration error from which a confidence misleads; Guo et al. 2017 saw 4 to 10 % in such nets."""
CALIBRATION_IMAGES = 500
"""500 / 15 bins = 33 images each, whose accuracy is known to 1.96 sqrt(0.25 / 33) = 17 points: with fewer, noise."""
TTA_LOSS = 0.01
"""Accuracy that test-time augmentation may cost before it is a fault."""
TTA_IMAGES = 5
"""Images that it has to cost: even if it changed no others, fewer are chance with 0.5^4 = 6 % (one-sided sign test)."""

WILSON = "Wilson 1927, doi:10.1080/01621459.1927.10502953"
GUO = "Guo et al. 2017, arXiv:1706.04599: modern nets err by 4 to 10 points"


def no_validation(record: RunRecord) -> Finding | None:
    """No validation set, so nothing chose the epoch."""
    if not record.history or validated(record) or record.folds is not None:  # the folds chose its epochs
        return None
    last = record.history[-1].epoch
    text = f"Without a validation set no epoch can be chosen: the weights are those of the last one, {last}."
    if record.test is not None:
        text += " Changing the recipe by its score means choosing on the test set, and then that score is optimistic."
    return note(
        "no-validation",
        "No validation set",
        text,
        "--set data.validation=0.1",
        "no image is kept apart to choose by",
        "Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.2",
        evidence.curves(record, ("train_loss", "test_loss")),
    )


def small_validation(record: RunRecord) -> Finding | None:
    """A validation set too small to tell recipes apart (Wilson's interval)."""
    result = record.validation
    if result is None:
        return None
    low, high = result.accuracy_interval
    if (high - low) / 2 <= VALIDATION_HALF_WIDTH:
        return None
    enough = cures.images_for(result.accuracy, ONE_POINT)
    text = (
        f"{result.n} validation images show an accuracy of {100 * result.accuracy:.1f} %, but anything from "
        f"{100 * low:.1f} to {100 * high:.1f} % is compatible with that: small differences between epochs or recipes "
        f"may be chance. About {enough:,} images would measure it to within a point.{_claimed(record, result)}"
    )
    sizes = sorted({result.n, *(max(1, round(result.n * 2**k)) for k in range(-1, 6))})
    widths = tuple(100 * cures.Z95 * math.sqrt(max(1e-9, result.accuracy * (1 - result.accuracy)) / n) for n in sizes)
    picture = Evidence(
        x_label="validation images",
        y_label="± points",
        x=tuple(float(n) for n in sizes),
        series=(Series(name="half of the interval", y=widths),),
        level=100 * VALIDATION_HALF_WIDTH,
        level_name="threshold",
        at=float(result.n),
        at_name="here",
    )
    return note(
        "small-validation",
        "A small validation set",
        text,
        cures.larger_validation(record, ONE_POINT),
        f"the 95 % interval of the validation accuracy reaches more than {100 * VALIDATION_HALF_WIDTH:.0f} points to "
        "either side",
        f"{WILSON}; the two points are {OURS}",
        picture,
    )


def _claimed(record: RunRecord, result: EvalResult) -> str:
    """Say how many images it takes to tell what was measured from what the recipe claims; "" without such a claim."""
    claims = [one for one in record.recipe.claims if one.metric == "validation_accuracy" and not one.change]
    if not claims or record.changed:
        return ""
    apart = abs(result.accuracy - claims[0].value)
    inside = f" The recipe claims {100 * claims[0].value:.1f} %"
    if apart < ONE_POINT / 10:
        return f"{inside}, which no number of images could distinguish from this."
    return (
        f"{inside}, {100 * apart:.1f} points away: it would take about "
        f"{cures.images_for(result.accuracy, apart):,} images to distinguish the two."
    )


def calibration(record: RunRecord) -> Finding | None:
    """Stated probabilities that are off (Guo et al. 2017)."""
    result = record.test or record.validation
    if result is None or result.n < CALIBRATION_IMAGES:
        return None
    error, chance = result.calibration_error, _by_chance(result)
    if error <= CALIBRATION + chance:
        return None
    confidence = sum(mean * n for mean, _, n in result.calibration) / max(1, result.n)
    text = f"Mean confidence is {100 * confidence:.1f} %, accuracy {100 * result.accuracy:.1f} %"
    text += f"; the expected calibration error is {100 * error:.1f} points."
    smoothed = record.recipe.training.label_smoothing > 0
    repaired = result.scaled is not None and result.scaled.calibration_error <= CALIBRATION + chance
    if result.scaled is not None:
        text += (
            f" The temperature {result.scaled.temperature:.2f}, by which rungs predict divides the logits, leaves "
            f"{100 * result.scaled.calibration_error:.1f} points{': nothing is left to do' if repaired else ''}."
        )
    title, cure = "Miscalibrated", None
    if confidence - result.accuracy > error / 2:
        title, cure = "Overconfident", None if smoothed else "--set training.label_smoothing=0.1"
    elif result.accuracy - confidence > error / 2:
        title, cure = "Underconfident", "--set training.label_smoothing=0" if smoothed else None
    cure = None if repaired else cure
    confidences, *measured = zip(*bins(result.calibration), strict=True)  # as many as 500 images fill at least one
    accuracies, low, high, images = measured
    picture = Evidence(
        x_label="confidence, %",
        y_label="accuracy, %",
        x=confidences,
        series=(
            Series(name="perfectly calibrated", y=confidences),
            Series(name="measured, 95 % interval", y=accuracies, low=low, high=high, images=images),
        ),
    )
    return note(
        "calibration",
        title,
        text,
        cure,
        f"the expected calibration error is above {100 * CALIBRATION:.0f} points and what {result.n:,} images give by "
        f"chance, {100 * chance:.1f}",
        GUO,
        picture,
    )


def _by_chance(result: EvalResult) -> float:
    """Return the calibration error that a perfectly calibrated net would show on so many images.

    In a bin of n images the share of correct predictions differs from p by sqrt(2 p (1 - p) / (pi n)) on average,
    the mean of a half-normal distribution.
    """
    shares = ((n, min(max(mean, 0.0), 1.0)) for mean, _, n in result.calibration if n)
    return sum(n / result.n * math.sqrt(2 * p * (1 - p) / (math.pi * n)) for n, p in shares)


def augmented_test(record: RunRecord) -> Finding | None:
    """Test-time augmentation costs accuracy: the views are not of the same class any more."""
    plain, twice = record.test, record.test_tta
    if record.validation_tta is not None:
        plain, twice = record.validation, record.validation_tta
    if plain is None or twice is None or plain.accuracy - twice.accuracy <= TTA_LOSS:
        return None
    if round((plain.accuracy - twice.accuracy) * plain.n) < TTA_IMAGES:
        return None
    lost = 100 * (plain.accuracy - twice.accuracy)
    text = f"With test-time augmentation {100 * twice.accuracy:.1f} % of the held-out images are classified correctly, "
    text += f"{lost:.1f} points fewer than without: a mirrored or shifted digit, for one, may belong to another class."
    return warning(
        "augmented-test",
        "Test-time augmentation hurts",
        text,
        "--set evaluation.tta=none",
        f"test-time augmentation costs over {100 * TTA_LOSS:.0f} point of accuracy, and at least {TTA_IMAGES} images",
        "Shanmugam et al. 2021, arXiv:2011.11156: it also turns correct predictions into wrong ones; the point is "
        + OURS,
        evidence.bars(
            ("plain", "augmented"),
            "accuracy",
            [("held-out images", (plain.accuracy, twice.accuracy))],
            level=plain.accuracy - TTA_LOSS,
            level_name="a point below",
        ),
    )


IMBALANCE = 3.0
"""Ratio of the largest to the smallest class from which accuracy no longer speaks for all classes."""
PAIR_SHARE = 3.0
"""A pair of classes that has three times its even share of all mistakes ..."""
PAIR_MISTAKES = 20
"""... and at least so many: fewer can be chance."""
PAIRS_TOLD = 3
"""Pairs that are named."""


def imbalance(record: RunRecord) -> Finding | None:
    """Classes of very unequal size."""
    counts, recipe = record.data.counts.get("train", ()), record.recipe
    if not counts or max(counts) <= IMBALANCE * max(1, min(counts)):
        return None
    rare = counts.index(min(counts))
    result = record.test or record.validation
    recall = result.recall[rare] if result else None
    held_out = sum(result.confusion[rare]) if result else 0
    recognised = "" if recall is None else f"; of its {held_out} held-out images {100 * recall:.0f} % are recognised"
    text = (
        f"{record.data.classes[rare]!r} has {counts[rare]} training images{recognised}; the largest class has "
        f"{max(counts)}. Read precision and recall per class: accuracy mostly reflects the large ones."
    )
    balanced = recipe.data.balance != "none" or recipe.training.class_weights != "none"
    if balanced:
        text += " This run already balances them: what helps now is more images of the rare classes."
    else:
        text += (
            " Balanced sampling shows the net all classes equally often. Judge it by the mean recall of the classes, "
            "which counts them alike."
        )
    make = warning if recall == 0 else note
    order = sorted(range(len(counts)), key=lambda k: counts[k])
    shown = [*order[:4], *order[-4:]] if len(order) > 8 else order
    picture = evidence.bars(
        [record.data.classes[k] for k in shown],
        "training images",
        [("images", [counts[k] for k in shown])],
        level=max(counts) / IMBALANCE,
        level_name="a third of the largest",
    )
    return make(
        "imbalance",
        "Imbalanced classes",
        text,
        None if balanced else "--set data.balance=sampling",
        f"the largest class has more than {IMBALANCE:g} times as many training images as the smallest",
        "Buda et al. 2018, arXiv:1710.05381: imbalance hurts, and oversampling helped most; the ratio is " + OURS,
        picture,
    )


def confused_pair(record: RunRecord) -> Finding | None:
    """The pairs of classes that are most often taken for each other."""
    result = record.test or record.validation
    k = len(record.data.classes)
    if result is None or k < 3:
        return None
    table, names = result.confusion, record.data.classes
    pairs = sorted(((table[i][j] + table[j][i], i, j) for i in range(k) for j in range(i)), reverse=True)
    wrong = sum(map(sum, table)) - sum(table[i][i] for i in range(k))
    even = PAIR_SHARE / (k * (k - 1) / 2)
    found = [pair for pair in pairs if pair[0] >= PAIR_MISTAKES and pair[0] / max(1, wrong) > even]
    if not found:
        return None
    many, i, j = found[0]
    text = (
        f"{names[j]!r} was predicted as {names[i]!r} {table[j][i]} times, and the reverse {table[i][j]} times: "
        f"{100 * many / wrong:.0f} % of all {wrong} mistakes. Look at these images first."
    )
    if others := [f"{names[b]} and {names[a]} ({n})" for n, a, b in found[1:PAIRS_TOLD]]:
        text += f" Next: {', '.join(others)}."
    picture = evidence.bars(
        [f"{names[b]}, {names[a]}" for _, a, b in pairs[:5]],
        "mistakes",
        [("mistakes", [n for n, _, _ in pairs[:5]])],
        level=max(PAIR_MISTAKES, even * wrong),
        level_name="threshold",
    )
    return note(
        "confused-pair",
        f"{names[j]} and {names[i]} are confused",
        text,
        None,
        f"a pair of classes has {PAIR_SHARE:g} times its even share of all mistakes, and at least {PAIR_MISTAKES}",
        "Stehman 1997, doi:10.1016/S0034-4257(97)00083-7, for reading confusion matrices; the numbers are " + OURS,
        picture,
    )
