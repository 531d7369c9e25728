"""Whether the mirror image of a picture belongs to the same class: not where the classes are digits or letters."""

from __future__ import annotations

import re

from rungs.run.record import RunRecord

SOURCES = re.compile(
    r"mnist|svhn|(?<![a-z])digits?(?![a-z])|\busps\b|omniglot|chars74k|(?<![a-z])letters?(?![a-z])|alphabet|captcha|\bocr\b|sign.?language",
    re.IGNORECASE,
)
"""Names of sources that hold digits, letters or hand signs."""
NOT_SYMBOLS = re.compile(r"fashion", re.IGNORECASE)
"""Fashion-MNIST holds clothes."""
WORDS = frozenset(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
KINDS = frozenset(
    ["digit", "letter", "number", "char", "character", "upper", "lower", "uppercase", "lowercase", "case"]
)
"""Words beside which a digit or a letter is what the picture shows, as in "upper_a"."""
PLACEHOLDERS = frozenset(["class", "label"])
"""Words beside which it may be that, or stand for a name that got lost."""
GREY = 0.002
"""Means of the three colours that differ by less are those of grey pictures, as scanned digits and letters are."""


def symbols(record: RunRecord) -> str | None:
    """Return why the classes are taken for digits or letters; None where they are not."""
    data = record.data
    if _known_source(data.source):
        return f"the images are those of {data.source}"
    if len(data.classes) > 1 and all(_is_symbol(_parts(name)) for name in data.classes):
        return f"the classes are {', '.join(data.classes[:3])}{', ...' if len(data.classes) > 3 else ''}"
    return None


def certain(record: RunRecord) -> bool:
    """Return whether they surely are: numbers in coloured pictures may be the numbers of classes without a name."""
    data = record.data
    if _known_source(data.source):
        return True
    names = [_parts(name) for name in data.classes]
    if any(PLACEHOLDERS.intersection(name) for name in names):
        return False
    return any(not part.isdigit() for name in names for part in name) or max(data.mean) - min(data.mean) < GREY


def _known_source(source: str) -> bool:
    """Return whether a source's last name, of a folder or of a data set, is that of digits, letters or hand signs."""
    name = re.split(r"[:/\\]", source.rstrip("/\\"))[-1]
    return bool(SOURCES.search(name)) and not NOT_SYMBOLS.search(name)


def _parts(name: str) -> list[str]:
    """Return the words and numbers of a class's name."""
    return [part for part in re.split(r"[\W_]+", name.lower()) if part]


def _is_symbol(parts: list[str]) -> bool:
    """Return whether a name is a digit or a letter and nothing else: "7", "q", "three", "upper_a", "digit 3"."""
    others = [part for part in parts if len(part) > 1 and part not in WORDS]
    return len(parts) - len(others) == 1 and (KINDS | PLACEHOLDERS).issuperset(others)
