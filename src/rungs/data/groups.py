"""Groups: which training images of a source stay together in one part of a split, and in one fold.

The photos of one animal, of one patient, of one second: if some of them are trained on and others tested on, the test
is too easy. Near duplicates are joined in every grouping: a group holds all images that any chain of reasons connects.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from rungs.data.imageset import Source
from rungs.data.near import SAME
from rungs.data.sources.names import class_name, parts_among
from rungs.data.taken import Taken, taken_at
from rungs.data.twins import source_pairs
from rungs.errors import UserError
from rungs.recipe.base import name_of
from rungs.recipe.groups import AnyGroups, ByColumn, ByFolder, ByName, ByTime, NearDuplicates, NoGroups
from rungs.recipe.spec import DataSpec
from rungs.run.record import GroupsRecord

Ints = npt.NDArray[np.int64]


def group_ids(source: Source, spec: DataSpec) -> Ints | None:
    """Return for each image of `source.train` the number of its group.

    Args:
        source: Opened as the recipe says.
        spec: Its data; without `groups`, as in recipes of earlier versions and of published sets, there are none.

    Returns:
        int64 (N,), numbered by first appearance: images of one number stay in one part and one fold. None where each
        image stands alone.

    Raises:
        UserError: A pattern that is no regular expression, or groups that this source cannot have.
    """
    if spec.groups is None or isinstance(spec.groups, NoGroups):
        return None
    pairs = source_pairs(source)
    here = (pairs.similarity >= SAME) & (pairs.later < len(source.train))  # the training images come first
    return _joined(_numbered(_keys(source, spec.groups)), pairs.earlier[here], pairs.later[here])


def default_groups(source: Source) -> AnyGroups | None:
    """Return what a run groups its images by where its recipe is silent: of a published data set, nothing."""
    return NearDuplicates() if source.canonical is None else None


def describe_groups(source: Source, spec: DataSpec) -> GroupsRecord | None:
    """Return how many groups there are and how large; None where each image stands alone by the recipe."""
    ids = group_ids(source, spec)
    if ids is None or spec.groups is None:
        return None
    sizes = np.bincount(ids)
    several = sizes[sizes > 1]
    undated = 0
    if isinstance(spec.groups, ByTime):
        undated = taken_at(tuple(_paths(source, "time"))).count(None)
    return GroupsRecord(
        by=name_of(spec.groups),
        n=len(several),
        images=int(several.sum()),
        largest=int(sizes.max(initial=1)),
        undated=undated,
    )


def _keys(source: Source, groups: AnyGroups) -> Sequence[Hashable]:
    """Return for each image what it shares with the others of its group, near duplicates aside."""
    if isinstance(groups, ByTime):
        return _by_time(taken_at(tuple(_paths(source, "time"))), groups.seconds)
    if isinstance(groups, ByFolder):
        classes = [source.train.classes[k] for k in source.train.labels.tolist()]
        keys = _by_folder(_paths(source, "folder"), classes)
        _require_several(keys, classes, source.name)
        return keys
    if isinstance(groups, ByName):
        return _by_name(_paths(source, "file-name"), groups.pattern)
    if isinstance(groups, ByColumn):
        if source.groups is None:
            what = f"no column {groups.column!r} to group by"
            raise UserError(what, where=source.name, do="give a table that has it, or other groups")
        return source.groups
    assert isinstance(groups, NearDuplicates)
    return range(len(source.train))


def _paths(source: Source, grouping: str) -> Sequence[str]:
    if source.train.paths is None:
        what = f"its images have no file names, so they cannot be grouped by {grouping}"
        raise UserError(what, where=source.name, do='leave data.groups out, or set { name = "near-duplicates" }')
    return source.train.paths


def _by_folder(paths: Sequence[str], classes: Sequence[str]) -> list[Hashable]:
    """Return the folder of each file, without those of parts; one in the folder of its class itself stands alone."""
    below = {folder: _without_parts(folder) for folder in {PurePosixPath(path).parent for path in paths}}
    keys: list[Hashable] = []
    for i, (path, kind) in enumerate(zip(paths, classes, strict=True)):
        folder = PurePosixPath(path).parent
        names = {class_name(folder.name), *map(class_name, below[folder][-1:])}
        keys.append(i if kind in names else below[folder])
    return keys


def _without_parts(folder: PurePosixPath) -> tuple[str, ...]:
    """Return the steps of a folder but those that name a part: cat/train/tom and cat/val/tom are one animal."""
    return tuple(step for step in folder.parts if not parts_among([step]))


def _require_several(keys: Sequence[Hashable], classes: Sequence[str], name: str) -> None:
    """Refuse a grouping that has all images of a class in one group: no split could divide them."""
    groups: dict[str, set[Hashable]] = {}
    for key, kind in zip(keys, classes, strict=True):
        groups.setdefault(kind, set()).add(key)
    counts = Counter(classes)
    if whole := [kind for kind, found in groups.items() if len(found) == 1 and counts[kind] > 1]:
        what = (
            f"all images of {', '.join(whole[:5])}{' and more' * (len(whole) > 5)} are in one folder, so in one group"
        )
        raise UserError(
            what, where=name, do="leave data.groups out, or put each animal or patient in a folder of its own"
        )


def _by_name(paths: Sequence[str], pattern: str) -> list[Hashable]:
    """Return what a pattern matches in each file's name: its first group or all of it; else the image stands alone."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        do = r"give a regular expression, such as ^([^_]+)_ for all before the first underscore"
        raise UserError(f"{pattern!r} is no regular expression: {error}", where="data.groups.pattern", do=do) from error
    matches = [wanted.search(PurePosixPath(path).name) for path in paths]
    if not any(matches):
        do = f"check it against a name such as {PurePosixPath(paths[0]).name}" if paths else "check it"
        raise UserError(f"{pattern!r} matches no file name", where="data.groups.pattern", do=do)
    return [m[1 if wanted.groups else 0] if m else i for i, m in enumerate(matches)]


def _by_time(taken: Sequence[Taken | None], seconds: float) -> list[Hashable]:
    """Return the first photo of each series of a camera; one that does not say when it was taken stands alone."""
    keys: list[Hashable] = list(range(len(taken)))
    dated = sorted((found.camera, found.when, i) for i, found in enumerate(taken) if found is not None)
    for (camera, when, i), (next_camera, next_when, j) in pairwise(dated):
        if camera == next_camera and (next_when - when).total_seconds() <= seconds:
            keys[j] = keys[i]
    return keys


def _joined(ids: Ints, some: Ints, others: Ints) -> Ints:
    """Return the groups after each of `some` images has been joined with one of `others`."""
    from scipy.sparse import coo_array  # imports that only groups need
    from scipy.sparse.csgraph import connected_components

    many = int(ids.max(initial=-1)) + 1
    links = coo_array((np.ones(len(some)), (ids[some], ids[others])), shape=(many, many))
    return _numbered(connected_components(links, directed=False)[1][ids].tolist())


def _numbered(keys: Sequence[Hashable]) -> Ints:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
