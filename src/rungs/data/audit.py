"""The contents of a source: counts, duplicates and problems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rungs.data.duplicates import Duplicates, Place
from rungs.errors import UserError
from rungs.run.record import NearPair, Problem, Record

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet, Source
    from rungs.recipe.spec import DataSpec

LISTED = 20
"""Problems that an error lists; the rest are only counted."""


class PartContents(Record, frozen=True):
    """One part of a source."""

    n: int
    counts: tuple[int, ...]  # images per class, (K,)
    hash: str


class Contents(Record, frozen=True):
    """The contents of a source."""

    name: str
    origin: str
    canonical: bool | None
    image_size: int  # pixels, once decoded
    extent: tuple[tuple[int, int], tuple[int, int]] | None  # of `Source`: smallest and largest (width, height)
    classes: tuple[str, ...]
    parts: dict[str, PartContents]  # "train", "validation", "test"
    problems: tuple[Problem, ...]  # of files, and images that are identical once decoded or look alike
    near: tuple[NearPair, ...] = ()  # all images that look alike, also in one part, the likeliest first
    near_compared: int | None = None  # as in `DataRecord`; None: a published data set, of which none are searched
    notes: tuple[str, ...] = ()  # how the files were read


def contents(source: Source) -> Contents:
    """Return the contents of a source, with duplicates found by comparing all images."""
    from rungs.data.twins import compared, near_between, near_within, whole  # they need torch, the rest does not

    parts = whole(source)
    near = [] if source.canonical else near_within(source)
    return Contents(
        name=source.name,
        origin=source.origin,
        canonical=source.canonical,
        image_size=source.train.image_size,
        extent=source.extent,
        classes=source.train.classes,
        parts={part: PartContents(n=len(s), counts=s.counts(), hash=s.hash) for part, s in parts.items()},
        problems=(
            *source.problems,
            *_duplicates(parts, {p.path for p in source.problems if p.kind == "duplicate"}),
            *(() if source.canonical else _leaks(near_between(source, parts))),
        ),
        near=tuple(near),
        near_compared=None if source.canonical else compared(source),
        notes=source.notes,
    )


def require_as_asked(source: Source, spec: DataSpec) -> None:
    """Refuse a source that is not a recipe's, or was read in another way: its images would be others.

    Raises:
        UserError: Another name, size or reading.
    """
    from rungs.data.reading import differing, reading_of
    from rungs.data.sources.names import printable

    do = "open the source of this recipe: rungs.training.dataset.open_source(recipe)"
    differs = [] if source.reading is None else differing(source.reading, reading_of(spec))
    if spec.image_size not in (None, source.train.image_size):
        differs.append("image_size")
    if source.name != printable(spec.source):
        raise UserError(f"the images given are those of {source.name}", where=spec.source, do=do)
    if differs:
        raise UserError(f"not read as the recipe says: another {', '.join(differs)}", where=source.name, do=do)


def require_trainable(source: Source, skip_unreadable: bool) -> tuple[Problem, ...]:
    """Return the files that are left out of a source, if they may be.

    Raises:
        UserError: There are unreadable or empty files and they may not be skipped; or a class is left without a
            training image, or a part without an image.
    """
    from rungs.data.twins import whole

    lost = require_readable(source, skip_unreadable)
    train = source.train
    bare = [name for name, count in zip(train.classes, train.counts(), strict=True) if not count]
    if bare:
        what = f"no readable training image of {', '.join(bare[:LISTED])}"
        raise UserError(what, where=source.name, do="fix the files, add some, or remove the class")
    if empty := [part for part, images in whole(source).items() if not len(images)]:
        what = f"no readable image in the {' and '.join(empty)} part{'s' * (len(empty) > 1)}"
        raise UserError(what, where=source.name, do="fix the files, add some, or remove the part")
    return lost


def require_readable(source: Source, skip_unreadable: bool) -> tuple[Problem, ...]:
    """Return the files that are left out of a source, if they may be.

    Raises:
        UserError: There are unreadable or empty files and they may not be skipped.
    """
    lost = tuple(problem for problem in source.problems if problem.kind in ("unreadable", "empty"))
    if lost and not skip_unreadable:
        lines = [f"  {problem.path}: {problem.reason}" for problem in lost[:LISTED]]
        more = [f"  ... and {len(lost) - LISTED} more: rungs data {source.name}"] if len(lost) > LISTED else []
        what = "\n".join([f"{len(lost)} file{'s' * (len(lost) > 1)} cannot be used", *lines, *more])
        raise UserError(what, where=source.name, do="fix or remove them, or skip them with --skip-unreadable")
    return lost


def suspects(problems: Iterable[Problem], images: ImageSet, part: str = "train") -> dict[int, str]:
    """Return the images of a part that have problems, by position, and the kind of the first problem of each."""
    kinds: dict[str, str] = {}
    for problem in problems:
        kinds.setdefault(problem.path, problem.kind)
    names = images.paths or [f"{part} image {i}" for i in range(len(images))]
    return {i: kinds[name] for i, name in enumerate(names) if name in kinds}


def _duplicates(parts: dict[str, ImageSet], known: set[str]) -> list[Problem]:
    """Find identical images, except those in `known`."""
    duplicates = Duplicates("the same pixels as", next(iter(parts.values())).classes)
    problems = []
    for part, images in parts.items():
        pixels = images.images.numpy()  # of a source: not a copy
        for i, label in enumerate(images.labels.tolist()):
            place = Place(part, images.paths[i] if images.paths else f"{part} image {i}", label)
            problem = duplicates.add(hashlib.sha256(pixels[i].tobytes()).digest(), place)
            if problem and place.name not in known:
                problems.append(problem)
    return problems


def _leaks(pairs: Sequence[NearPair]) -> list[Problem]:
    """Return the images of one part that look like one of another, suspects left out."""
    return [
        Problem(
            path=pair.image,
            kind="near duplicate",
            reason=f"looks like {pair.other}: perhaps a leak from {pair.other_part} to {pair.part}",
        )
        for pair in pairs
        if not pair.suspect
    ]
