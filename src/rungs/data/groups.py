"""Groups: which training images of a source stay together in one part of a split, and in one fold.

The photos of one animal, of one patient, of one second: if some of them are trained on and others tested on, the test
is too easy. Near duplicates are joined in every grouping: a group holds all images that any chain of reasons connects.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from rungs.data.imageset import Source
from rungs.errors import UserError
from rungs.recipe.groups import ByColumn, ByFolder, ByName, ByTime, NearDuplicates, NoGroups
from rungs.recipe.spec import DataSpec

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
    keys = _keys(source, spec)
    return _numbered(keys)


def _keys(source: Source, spec: DataSpec) -> Sequence[Hashable]:
    """Return for each image what it shares with the others of its group, near duplicates aside."""
    groups, many = spec.groups, len(source.train)
    if isinstance(groups, ByFolder):
        return [str(PurePosixPath(path).parent) for path in _paths(source, "folder")]
    if isinstance(groups, ByName):
        return _by_name(_paths(source, "file-name"), groups.pattern)
    if isinstance(groups, ByColumn):
        if source.groups is None:
            what = f"no column {groups.column!r} to group by"
            raise UserError(what, where=source.name, do="give a table that has it, or other groups")
        return source.groups
    assert isinstance(groups, NearDuplicates | ByTime)
    return range(many)


def _paths(source: Source, grouping: str) -> Sequence[str]:
    if source.train.paths is None:
        what = f"its images have no file names, so they cannot be grouped by {grouping}"
        raise UserError(what, where=source.name, do='leave data.groups out, or set { name = "near-duplicates" }')
    return source.train.paths


def _by_name(paths: Sequence[str], pattern: str) -> list[Hashable]:
    """Return what a pattern matches in each file's name: its first group or all of it; else the image stands alone."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        do = r"give a regular expression, such as ^([^_]+)_ for all before the first underscore"
        raise UserError(f"{pattern!r} is no regular expression: {error}", where="data.groups.pattern", do=do) from error
    matches = [wanted.search(PurePosixPath(path).name) for path in paths]
    return [m[1 if wanted.groups else 0] if m else (i,) for i, m in enumerate(matches)]


def _numbered(keys: Sequence[Hashable]) -> Ints:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
