"""Whether two runs were scored on the same images, also where these were decoded differently."""

from __future__ import annotations

from rungs.recipe.groups import NoGroups
from rungs.recipe.shorten import split_of
from rungs.report.run_tables import PUBLISHED
from rungs.run.record import RunRecord


def place_free(source: str) -> str:
    """Return a source, without its path if it is the same everywhere."""
    name = source.partition(":")[0]
    return name if name in PUBLISHED else source


def decoding(record: RunRecord) -> tuple[int, str, float]:
    """Return what decides the pixels of a file's image: size in pixels, resize filter, share of the centre square."""
    data = record.recipe.data
    return record.data.image_size, data.interpolation or "bicubic", data.crop or 1.0


def same_images(one: RunRecord, two: RunRecord, part: str, *, same_labels: bool) -> bool:
    """Return whether both runs were scored on the same images of a part, in the same order.

    Args:
        one: A record.
        two: Another one.
        part: "validation" or "test".
        same_labels: Whether the classes of the part's images agree one by one. Records of earlier versions do not say
            which files a part holds: there it decides, with all that the split depends on.
    """
    a, b = one.data, two.data
    if a.hashes.get(part) == b.hashes.get(part):
        return True
    if place_free(a.source) != place_free(b.source) or decoding(one) == decoding(two) or not same_labels:
        return False
    if part in a.members and part in b.members:
        return a.members[part] == b.members[part]
    return same_split(one, two, part) and not _by_looks(one, part)


def same_split(one: RunRecord, two: RunRecord, part: str) -> bool:
    """Return whether seed, sizes and groups give both runs the same images of one source."""
    return _own_test(one, part) or split_of(one.recipe) == split_of(two.recipe)


def _own_test(record: RunRecord, part: str) -> bool:
    published = place_free(record.data.source) in PUBLISHED
    return part == "test" and published and record.recipe.data.folds is None


def _by_looks(record: RunRecord, part: str) -> bool:
    """Return whether near duplicates were kept together, so that the split depends on the decoded pixels."""
    grouped = record.recipe.data.groups is not None and not isinstance(record.recipe.data.groups, NoGroups)
    return grouped and not _own_test(record, part)
