"""Rules that compare the parts of a data set: do training, validation and test images show the same things?"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from rungs.diagnose import evidence
from rungs.diagnose.accuracy import largest_class
from rungs.diagnose.cures import Z95
from rungs.diagnose.findings import OURS, warning
from rungs.run.record import EvalResult, Finding, RunRecord

Part: TypeAlias = Literal["validation", "test"]

MOST = 0.6
"""A class of whose images three in five are taken for the same other class is another class by name ..."""
KNOWN = 0.6
"""... where three in five of its training images are recognised ..."""
ENOUGH = 10
"""... and so many images of it are judged: fewer can be chance."""
ONE_IN = 1000
"""Of so many sound nets one may show a pair of classes the wrong way round by chance ..."""
TOLD_APART = 3.0
"""... that it tells apart in training by three standard errors."""
LEARNT = 0.3
"""A net that classifies three in ten of its training images correctly, where guessing gives fewer, knows something."""
APART = 0.10
"""Ten points between the intervals of validation and test: images cut from one set by chance are never so different."""
COHEN = "Cohen 1960, doi:10.1177/001316446002000104, for the agreement expected by chance"


def chance(result: EvalResult) -> float:
    """Return the accuracy of predictions that have nothing to do with the truth, but are as often of each class."""
    truth, predicted = map(sum, result.confusion), map(sum, zip(*result.confusion, strict=True))
    return sum(a * b for a, b in zip(truth, predicted, strict=True)) / max(1, result.n) ** 2


def parts_mismatch(record: RunRecord) -> Finding | None:
    """A net that has learnt its training images and is wrong about a part's, more often than guessing, or in order."""
    parts: tuple[tuple[Part, EvalResult | None], ...] = (("test", record.test), ("validation", record.validation))
    for part, result in parts:
        if result is None:
            continue
        text = (
            _swapped(record, part, result)
            or _below(record, part, result)
            or _nothing_carries_over(record, part, result)
        )
        if text is not None:
            return _mismatch(record, part, result, text)
    return None


def _mismatch(record: RunRecord, part: Part, result: EvalResult, text: str) -> Finding:
    learnt = _learnt(record)
    return warning(
        "parts-mismatch",
        f"Labels or images of the {part} part do not match",
        text,
        None,
        "the upper end of the accuracy's 95 % interval lies below chance; or it is no better than chance, though the "
        "net has learnt its training images; or classes that are recognised in training are taken for one another",
        f"{COHEN}; Wilson 1927, doi:10.1080/01621459.1927.10502953, for the interval; the limits are {OURS}",
        evidence.bars(
            ("training", part),
            "accuracy",
            [("share correct", (learnt, _latest(record, part, result)[0]))],
            level=chance(result),
            level_name="chance",
        ),
    )


def _swapped(record: RunRecord, part: Part, result: EvalResult) -> str | None:
    """Classes that a net recognises in training and takes for one another here: names or folders in another order."""
    known = record.train or (record.validation if part == "test" else None)
    if known is None:
        return None
    taken: dict[int, int] = {}
    for truth, row in enumerate(result.confusion):
        guess = max(range(len(row)), key=row.__getitem__)
        if (
            guess != truth
            and sum(row) >= ENOUGH
            and row[guess] >= MOST * sum(row)
            and (known.recall[truth] or 0.0) >= KNOWN
        ):
            taken[truth] = guess
    if len(taken) < 2 or len(set(taken.values())) < len(taken):
        taken = _exchanged(known, result)
    if not taken:
        return None
    names = record.data.classes
    said = [
        f"{names[truth]!r} is taken for {names[guess]!r} in {row[guess]} of {sum(row)} images"
        for truth, guess in list(taken.items())[:3]
        for row in (result.confusion[truth],)
    ]
    more = f" (and {len(taken) - 3} more classes likewise)" if len(taken) > 3 else ""
    return (
        f"In the {part} part {', '.join(said)}{more}, while the net recognises these classes among its training "
        f"images. That is not a mistake of the net: the classes of the {part} part are in another order, or their "
        "labels were exchanged. Compare the folders' or files' class names."
    )


def _exchanged(known: EvalResult, result: EvalResult) -> dict[int, int]:
    """Return two classes that are told apart the wrong way round, each as the other; {} where there are none.

    A net that takes many cats for dogs tells them apart as long as it says "dog" of more dogs than of cats. That is
    the log odds ratio of the four counts (Woolf 1955), whatever the net prefers to say; only exchanged labels turn it.
    """
    classes = range(len(result.confusion))
    pairs = [(_log_odds(result, i, j), i, j) for i in classes for j in range(i)]
    lowest = -math.sqrt(2 * math.log(ONE_IN * max(1, len(pairs))))  # as many pairs as there are: chance goes that far
    found = min((pair for pair in pairs if _log_odds(known, *pair[1:]) > TOLD_APART), default=None)
    if found is None or found[0] >= lowest:
        return {}
    return {found[1]: found[2], found[2]: found[1]}


