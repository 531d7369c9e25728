"""Turn a listing of image files into a `Source`: decoded once, then memory-mapped from the cache.

The cache is first searched by the listing (names, labels, stamps). If the listing is new, every file is hashed and the
cache is searched by content, labels and names. If that fails, too, a new entry is made: of the files that any entry
holds already the pixels are copied, the others are decoded. Then the source's earlier entry is removed.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from rungs.data import cache, room
from rungs.data.decode import DECODE_VERSION, Header, Pixels, Undecodable, read_header, read_picture
from rungs.data.doubts import doubts
from rungs.data.duplicates import Duplicates, Place
from rungs.data.formats import NoReader
from rungs.data.imageset import ImageSet, Source, content_hash
from rungs.data.parallel import in_parallel, shown
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.listing import Listing, Read, require_classes
from rungs.errors import UserError
from rungs.run.record import Problem

DEFAULT_IMAGE_SIZE = 64
"""Pixels, where a source's images differ in size and no size is given."""

TOLD_BYTES = 100_000_000
"""A set that takes more in the cache says so."""


ATTEMPTS = 3
"""Times that an entry is made which another process, in need of room, removes before it is mapped."""


class _Item(NamedTuple):
    part: str
    name: str
    label: int
    read: Read


class _Seen(NamedTuple):
    """A file read once: its SHA-256, None if it could not be read; its header, None if it is not an image."""

    digest: bytes | None
    header: Header | None
    lacks: str = ""  # what must be installed to read it


class _Image(NamedTuple):
    """What became of a file: its pixels (3, S, S), None if it is unreadable; doubts from decoding; all its problems."""

    pixels: Pixels | None
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    copied: bool = False


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
        with cache.locked(_key(listing.origin, image_size, *_cut(reading)), listing.name):
            found = cache.entry_of_listing(key) or _fill(listing, image_size, reading, key)
    return _source(listing, *found)


def _fill(listing: Listing, image_size: int | None, reading: Reading, key: str) -> tuple[cache.Entry, torch.Tensor]:
    """Make the entry of a new listing, unless there is one of the same content."""
    items = sum(len(part.names) for part in listing.parts.values())
    seen = list(shown(in_parallel(_look, _items(listing)), items, "reading"))
    size = image_size or _shared_size(seen)
    digests = [(one.digest or b"unreadable").hex() for one in seen]
    lacking = sorted({one.lacks for one in seen} - {""})
    content_key = _key(size, *_cut(reading), listing.classes, *_names(listing), *digests, *lacking)
    with cache.locked(content_key, listing.name):
        found = cache.entry_of_content(content_key) or _make(listing, seen, size, reading, content_key)
    if all(one.digest and not one.lacks for one in seen):  # permissions and readers change without a new timestamp
        cache.remember(key, content_key)
    return found


def _make(
    listing: Listing, seen: Sequence[_Seen], size: int, reading: Reading, content_key: str
) -> tuple[cache.Entry, torch.Tensor]:
    """Make an entry, remove the one of the source that it takes the place of, and others if the cache is too large."""
    needed, limit = len(seen) * 3 * size**2, room.limit_bytes(reading.cache_gb)
    for _ in range(ATTEMPTS):
        room.free_disk(needed)
        with cache.new_folder(content_key, needed) as folder:
            decoded = _write(listing, seen, size, reading, folder)
        found = cache.entry_of_content(content_key)  # mapped first: from here on no process removes it
        if found is not None:
            break
    else:
        do = f"clear or choose another cache, or raise its limit ({room.VARIABLE}), and try again"
        raise UserError("other processes removed the set each time it was made", where=cache.cache_dir(), do=do)
    room.remove_superseded(content_key)
    room.trim(limit, keep=content_key)
    if needed >= TOLD_BYTES:
        over = f", more than the limit of {room.size(limit)}" if needed > limit else ""
        cost = f"{room.size(needed)} in the cache{over}; list or clear it with: rungs cache"
        print(f"decoded {decoded:,} of {len(seen):,} pictures of {listing.name}: {cost}", file=sys.stderr)
    return found


