"""Equal images: which they are, and what is wrong with that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rungs.run.record import Problem

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet


class Place(NamedTuple):
    """Where an image stands."""

    part: str  # "train", "validation", "test"
    name: str
    label: int


class Duplicates:
    """Meets images one by one and knows those that it has met.

    Args:
        same: How equal images agree, "the same bytes as".
        classes: K names.
    """

    def __init__(self, same: str, classes: Sequence[str]) -> None:
        self.same, self.classes = same, classes
        self.first: dict[bytes, Place] = {}

    def meet(self, digest: bytes, place: Place) -> Problem | None:
        """Return the problem with an image that was met before; None for a new one."""
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
    """Count the images of each part whose pixels equal those of an image in a part before it.

    Args:
        parts: "train", "validation", "test", in this order: those that are there.

    Returns:
        For each part but the first that has any, how many: a score on them says nothing of new images.
    """
    known: set[bytes] = set()
    found = {}
    for name, part in parts.items():
        digests = [hashlib.sha256(image.data).digest() for block in part.blocks() for image in block.numpy()]
        if many := sum(digest in known for digest in digests):
            found[name] = many
        known.update(digests)
    return found
