"""Which images stay together in one part of a split, and in one fold."""

from __future__ import annotations

from typing import TypeAlias

from rungs.recipe.base import Positive, Spec


class Groups(Spec, tag_field="name", frozen=True):
    """The base of all groupings. Near duplicates stay together with each of them but `NoGroups`."""


class NoGroups(Groups, tag="none", frozen=True):
    """Each image by itself."""


class NearDuplicates(Groups, tag="near-duplicates", frozen=True):
    """Images that look alike."""


class ByFolder(Groups, tag="folder", frozen=True):
    """Files in one folder: below the class, a folder per animal, patient or day."""


class ByName(Groups, tag="file-name", frozen=True):
    """Files whose names agree in what the regular expression matches: its first group, or all of it."""

    pattern: str


class ByColumn(Groups, tag="column", frozen=True):
    """Rows of a table that agree in a column."""

    column: str


class ByTime(Groups, tag="time", frozen=True):
    """Photos taken at most so many seconds after one another, by their EXIF time and camera."""

    seconds: Positive


AnyGroups: TypeAlias = NoGroups | NearDuplicates | ByFolder | ByName | ByColumn | ByTime
