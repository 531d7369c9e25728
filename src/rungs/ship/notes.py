"""Notes on the images that a trained net is scored on: those left out, and those it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from rungs.data.duplicates import digests
from rungs.data.imageset import ImageSet
from rungs.data.split import Parts
from rungs.report import format as fmt
from rungs.run.record import Problem

NAMED = 5
"""Files left out that are named; the rest are only counted."""
NOT_NEW = "so this is not a score on new images"


def on_skipped(lost: Sequence[Problem]) -> list[str]:
    """Say how many files of a source were left out, and which."""
    if not lost:
        return []
    named = [f"{one.path} ({one.reason})" for one in lost[:NAMED]]
    more = f", and {fmt.count(len(lost) - NAMED)} more" if len(lost) > NAMED else ""
    return [f"Left out, as they cannot be read: {fmt.many(len(lost), 'file')}: {', '.join(named)}{more}."]


def on_own(own: Parts, part: str, scored: Sequence[ImageSet]) -> list[str]:
    """Say which part of the images that a run was made of was scored.

    Args:
        own: The run's parts.
        part: "train", "validation", "test" or "all".
        scored: What was scored.
    """
    n, trained = sum(map(len, scored)), len(own.train)
    if part == "all":
        return [f"These are the run's own images. The net was trained on {_of_all(trained, n)}, {NOT_NEW}."]
    name = "training" if part == "train" else part
    on = f": the net was trained on it, {NOT_NEW}" if part == "train" else ""
    return [f"These are the run's own images, of which its {name} part was scored{on}."]


def on_others(trained: ImageSet | None, scored: Sequence[ImageSet], own_name: str) -> list[str]:
    """Say how many images of another source the net was trained on: those equal to the pixel.

    Args:
        trained: The images that the net was trained on; None: they are not at hand.
        scored: What was scored, read in the same way.
        own_name: The source of the run's own images.
    """
    if trained is None:
        could = f"its own, {own_name}, could not be compared"
        return [f"Whether the net was trained on any of these images is not known: {could}."]
    known = set(digests(trained))
    n, same = sum(map(len, scored)), sum(digest in known for one in scored for digest in digests(one))
    return [f"The net was trained on {_of_all(same, n)}, equal to the pixel, {NOT_NEW}."] if same else []


def _of_all(some: int, n: int) -> str:
    if some == n:
        return "this image" if n == 1 else f"all of these {fmt.count(n)} images"
    return f"{fmt.count(some)} of these {fmt.count(n)} images"