def _log_odds(result: EvalResult, i: int, j: int) -> float:
    """Return in standard errors how well two classes are told apart; below 0 the wrong way round."""
    table = result.confusion
    a, b, c, d = (n + 0.5 for n in (table[i][i], table[i][j], table[j][i], table[j][j]))
    return math.log(a * d / (b * c)) / math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)


def _below(record: RunRecord, part: Part, result: EvalResult) -> str | None:
    """An accuracy clearly below chance: the net knows something, and it is held against it."""
    accuracy, (low, high) = _latest(record, part, result)
    by_chance = chance(result)
    if high >= by_chance:
        return None
    return (
        f"{100 * accuracy:.2f} % of {result.n} {part} images are classified correctly (95 % interval "
        f"{100 * low:.2f} to {100 * high:.2f} %), fewer than the {100 * by_chance:.2f} % that predictions without any "
        f"knowledge would give. A net can only be wrong so often if it tells the classes apart and the {part} part "
        "names them differently. Do both parts use the same labels, in the same order?"
    )


def _nothing_carries_over(record: RunRecord, part: Part, result: EvalResult) -> str | None:
    """Training images that were learnt, and no knowledge of other ones."""
    if not _unknown(record, part, result):
        return None
    accuracy, _ = _latest(record, part, result)
    text = (
        f"{100 * _learnt(record):.1f} % of the training images are classified correctly, but of {result.n} {part} "
        f"images {100 * accuracy:.1f} %, no better than guessing: do both parts use the same labels? "
    )
    if record.train is None or record.train.accuracy < LEARNT:
        text += "(That is while training; if evaluation mode spoils the net, training images suffer, too.) "
    if part == "test" and record.validation is not None and _unknown(record, "validation", record.validation):
        return (
            f"{text}The same holds for the validation images. Either the labels of the training images are wrong or "
            "random, so that they could only be learnt by heart, or both other parts have their classes in another "
            "order."
        )
    return (
        f"{text}Their classes may be in another order, or their images of another kind or prepared in another way; or "
        "the training labels are random, and could only be learnt by heart."
    )


def _unknown(record: RunRecord, part: Part, result: EvalResult) -> bool:
    """Return whether a part is not classified better than by guessing, though training images are."""
    _, (low, high) = _latest(record, part, result)
    largest = largest_class(result)
    counts = record.data.counts.get("train", ())
    most = max(counts) / sum(counts) if any(counts) else largest  # of training images: what always guessing one gives
    little, enough = (min(2 * share, (1 + share) / 2) for share in (largest, max(largest, most)))
    return low <= largest and high <= little and _learnt(record) > max(LEARNT, enough)


def _latest(record: RunRecord, part: Part, result: EvalResult) -> tuple[float, tuple[float, float]]:
    """Return the accuracy on a part, and its 95 % interval: after the last epoch, where that is the lower one.

    Validation images that do not match choose the first epochs, whose weights know little. The last ones tell.
    """
    last = record.history[-1].validation_accuracy if record.history and part == "validation" else None
    if last is None or last >= result.accuracy:
        return result.accuracy, result.accuracy_interval
    half = Z95 * math.sqrt(last * (1 - last) / max(1, result.n)) + Z95**2 / (2 * max(1, result.n))
    return last, (max(0.0, last - half), min(1.0, last + half))


def _learnt(record: RunRecord) -> float:
    """Return the share of its training images that the net classifies correctly, at the least.

    The kept weights can be those of an early epoch, chosen by a part that does not match: the last running accuracy
    counts, too.
    """
    kept = record.train.accuracy_interval[0] if record.train is not None else 0.0
    return max(kept, record.history[-1].train_accuracy if record.history else 0.0)


def other_test(record: RunRecord) -> Finding | None:
    """A test accuracy far below that of validation, which the net knows as little."""
    validation, test = record.validation, record.test
    if validation is None or test is None or validation.accuracy_interval[0] - test.accuracy_interval[1] <= APART:
        return None
    text = (
        f"{100 * validation.accuracy:.1f} % of the validation images are classified correctly, but only "
        f"{100 * test.accuracy:.1f} % of the test images. The net was trained on neither, so the two parts are not "
        "alike: the test images are of another kind (another camera, other preprocessing, other labels), or many "
        "validation images nearly equal training images and are too easy. Which of the two will new images be like?"
    )
    return warning(
        "other-test",
        "Test images are unlike the validation images",
        text,
        None,
        f"the 95 % interval of the test accuracy lies more than {100 * APART:.0f} points below that of validation",
        "Recht et al. 2019, arXiv:1902.10811: even a test set collected anew with care costs 3 to 15 points; the ten "
        "points are " + OURS,
        evidence.bars(
            ("validation", "test"),
            "accuracy",
            [("kept weights", (validation.accuracy, test.accuracy))],
            level=validation.accuracy - APART,
            level_name="ten points below",
        ),
    )
