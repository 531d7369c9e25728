"""Turn a listing of image files into a `Source`: decoded once, then memory-mapped from the cache.

The cache is first searched by the listing (names, labels, stamps). If the listing is new, every file is hashed and the
cache is searched by content, labels and names. Only if that fails, too, are the files decoded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
import torch

from rungs.data import cache
from rungs.data.decode import DECODE_VERSION, Header, Pixels, Undecodable, decode, read_header
from rungs.data.duplicates import Duplicates, Place
from rungs.data.imageset import ImageSet, Source, content_hash
from rungs.data.parallel import in_parallel, shown
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.listing import ENDINGS, Listing, Read, require_classes
from rungs.errors import UserError
from rungs.run.record import Problem

DEFAULT_IMAGE_SIZE = 64
"""Pixels, where a source's images differ in size and no size is given."""

MAX_ASPECT = 4
"""A picture with a larger aspect ratio loses most of its content in a square crop."""


class _Item(NamedTuple):
    part: str
    name: str
    label: int
    read: Read


class _Seen(NamedTuple):
    """A file read once: its SHA-256, None if it could not be read; (width, height), None if it is not an image."""

    digest: bytes | None
    size: tuple[int, int] | None


def read_listing(listing: Listing, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Decode a listing, or find it in the cache.

    Args:
        listing: What the source holds.
        image_size: Pixels; None takes the size that all images share if they are square (8 to 1024), else 64.
        reading: How pictures are cut and resized.

    Raises:
        UserError: No training part, fewer than two classes, a class without training images, a cache that cannot be
            written.
    """
    require_classes(listing, for_training=reading.for_training)
    key = _key(listing.classes, image_size, *_cut(reading), listing.stamp, *_names(listing))
    found = cache.entry_of_listing(key)
    if found is None:
        with cache.locked():
            found = cache.entry_of_listing(key) or _fill(listing, image_size, reading, key)
    return _source(listing, *found)


def _fill(listing: Listing, image_size: int | None, reading: Reading, key: str) -> tuple[cache.Entry, torch.Tensor]:
    """Make the entry of a new listing, unless there is one of the same content."""
    items = sum(len(part.names) for part in listing.parts.values())
    seen = list(shown(in_parallel(_look, _items(listing)), items, "reading"))
    size = image_size or _shared_size(seen)
    digests = [(one.digest or b"unreadable").hex() for one in seen]
    content_key = _key(size, *_cut(reading), listing.classes, *_names(listing), *digests)
    found = cache.entry_of_content(content_key)
    if found is None:
        with cache.new_folder(content_key, items * 3 * size**2) as folder:
            _write(listing, seen, size, reading, folder)
        found = cache.entry_of_content(content_key)
        assert found is not None, "an entry that was just made is whole"
    if all(one.digest for one in seen):  # permissions may change without a new timestamp
        cache.remember(key, content_key)
    return found


def _write(listing: Listing, seen: Sequence[_Seen], size: int, reading: Reading, folder: Path) -> None:
    """Decode every file into `folder`."""
    labels: dict[str, list[int]] = {part: [] for part in listing.parts}
    names: dict[str, list[str]] = {part: [] for part in listing.parts}
    problems: list[Problem] = []
    used: list[_Seen] = []
    duplicates = Duplicates("the same bytes as", listing.classes)
    images = folder / "images.u8"
    with images.open("wb") as file:
        for once, (item, digest, pixels, found) in zip(seen, _decode_all(listing, seen, size, reading), strict=True):
            problems += found
            if pixels is not None:
                file.write(pixels.data)
                used.append(once)
                labels[item.part].append(item.label)
                names[item.part].append(item.name)
                if duplicate := duplicates.add(digest, Place(item.part, item.name, item.label)):
                    problems.append(duplicate)
        file.flush()
        os.fsync(file.fileno())
    parts = _hashed(images, size, listing.classes, labels, names)
    entry = cache.Entry(
        image_size=size, classes=listing.classes, parts=parts, problems=tuple(problems), extent=_extent(used)
    )
    cache.write_entry(folder, entry)


def _decode_all(
    listing: Listing, seen: Sequence[_Seen], size: int, reading: Reading
) -> Iterator[tuple[_Item, bytes, Pixels | None, list[Problem]]]:
    """Yield of each item: itself, its digest, its pixels (3, S, S) unless it is unreadable, and its problems."""

    def work(pair: tuple[_Item, _Seen]) -> tuple[_Item, bytes, Pixels | None, list[Problem]]:
        item, once = pair
        try:
            data = item.read()
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            return item, b"", None, [Problem(path=item.name, kind="unreadable", reason=reason)]
        digest = hashlib.sha256(data).digest()
        if digest != once.digest:
            do = "try again when no process writes there"
            raise UserError("changed while it was read", where=f"{listing.root}/{item.name}", do=do)
        try:
            pixels = decode(data, size, item.name, reading.interpolation, reading.crop)
            doubts = _doubts(item.name, read_header(data, item.name), pixels)
        except Undecodable as error:
            problem = Problem(path=item.name, kind="unreadable" if data else "empty", reason=error.reason)
            return item, digest, None, [problem]
        return item, digest, pixels, [Problem(path=item.name, kind="doubtful", reason=doubt) for doubt in doubts]

    yield from shown(in_parallel(work, zip(_items(listing), seen, strict=True)), len(seen), "decoding")


def _look(item: _Item) -> _Seen:
    try:
        data = item.read()
    except OSError:
        return _Seen(None, None)
    digest = hashlib.sha256(data).digest()
    try:
        header = read_header(data, item.name)
    except Undecodable:
        return _Seen(digest, None)
    return _Seen(digest, (header.width, header.height))


def _shared_size(seen: Sequence[_Seen]) -> int:
    sizes = {one.size for one in seen if one.size is not None}
    width, height = sizes.pop() if len(sizes) == 1 else (0, 0)
    return width if width == height and 8 <= width <= 1024 else DEFAULT_IMAGE_SIZE


def _extent(used: Iterable[_Seen]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the smallest and the largest stored (width, height) by area."""
    sizes = sorted({one.size for one in used if one.size}, key=lambda size: (size[0] * size[1], size))
    return (sizes[0], sizes[-1]) if sizes else None


def _doubts(name: str, header: Header, pixels: Pixels) -> list[str]:
    """Return what is odd about a usable picture."""
    promised = ENDINGS.get(PurePosixPath(name).suffix.lower(), header.format)
    short, long = sorted((header.width, header.height))
    size = pixels.shape[-1]
    found = {
        f"a {header.format} image, despite its name": promised != header.format,
        f"{header.width} x {header.height} pixels are enlarged to {size} x {size}": 2 * short < size,
        f"{header.width} x {header.height} pixels: only the middle is used": long > MAX_ASPECT * short,
        "a single colour": bool((pixels == pixels[:, :1, :1]).all()),
        "animated: only the first frame is used": header.animated,
    }
    return [reason for reason, holds in found.items() if holds]


def _hashed(
    images: Path, size: int, classes: tuple[str, ...], labels: dict[str, list[int]], names: dict[str, list[str]]
) -> dict[str, cache.PartEntry]:
    mapped = cache.map_images(images, sum(map(len, labels.values())), size)
    assert mapped is not None, "every image was written"
    parts, start = {}, 0
    for part, known in labels.items():
        pixels = mapped[start : start + len(known)]
        digest = content_hash(pixels, torch.tensor(known, dtype=torch.int64), classes)
        parts[part] = cache.PartEntry(hash=digest, labels=tuple(known), names=tuple(names[part]))
        start += len(known)
    return parts


def _source(listing: Listing, entry: cache.Entry, images: torch.Tensor) -> Source:
    sets, start = {}, 0
    for part, known in entry.parts.items():
        stop = start + len(known.labels)
        paths = [f"{listing.root}/{name}" for name in known.names]
        labels = torch.tensor(known.labels, dtype=torch.int64)
        sets[part] = ImageSet(images[start:stop], labels, entry.classes, known.hash, paths)
        start = stop
    problems = tuple(
        msgspec.structs.replace(problem, path=f"{listing.root}/{problem.path}")
        for problem in (*listing.problems, *entry.problems)
    )
    train, validation, test = sets.get("train"), sets.get("validation"), sets.get("test")
    if train is None:  # only in a source to evaluate on
        train = next(iter(sets.values())).take(torch.arange(0))
    return Source(
        listing.name,
        listing.origin,
        train,
        validation,
        test,
        problems=problems,
        extent=entry.extent,
        notes=listing.notes,
    )


def _items(listing: Listing) -> Iterator[_Item]:
    for part, files in listing.parts.items():
        for name, label, read in zip(files.names, files.labels, files.files(), strict=True):
            yield _Item(part, name, label, read)


def _names(listing: Listing) -> Iterator[object]:
    for part, files in listing.parts.items():
        yield part
        yield from zip(files.names, files.labels, strict=True)


def _cut(reading: Reading) -> tuple[object, ...]:
    """Return what a key needs to know of how pictures are cut; nothing by default, as in entries that are on disk."""
    cut = (reading.interpolation, reading.crop)
    return () if cut == (DEFAULT.interpolation, DEFAULT.crop) else cut


def _key(*things: object) -> str:
    digest = hashlib.sha256(f"decoded {DECODE_VERSION}".encode())
    for thing in things:
        digest.update(repr(thing).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
