"""A rule about wrong labels, told from a net that is too small by what the net's confidence knows of its mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rungs.diagnose import evidence
from rungs.diagnose.accuracy import largest_class
from rungs.diagnose.findings import OURS, note, warning
from rungs.run.record import EvalResult, Evidence, Finding, RunRecord, Series

EPOCHS = 4
"""Fewer epochs: the net may be anywhere."""
MOST = 0.92
"""A more accurate net has few mistakes to judge by."""
LEARNT = 3.0
"""A net that is right so many times as often as guessing knows something of its classes ..."""
LEAST = 0.35
"""... at least so often ..."""
ENOUGH = 0.6
"""... and, of few classes, so often."""
EVEN = 0.4
"""Labels that are wrong at random cost all classes alike; a net that is too small gives some of them up: the recall of
its worst class is less than this share of its accuracy."""
FEW_CLASSES = 0.05
"""Of two or three classes a hard image is nearly a coin toss: there the mistakes have to be nearer to chance."""
MISTAKES = 50
"""So many mistakes, and as many correct predictions, place a rank probability to within about 4 points."""
BLIND = 0.62
"""A correct prediction is more confident than a wrong one in so few pairs, where 0.5 is chance: the mistakes are at
random. Nets that are too small reach 0.65 to 0.85 (measured on digits and CIFAR-10): hard images look hard ..."""
PERHAPS = 0.65
"""Up to here, and of a net that has learnt little, it could be either."""
SURELY = 0.67
"""... and the upper end of its interval (one-sided 95 %, Hanley & McNeil 1982) lies below this."""
TIMID = 0.2
"""A confidence so far below the accuracy is that of a net that has only begun to learn, or of smoothed labels."""
EASIER = 0.05
"""Validation images that are classified better than training images by more than this are labelled better."""


def label_noise(record: RunRecord) -> Finding | None:
    """Training that stalls because labels are wrong: mistakes at random, or validation better than training."""
    if record.status != "finished" or len(record.history) < EPOCHS:
        return None
    if _cleaner_validation(record):
        return _finding(record, _train_only(record))
    results = [one for one in (record.validation, record.test) if one is not None]
    if not results:
        return None
    n = sum(one.n for one in results)
    accuracy = sum(one.n * one.accuracy for one in results) / n
    largest = sum(one.n * largest_class(one) for one in results) / n
    bins = [one for result in results for one in result.calibration if one[2]]
    ranked = rank_probability(bins)
    confidence = sum(mean * many for mean, _, many in bins) / n
    if ranked is None or accuracy > MOST or confidence < accuracy - TIMID:
        return None
    value, error = ranked
    stricter = FEW_CLASSES if len(record.data.classes) < 4 else 0.0
    recalls = [sum(one.confusion[k][k] for one in results) / n_k for k, n_k in _images(results)]
    learnt = accuracy >= max(LEAST, min(LEARNT * largest, ENOUGH)) and min(recalls) >= EVEN * accuracy
    if not learnt or value > BLIND - stricter or value + 1.64 * error > SURELY - stricter:
        return _perhaps(record, accuracy, value) if accuracy > 2 * largest and value <= PERHAPS - stricter else None
    text = (
        f"{100 * accuracy:.0f} % of the held-out images are classified correctly, and where the net is wrong it is as "
        f"confident as where it is right: a correct prediction has the higher confidence in {100 * value:.0f} % of "
        "pairs, where chance gives 50. A net that is too small or not finished is unsure of hard images; mistakes "
        f"spread at random are those of wrong labels, here perhaps {100 * (1 - accuracy):.0f} % of them. Look at the "
        "most confident mistakes in this report, and correct the labels, before trying a larger net or more epochs, "
        "which would learn the wrong labels by heart."
    )
    return _finding(record, text)


def _perhaps(record: RunRecord, accuracy: float, value: float) -> Finding:
    """Return the note of a record that cannot tell wrong labels from a net that is too small."""
    text = (
        f"{100 * accuracy:.0f} % of the held-out images are classified correctly, and confidence hardly tells which: a "
        f"correct prediction has the higher one in {100 * value:.0f} % of pairs, where chance gives 50. Wrong "
        "labels look like that, and so does a net that is too small or trained too briefly. Look at the most confident "
        "mistakes in this report first: if their labels are right, try a larger net or more epochs."
    )
    return _finding(record, text, sure=False)


def _images(results: Sequence[EvalResult]) -> list[tuple[int, int]]:
    """Return the classes of which there are images, each with their number."""
    counts = [sum(sum(one.confusion[k]) for one in results) for k in range(len(results[0].confusion))]
    return [(k, n) for k, n in enumerate(counts) if n]


def _finding(record: RunRecord, text: str, *, sure: bool = True) -> Finding:
    return (warning if sure else note)(
        "label-noise",
        "Many labels seem to be wrong" if sure else "Wrong labels, or too small a net?",
        text,
        None,
        f"held-out accuracy is at least {LEARNT:g} times that of guessing, and confidence tells correct from wrong "
        f"predictions in less than {100 * BLIND:.0f} % of pairs; or the kept weights do better on validation than on "
        f"training images by more than {100 * EASIER:.0f} points",
        "Northcutt et al. 2021, arXiv:1911.00068 (confident learning); Hanley & McNeil 1982, "
        f"doi:10.1148/radiology.143.1.7063747, for the interval; the numbers are {OURS}",
        _picture(record),
    )


def _cleaner_validation(record: RunRecord) -> bool:
    """Return whether the kept weights score clearly better on validation than on the training images themselves."""
    train, validation = record.train, record.validation
    if train is None or validation is None or train.accuracy > MOST:
        return False
    return validation.accuracy_interval[0] > train.accuracy_interval[1] + EASIER


def _train_only(record: RunRecord) -> str:
    train, validation = record.train, record.validation
    assert train is not None and validation is not None
    return (
        f"The kept weights classify {100 * validation.accuracy:.1f} % of the validation images correctly, but only "
        f"{100 * train.accuracy:.1f} % of the training images that they learnt from, scored in the same way: about "
        f"{100 * (1 - train.accuracy / max(validation.accuracy, 1e-9)):.0f} % of the training labels seem to be wrong "
        "(or the validation images are far easier). Look at the training images; a larger net would learn the wrong "
        "labels by heart."
    )


def rank_probability(bins: Sequence[tuple[float, float, int]]) -> tuple[float, float] | None:
    """Return how often a correct prediction is more confident than a wrong one, and the standard error of that.

    Args:
        bins: Mean confidence, accuracy and count of each bin of a reliability diagram; within a bin all count as ties.
    """
    table = sorted((mean, round(share * many), many - round(share * many)) for mean, share, many in bins)
    right, wrong = sum(r for _, r, _ in table), sum(w for _, _, w in table)
    if min(right, wrong) < MISTAKES:
        return None
    above, below = 0.0, 0
    for _, r, w in table:
        above += r * (below + w / 2)
        below += w
    a = above / (right * wrong)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (right - 1) * (q1 - a * a) + (wrong - 1) * (q2 - a * a)) / (right * wrong)
    return a, math.sqrt(max(0.0, variance))


def _picture(record: RunRecord) -> Evidence | None:
    """Return the accuracy of predictions by their confidence: flat where mistakes are spread at random."""
    result: EvalResult | None = record.validation or record.test
    rows = [] if result is None else [(100 * m, 100 * a) for m, a, n in result.calibration if n >= 10]
    if len(rows) < 2:
        return evidence.curves(record, ("train_accuracy", "validation_accuracy"), y_label="accuracy")
    return Evidence(
        x_label="confidence, %",
        y_label="accuracy, %",
        x=tuple(m for m, _ in rows),
        series=(Series(name="held-out images", y=tuple(a for _, a in rows)),),
    )
