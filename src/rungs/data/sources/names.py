"""Names of folders, files and classes: which part one stands for, how they sort, which look alike."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from rungs.run.record import Problem

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "tests", "testing", "eval", "evaluation"),
}
"""The parts of a source, in order, and their common spellings."""

FILLERS = frozenset(
    (
        *("set", "sets", "data", "dataset", "datasets", "folder", "split", "samples", "image", "images", "img", "imgs"),
        *("picture", "pictures", "pic", "pics", "photo", "photos"),
    )
)
"""Words that say nothing in a folder's name: training_set, "Test Images", train_data."""

WORDS = {word: part for part, words in PARTS.items() for word in words}
WORDS |= {word + filler: part for word, part in WORDS.items() for filler in FILLERS}  # trainset, testdata


def part_of(word: str) -> str | None:
    """Return the part that a folder's or file's name stands for, in any common spelling."""
    return next((part for part, words in PARTS.items() if word.lower() in words), None)


def parts_among(names: Iterable[str]) -> dict[str, str]:
    """Return which of the names of neighbouring folders stand for parts, and for which.

    A part's word alone does, with words that say nothing (train_images, "Training Set") or a number (test1). Together
    with another word it does only if two parts share that word (seg_train, seg_test): train station is a class. A
    number counts for nothing only where no other folder has the same part: test1 beside test2 is none.
    """
    found = {name: _part_and_rest(name) for name in names}
    sharing: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for part, rest in found.values():
        if part:
            sharing[rest].add(part)
    parts = {name: part for name, (part, rest) in found.items() if part and (not rest or len(sharing[rest]) > 1)}
    times = Counter(parts.values())
    return {name: part for name, part in parts.items() if times[part] == 1 or not re.search(r"\d", name)}


def says_nothing(name: str) -> bool:
    """Return whether a folder's name says nothing of what is in it: images, data, "all photos"."""
    return set(_words(name)) <= FILLERS | {"all", "unknown", "unlabeled", "unlabelled"}


def _part_and_rest(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the one part that a name holds a word of, and its other words."""
    words = _words(name)
    parts = {WORDS[word] for word in words if word in WORDS}
    rest = tuple(word for word in words if word not in WORDS and word not in FILLERS)
    return (parts.pop() if len(parts) == 1 else None), rest


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without numbers: TrainingImages_1 -> training, images."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", apart.casefold())


def natural(name: str) -> tuple[list[tuple[str, tuple[int, str]]], str]:
    """Return a key for natural sorting: 2 before 10, a next to A."""
    words, numbers = re.split(r"\d+", name), [digits.lstrip("0") for digits in re.findall(r"\d+", name)]
    pairs = zip(words, [*((len(digits), digits) for digits in numbers), (-1, "")], strict=True)
    return [(word.casefold(), number) for word, number in pairs], name


def printable(name: str) -> str:
    """Return a name in which bytes that are not UTF-8 are escaped: `caf\\xe9`, so that two names stay two."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def class_name(name: str) -> str:
    """Return a class's name in composed Unicode, the same on every system."""
    return unicodedata.normalize("NFC", printable(name))


def look_alikes(folders: dict[str, str]) -> list[Problem]:
    """Report classes whose names a reader cannot tell apart, or some file systems would merge.

    Args:
        folders: A class -> its folder, or where else it comes from.
    """
    first: dict[str, str] = {}
    alike = {name: first.setdefault(_bare(name), name) for name in sorted(folders)}
    return [
        Problem(path=folders[name], kind="doubtful", reason=f"a class named like {_difference(name, other)}")
        for name, other in alike.items()
        if name != other
    ]


def _bare(name: str) -> str:
    """Return a name without what a reader does not see: case, spaces at its ends, characters without width."""
    return " ".join(_visible(unicodedata.normalize("NFKC", name)).split()).casefold()


def _visible(name: str) -> str:
    return "".join(character for character in name if unicodedata.category(character) != "Cf")


def _difference(name: str, other: str) -> str:
    if name.casefold() == other.casefold():
        return f"{other}: the names differ only in case"
    spaces = "".join(name.split()) == "".join(other.split())
    what = "spaces" if spaces else "characters that cannot be seen, spaces or case"
    return f"{other!r}: {name!r} differs only in {what}"
