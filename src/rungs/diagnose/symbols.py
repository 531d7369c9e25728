"""Whether the mirror image of a picture belongs to the same class: not where the classes are digits or letters."""

from __future__ import annotations

import re

from rungs.run.record import RunRecord

SOURCES = re.compile(
    r"mnist|svhn|\bdigits?\b|[_/-]digits?|\busps\b|omniglot|chars74k|letters?\b|alphabet|captcha|\bocr\b|sign.?language",
    re.IGNORECASE,
)
"""Names of sources that hold digits, letters or hand signs."""
NOT_SYMBOLS = re.compile(r"fashion", re.IGNORECASE)
"""Fashion-MNIST holds clothes."""
WORDS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
GREY = 0.002
"""Means of the three colours that differ by less are those of grey pictures, as scanned digits and letters are."""


def symbols(record: RunRecord) -> str | None:
    """Return why the classes are taken for digits or letters; None where they are not."""
    data = record.data
    source = data.source.rpartition(":")[2] if ":" in data.source else data.source
    if SOURCES.search(source) and not NOT_SYMBOLS.search(source):
        return f"the images are those of {data.source}"
    names = [name.strip().lower() for name in data.classes]
    named = [name for name in names if WORDS.intersection(re.split(r"\W+|_", name)) or _is_symbol(name)]
    if len(names) > 1 and len(named) == len(names):
        return f"the classes are {', '.join(data.classes[:3])}{', ...' if len(names) > 3 else ''}"
    return None


def certain(record: RunRecord) -> bool:
    """Return whether they surely are: numbers in coloured pictures may be the numbers of classes without a name."""
    data = record.data
    source = data.source.rpartition(":")[2] if ":" in data.source else data.source
    if SOURCES.search(source) and not NOT_SYMBOLS.search(source):
        return True
    if any(not name.strip().isdigit() for name in data.classes):
        return True
    return max(data.mean) - min(data.mean) < GREY


def _is_symbol(name: str) -> bool:
    """Return whether a name is a digit or a letter, "7", "q", "upper_a", "letter-b", "digit 3"."""
    last = re.split(r"[\W_]+", name)
    return any(len(part) == 1 and part.isalnum() for part in last) and len(last) <= 2
