"""Find identical images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rungs.run.record import Problem

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet


class Place(NamedTuple):
    """Where an image is."""

    part: str  # "train", "validation", "test"
    name: str
    label: int


class Duplicates:
    """Finds equal images among those added one by one.

    Args:
        same: How equal images agree, "the same bytes as".
        classes: K names.
    """

    def __init__(self, same: str, classes: Sequence[str]) -> None:
        self.same, self.classes = same, classes
        self.first: dict[bytes, Place] = {}

    def add(self, digest: bytes, place: Place) -> Problem | None:
        """Add an image; return a problem if an equal one was added before, else None."""
        first = self.first.setdefault(digest, place)
        if first is place:
            return None
        reason = f"{self.same} {first.name}"
        if place.label != first.label:
            reason += f", which is labelled {self.classes[first.label]}, not {self.classes[place.label]}"
        if place.part != first.part:
            reason += f": a leak from {first.part} to {place.part}"
        return Problem(path=place.name, kind="duplicate", reason=reason)


def leaks(parts: Mapping[str, ImageSet]) -> dict[str, int]:
    """Count the images of each part that are identical to one in an earlier part.

    Args:
        parts: "train", "validation", "test", in this order, as far as present.

    Returns:
        The counts above zero, by part: the score on such images says nothing about new ones.
    """
    known: set[bytes] = set()
    found = {}
    for name, part in parts.items():
        here = digests(part)
        if many := sum(digest in known for digest in here):
            found[name] = many
        known.update(here)
    return found


def digests(images: ImageSet) -> list[bytes]:
    """Return the SHA-256 of each image's pixels."""
    return [hashlib.sha256(image.data).digest() for block in images.blocks() for image in block.numpy()]
