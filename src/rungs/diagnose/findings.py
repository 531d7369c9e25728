"""What all rules share: how a finding is made, and the words and limits that several of them need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from rungs.run.record import EpochRow, Evidence, Finding, RunRecord

FEW_EPOCHS = 3
"""Fewer points than this make no curve."""
OURS = "a rule of thumb of ours"
"""Marks a number that is not from a paper, before the nearest source."""


def finding(
    level: Literal["note", "warning"],
    rule: str,
    title: str,
    text: str,
    cure: str | None,
    threshold: str = "",
    citation: str = "",
    evidence: Evidence | None = None,
) -> Finding:
    """Return a finding of a rule.

    Args:
        level: "warning" if something went wrong, "note" if it is good to know.
        rule: Its name.
        title: In a few words.
        text: In sentences, for a student.
        cure: The end of a command that changes one thing; None where nothing cures it.
        threshold: When the rule applies, to be read after "Applies when".
        citation: Where the rule or its number is from.
        evidence: What it saw.
    """
    return Finding(
        rule=rule,
        level=level,
        title=title,
        text=text,
        cure=cure,
        threshold=threshold,
        citation=citation,
        evidence=evidence,
    )


warning = partial(finding, "warning")
note = partial(finding, "note")


def guess_loss(record: RunRecord) -> float:
    """Return the loss of guessing among all classes alike, ln K."""
    return math.log(len(record.data.classes))


def validated(record: RunRecord) -> list[EpochRow]:
    """Return the epochs after which validation was scored."""
    return [row for row in record.history if row.validation_loss is not None]


def loss_of(row: EpochRow) -> float:
    """Return the validation loss, never quite zero, so that it can be divided by."""
    return math.inf if row.validation_loss is None else max(row.validation_loss, 1e-12)


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def gap_sentence(record: RunRecord) -> str:
    """Say how the kept weights score on training and on other images; "" where that is not known."""
    held_out = record.validation or record.test
    if record.train is None or held_out is None:
        return ""
    part = "validation" if record.validation else "test"
    return (
        f"The kept weights classify {100 * record.train.accuracy:.1f} % of the training images and "
        f"{100 * held_out.accuracy:.1f} % of the {part} images correctly."
    )


def sentence(text: str) -> str:
    """Return a phrase as a sentence."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
