"""A rule about classes with few images: what their scores can tell, and what would help."""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, note
from rungs.run.record import Evidence, Finding, RunRecord
from rungs.run.reliability import FEW_OF_CLASS, wilson

NAMED, SHOWN = 3, 8
"""Classes that are named, and that are drawn."""


def few_images(record: RunRecord) -> Finding | None:
    """A class with so few training or held-out images that its score is mostly chance."""
    train = record.data.counts.get("train", ())
    part = "test" if record.test else "validation"
    result = record.test or record.validation
    judged = tuple(map(sum, result.confusion)) if result else ()
    little = [k for k, n in enumerate(train) if 0 < n < FEW_OF_CLASS]
    unsure = [k for k, n in enumerate(judged) if 0 < n < FEW_OF_CLASS]
    if not little and not unsure:
        return None
    names, texts = record.data.classes, []
    if little:
        texts.append(f"Few training images: {_listed(names, train, little)}.")
    if unsure and result:
        k = min(unsure, key=lambda k: judged[k])
        hits, n = result.confusion[k][k], judged[k]
        low, high = wilson(hits, n)
        texts.append(
            f"Few {part} images: {_listed(names, judged, unsure)}. {hits} of the {n} of {names[k]!r} "
            f"{'is' if hits == 1 else 'are'} recognised; with so few, a net that recognises anything from "
            f"{100 * low:.0f} to {100 * high:.0f} % of all such images can score that (95 % interval), and one image "
            f"more or less moves it by {100 / n:.0f} points."
        )
    return note(
        "few-images",
        "Classes with few images",
        " ".join([*texts, _advice(record, bool(little), bool(unsure))]),
        None,
        f"a class has fewer than {FEW_OF_CLASS} training or {part} images",
        f"Wilson 1927, doi:10.1080/01621459.1927.10502953, for the interval; the {FEW_OF_CLASS} is {OURS}",
        _picture(record, judged, sorted({*little, *unsure})),
    )


def _listed(names: tuple[str, ...], counts: tuple[int, ...], which: list[int]) -> str:
    """Return the smallest of some classes with their numbers of images."""
    order = sorted(which, key=lambda k: counts[k])
    told = ", ".join(f"{names[k]} ({counts[k]})" for k in order[:NAMED])
    return told + (f" and {len(order) - NAMED} more" if len(order) > NAMED else "")


def _advice(record: RunRecord, little: bool, unsure: bool) -> str:
    """Say what helps."""
    advice = ["More photos of these classes help most."]
    if unsure and record.recipe.data.folds is None:
        advice.append("Five folds (--folds 5) test every image once instead of one small part of them.")
    counts = [n for n in record.data.counts["train"] if n]
    if max(counts) < 2 * min(counts):  # balanced already
        little = False
    if little and record.recipe.data.balance == "none" and record.recipe.training.class_weights == "none":
        advice.append("Balanced sampling (--set data.balance=sampling) shows the net small classes as often as others.")
    return " ".join(advice)


def _picture(record: RunRecord, judged: tuple[int, ...], which: list[int]) -> Evidence:
    """Return how many images some classes have."""
    train, part = record.data.counts.get("train", ()), "test" if record.test else "validation"
    shown = sorted(which, key=lambda k: (judged or train)[k])[:SHOWN]
    groups = [("train", train), *([(part, judged)] if judged else [])]
    return evidence.bars(
        [record.data.classes[k] for k in shown],
        "images",
        [(name, [counts[k] for k in shown]) for name, counts in groups],
        level=FEW_OF_CLASS,
        level_name="threshold",
    )
