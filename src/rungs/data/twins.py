"""The near duplicates of a source, searched for once a machine, and what they mean for the parts that are cut from it.

near/KEY.npz in the cache folder: the pairs of one source; deleting the folder searches anew.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from rungs.data.cache import alone, cache_dir
from rungs.data.imageset import ImageSet, Source
from rungs.data.near import SAME, SMALLEST, Pairs, near_pairs
from rungs.errors import UserError
from rungs.run.folder import write_whole
from rungs.run.record import NearPair

Ints = npt.NDArray[np.int64]

VERSION = 1
"""Raised whenever other pairs would be found, so that those on disk are not used."""
MANY = 2000
"""Images from which comparing them all takes a noticeable time, so that the pairs are kept."""
REMEMBERED = 4
"""Sources whose pairs a process remembers, the last ones: each run asks several times."""
ALMOST_1 = 0.999
"""Similarity from which it is worth comparing two images to the pixel."""
PICTURE = 64
"""Pixels a side, at most, of the pictures in a record."""


_remembered: dict[str, Pairs] = {}


def whole(source: Source) -> dict[str, ImageSet]:
    """Return the sets of a source, before it is split, in the order in which its images are numbered."""
    sets = {"train": source.train, "validation": source.validation, "test": source.test}
    return {name: images for name, images in sets.items() if images is not None}


def source_pairs(source: Source) -> Pairs:
    """Return the pairs of images of a source that look alike, numbered through its training, validation and test sets.

    This process remembers those of the last sources; where the search takes long they are kept in the cache as well,
    by the content of the source.
    """
    sets = list(whole(source).values())
    key = hashlib.sha256(f"near {VERSION} {[one.hash for one in sets]}".encode()).hexdigest()[:32]
    if key not in _remembered:
        while len(_remembered) >= REMEMBERED:
            del _remembered[next(iter(_remembered))]
        _remembered[key] = near_pairs(sets) if sum(map(len, sets)) < MANY else _from_cache(sets, key)
    return _remembered[key]


def _from_cache(sets: Sequence[ImageSet], key: str) -> Pairs:
    """Return the pairs that the cache has, or search for them and keep them there if it can be written."""
    try:
        path = cache_dir() / "near" / f"{key}.npz"
    except UserError:  # no home folder
        return near_pairs(sets)
    with alone(path.with_suffix(".lock"), "searches for near duplicates"):
        if (kept := _read(path)) is not None:
            return kept
        pairs, file = near_pairs(sets), io.BytesIO()
        np.savez_compressed(file, **pairs._asdict())
        with contextlib.suppress(OSError, UserError):
            write_whole(path, file.getvalue())
        return pairs


def _read(path: Path) -> Pairs | None:
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError), np.load(path, allow_pickle=False) as file:
        return Pairs(*(file[name] for name in Pairs._fields))
    return None


def positions(source: Source, images: ImageSet) -> Ints:
    """Return the numbers of a part's images in its source, int64 (n,)."""
    start = 0
    for known in whole(source).values():
        if images is known:
            return np.arange(start, start + len(known))
        if images.pixels is known.pixels and images.rows is not None:
            rows = np.arange(len(known)) if known.rows is None else known.rows.numpy()
            order = np.argsort(rows)
            return start + order[np.searchsorted(rows, images.rows.numpy(), sorter=order)]
        start += len(known)
    raise ValueError("not a part of this source")


def near_between(source: Source, parts: Mapping[str, ImageSet]) -> list[NearPair]:
    """Return for each image that looks like one of an earlier part the most similar of these, the likeliest pair first.

    Images that are identical to one of an earlier part are left out: they are leaks (`rungs.data.duplicates`).

    Args:
        source: What the parts were cut from.
        parts: "train", "validation", "test", in this order, as far as present.
    """
    pairs, found = source_pairs(source), _Places(source, parts)
    swap = found.part[pairs.later] < found.part[pairs.earlier]
    one, other = np.where(swap, (pairs.earlier, pairs.later), (pairs.later, pairs.earlier))
    apart = np.flatnonzero((found.part[other] >= 0) & (found.part[one] > found.part[other]))
    best: dict[int, NearPair] = {}
    identical: set[int] = set()
    for p in apart[np.argsort(-pairs.similarity[apart], kind="stable")].tolist():
        i, j = int(one[p]), int(other[p])
        if pairs.similarity[p] > ALMOST_1 and found.identical(i, j):
            identical.add(i)
        elif i not in best:
            best[i] = found.pair(i, j, float(pairs.similarity[p]), bool(pairs.mirrored[p]))
    return [pair for i, pair in best.items() if i not in identical]


