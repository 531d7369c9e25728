"""Which images the parts of a split hold, told without their pixels: the same however they were decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from os.path import commonprefix

from rungs.data.imageset import ImageSet, Source
from rungs.data.twins import positions, whole


def members(source: Source, parts: Mapping[str, ImageSet]) -> dict[str, str]:
    """Return for each part a SHA-256 (hex) of its images' files, or rows, and their labels, in the part's order.

    Files count without the folders that all of the source have in common, so a source may move; images without files
    count by their numbers in the source.

    Args:
        source: What the parts were cut from.
        parts: By name.
    """
    paths = [path for one in whole(source).values() for path in one.paths or ()]
    start = commonprefix(paths).rfind("/") + 1  # noqa: RUF071 (whole folders, by the slash)
    return {name: _hash(source, part, start) for name, part in parts.items()}


def _hash(source: Source, part: ImageSet, start: int) -> str:
    names = positions(source, part).tolist() if part.paths is None else [path[start:] for path in part.paths]
    lines = (f"{name}\t{part.classes[k]}\n" for name, k in zip(names, part.labels.tolist(), strict=True))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