def _write(listing: Listing, seen: Sequence[_Seen], size: int, reading: Reading, folder: Path) -> int:
    """Write an entry into `folder`; return how many files were decoded, not copied."""
    how = _key("how", size, *_cut(reading))
    labels: dict[str, list[int]] = {part: [] for part in listing.parts}
    names: dict[str, list[str]] = {part: [] for part in listing.parts}
    problems: list[Problem] = []
    used: list[_Seen] = []
    notes: dict[str, tuple[str, ...]] = {}
    copied = 0
    duplicates = Duplicates("the same bytes as", listing.classes)
    images = folder / "images.u8"
    with images.open("wb") as file:
        cache.hold(file.fileno())
        made = _images(listing, seen, size, reading, cache.known_rows(how))
        for once, item, image in zip(seen, _items(listing), made, strict=True):
            problems += image.problems
            copied += image.copied
            if image.pixels is not None and once.digest is not None:
                file.write(image.pixels.data)
                used.append(once)
                if image.notes:
                    notes[once.digest.hex()] = image.notes
                labels[item.part].append(item.label)
                names[item.part].append(item.name)
                if duplicate := duplicates.add(once.digest, Place(item.part, item.name, item.label)):
                    problems.append(duplicate)
        file.flush()
        os.fsync(file.fileno())
    (folder / "files.sha256").write_bytes(b"".join(one.digest or b"" for one in used))
    entry = cache.Entry(
        image_size=size,
        classes=listing.classes,
        parts=_hashed(images, size, listing.classes, labels, names),
        problems=tuple(problems),
        extent=_extent(used),
        name=listing.name,
        origin=listing.origin,
        how=how,
        notes=notes,
    )
    cache.write_entry(folder, entry)
    return len(seen) - copied


def _images(
    listing: Listing, seen: Sequence[_Seen], size: int, reading: Reading, known: Mapping[bytes, cache.Row]
) -> Iterator[_Image]:
    """Yield what becomes of each file: copied from `known` where its content is there, else decoded."""

    def work(pair: tuple[_Item, _Seen]) -> _Image:
        item, once = pair
        row = known.get(once.digest or b"")
        if row is not None and once.header is not None:
            return _doubted(item.name, once.header, row.images[row.at].numpy(), row.notes, copied=True)
        return _decoded(listing, item, once, size, reading)

    label = f"decoding ({room.size(len(seen) * 3 * size**2)} in the cache)"
    yield from shown(in_parallel(work, zip(_items(listing), seen, strict=True)), len(seen), label)


def _decoded(listing: Listing, item: _Item, once: _Seen, size: int, reading: Reading) -> _Image:
    try:
        data = item.read()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        return _Image(None, problems=(Problem(path=item.name, kind="unreadable", reason=reason),))
    if hashlib.sha256(data).digest() != once.digest:
        do = "try again when no process writes there"
        raise UserError("changed while it was read", where=f"{listing.root}/{item.name}", do=do)
    try:
        picture = read_picture(data, size, item.name, reading.interpolation, reading.crop)
        header = once.header or read_header(data, item.name)
    except Undecodable as error:
        problem = Problem(path=item.name, kind="unreadable" if data else "empty", reason=error.reason)
        return _Image(None, problems=(problem,))
    return _doubted(item.name, header, picture.pixels, picture.notes)


def _doubted(name: str, header: Header, pixels: Pixels, notes: tuple[str, ...], copied: bool = False) -> _Image:
    found = (*doubts(name, header, pixels), *notes)
    problems = tuple(Problem(path=name, kind="doubtful", reason=doubt) for doubt in found)
    return _Image(pixels, notes, problems, copied)


def _look(item: _Item) -> _Seen:
    try:
        data = item.read()
    except OSError:
        return _Seen(None, None)
    digest = hashlib.sha256(data).digest()
    try:
        return _Seen(digest, read_header(data, item.name))
    except NoReader as error:
        return _Seen(digest, None, error.reason)
    except Undecodable:
        return _Seen(digest, None)


def _shared_size(seen: Sequence[_Seen]) -> int:
    sizes = {(one.header.width, one.header.height) for one in seen if one.header}
    width, height = sizes.pop() if len(sizes) == 1 else (0, 0)
    return width if width == height and 8 <= width <= 1024 else DEFAULT_IMAGE_SIZE


def _extent(used: Iterable[_Seen]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the smallest and the largest stored (width, height) by area."""
    stored = {(one.header.width, one.header.height) for one in used if one.header}
    sizes = sorted(stored, key=lambda size: (size[0] * size[1], size))
    return (sizes[0], sizes[-1]) if sizes else None


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