def near_within(source: Source) -> list[NearPair]:
    """Return all pairs of images of a source that look alike without being identical, the likeliest first."""
    pairs, found = source_pairs(source), _Places(source, whole(source))
    order = np.argsort(-pairs.similarity, kind="stable")
    listed = zip(*(column[order].tolist() for column in pairs), strict=True)
    return [found.pair(*one) for one in listed if not (one[2] > ALMOST_1 and found.identical(one[0], one[1]))]


class _Places:
    """Where each image of a source is after a split.

    Attributes:
        part: (N,), the number of its part, -1 where it is in none.
    """

    def __init__(self, source: Source, parts: Mapping[str, ImageSet]) -> None:
        self.parts = tuple(parts.items())
        self.part = np.full(sum(map(len, whole(source).values())), -1)
        self.place = np.zeros_like(self.part)
        for k, images in enumerate(parts.values()):
            index = positions(source, images)
            self.part[index], self.place[index] = k, np.arange(len(index))

    def pair(self, i: int, j: int, similarity: float, mirrored: bool) -> NearPair:
        """Describe a pair of images, numbered as in the source."""
        (part, image), (other_part, other) = self._named(i), self._named(j)
        return NearPair(
            part=part,
            image=image,
            other_part=other_part,
            other=other,
            similarity=round(similarity, 4),
            mirrored=mirrored,
            suspect=similarity < SAME,
        )

    def identical(self, i: int, j: int) -> bool:
        """Return whether two images are equal to the pixel."""
        one, other = (_pixels(self.parts[self.part[k]][1], int(self.place[k])) for k in (i, j))
        return bool(torch.equal(one, other))

    def _named(self, i: int) -> tuple[str, str]:
        name, images = self.parts[self.part[i]]
        return name, _name(images, name, int(self.place[i]))


def twins(source: Source, train: ImageSet, test: ImageSet) -> Ints:
    """Return the positions in `test` of images that have a near or an identical copy in `train`, sorted."""
    pairs = source_pairs(source)
    here, there = positions(source, test), positions(source, train)
    same = pairs.similarity >= SAME
    ends = [(pairs.later[same], pairs.earlier[same]), (pairs.earlier[same], pairs.later[same])]
    with_twin = np.concatenate([one[np.isin(other, there)] for one, other in ends])
    return np.flatnonzero(np.isin(here, with_twin))


def compared(source: Source) -> int:
    """Return how many images were compared by their looks; 0 where they are so small that only identical ones count."""
    sets = whole(source).values()
    return sum(map(len, sets)) if min(one.image_size for one in sets) >= SMALLEST else 0


def with_pictures(parts: Mapping[str, ImageSet], pairs: Sequence[NearPair]) -> list[NearPair]:
    """Return pairs with pictures of their images, base64 of small PNGs."""
    wanted = {(part, name) for pair in pairs for part, name in _ends(pair)}
    drawn = {
        (part, name): _png(_pixels(images, i))
        for part, images in parts.items()
        for i in range(len(images))
        if (name := _name(images, part, i)) and (part, name) in wanted
    }
    return [msgspec.structs.replace(pair, pictures=tuple(drawn[end] for end in _ends(pair))) for pair in pairs]


def _ends(pair: NearPair) -> tuple[tuple[str, str], tuple[str, str]]:
    return (pair.part, pair.image), (pair.other_part, pair.other)


def _png(pixels: torch.Tensor) -> str:
    drawn = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    drawn.thumbnail((PICTURE, PICTURE))
    file = io.BytesIO()
    drawn.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _pixels(images: ImageSet, index: int) -> torch.Tensor:
    return images.at(torch.tensor([index]))[0]


def _name(images: ImageSet, part: str, index: int) -> str:
    return images.paths[index] if images.paths else f"{part} image {index}"
