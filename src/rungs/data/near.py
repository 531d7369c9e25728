"""Find images that look alike: the same picture encoded again, scaled, a little brighter, with some noise.

Pictures with the same coarse brightness, as signs of its lowest frequencies, are candidates; they are then compared in
colour. That takes about a second for 60,000 small images, and grows with their number, not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import adaptive_avg_pool2d

from rungs.run.record import NearPair

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SMALLEST = 16
"""Pixels a side: smaller pictures of different things look alike, too."""
COARSE, FINE = 8, 16
"""Cells a side: of the brightness that finds candidates, and of the colours that decide."""
BANDS, BITS = 3, 12
"""Each image has three keys of twelve signs; an equal key makes two images candidates ..."""
PROBES = 2
"""... also with one of the two signs that are least certain turned."""
MOST = 100
"""Candidates of one key that are looked at: pictures that are all alike would take quadratic time."""
LIKE = 0.93
"""Correlation of the coarse brightness from which a candidate is looked at more closely."""
SAME = 0.95
"""Correlation of the fine colours, each about its mean: of 190 pairs of CIFAR-10 above it nearly all are one photo."""
TEXTURED = 0.4
"""Share of neighbouring cells that must differ visibly: plain drawings and an object before the sky look alike ..."""
VISIBLE = 4.0
"""... by so many of 255 levels."""


def near_copies(parts: Mapping[str, ImageSet]) -> list[NearPair]:
    """Return the images that look like one in an earlier part but are not identical to one.

    Args:
        parts: "train", "validation", "test", in this order, as far as present.
    """
    found: list[NearPair] = []
    if min((part.image_size for part in parts.values()), default=0) < SMALLEST:
        return found
    before: dict[str, Floats] = {}
    for name, part in parts.items():
        own = _brightness(part)
        if before:
            query, known = _candidates(own, np.concatenate(list(before.values())))
            starts = np.cumsum([0, *map(len, before.values())])
            names = list(before)
            alike = _alike(part, [parts[one] for one in names], query, known, starts)
            for i, j in alike.items():
                k = int(np.searchsorted(starts, j, "right")) - 1
                other = _name(parts[names[k]], names[k], int(j - starts[k]))
                found.append(NearPair(part=name, image=_name(part, name, i), other_part=names[k], other=other))
        before[name] = own
    return found


def _brightness(part: ImageSet) -> Floats:
    """Return the coarse brightness of all images: float32 (n, 64), about its mean, of length 1."""
    blocks = [_cells(block, COARSE).sum(1) for block in part.blocks(1024)]  # small ones stay in the cache
    grey = np.concatenate(blocks)
    return _unit(grey.reshape(len(grey), -1))


def _cells(pixels: torch.Tensor, side: int) -> Floats:
    """Return the means of images uint8 (n, 3, H, W) over side x side cells, float32 (n, 3, side, side)."""
    return adaptive_avg_pool2d(pixels.float(), side).numpy()


def _unit(values: Floats) -> Floats:
    """Return rows about their means, of length 1; constant ones are 0."""
    centred = values - values.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1.0), dtype=np.float32)


def _frequencies() -> Floats:
    """Return the lowest frequencies of the cosine transform of the coarse brightness, float32 (64, BANDS x BITS)."""
    k = np.arange(COARSE)
    waves = np.cos(np.pi * (k + 0.5) * k[:, None] / COARSE)  # (frequency, position)
    pairs = sorted(((u, v) for u in k for v in k), key=lambda pair: (pair[0] + pair[1], pair[0]))[1:]
    return np.stack([np.outer(waves[u], waves[v]).ravel() for u, v in pairs[: BANDS * BITS]], 1).astype(np.float32)


def _candidates(own: Floats, known: Floats) -> tuple[Ints, Ints]:
    """Return positions of images and of known ones, pairs of similar coarse brightness, each once."""
    waves = _frequencies()
    mine, theirs = own @ waves, known @ waves
    pairs = set[int]()
    bit = 1 << np.arange(BITS)
    for band in range(BANDS):
        a, b = mine[:, band::BANDS], theirs[:, band::BANDS]
        keys, weakest = (a > 0) @ bit, bit[np.argsort(np.abs(a), axis=1)[:, :PROBES]]
        their_keys = (b > 0) @ bit
        order = np.argsort(their_keys, kind="stable")
        ordered = their_keys[order]
        for turned in (np.zeros_like(keys), *weakest.T):
            for i, j in _of_equal_keys(keys ^ turned, ordered):
                close = np.einsum("ij,ij->i", own[i], known[order[j]]) > LIKE
                pairs.update((i[close] * len(known) + order[j[close]]).tolist())
    both = np.array(sorted(pairs), dtype=np.int64)
    return both // len(known), both % len(known)


def _of_equal_keys(keys: Ints, ordered: Ints, size: int = 1024) -> Iterator[tuple[Ints, Ints]]:
    """Yield positions in `keys` and in `ordered`, a sorted array, that hold the same key, at most `MOST` for each."""
    first = np.searchsorted(ordered, keys, "left")
    many = np.minimum(np.searchsorted(ordered, keys, "right") - first, MOST)
    for start in range(0, len(keys), size):
        n = many[start : start + size]
        i = np.repeat(np.arange(start, start + len(n)), n)
        within = np.arange(len(i)) - np.repeat(np.cumsum(n) - n, n)
        yield i, np.repeat(first[start : start + size], n) + within


def _alike(
    part: ImageSet, earlier: list[ImageSet], query: Ints, known: Ints, starts: npt.NDArray[np.int_], size: int = 512
) -> dict[int, int]:
    """Return for images that look like a known one its position; those that are identical to one are left out."""
    best: dict[int, tuple[float, int]] = {}
    same: set[int] = set()
    for at in range(0, len(query), size):
        i, j = query[at : at + size], known[at : at + size]
        mine = part.at(torch.from_numpy(i))
        theirs = torch.empty_like(mine)
        for start, stop, other in zip(starts[:-1], starts[1:], earlier, strict=True):
            here = (start <= j) & (j < stop)
            theirs[torch.from_numpy(here)] = other.at(torch.from_numpy(j[here] - start))
        same.update(i[(mine == theirs).flatten(1).all(1).numpy()].tolist())
        likeness = _likeness(_cells(mine, FINE), _cells(theirs, FINE))
        for one, other_one, value in zip(i.tolist(), j.tolist(), likeness.tolist(), strict=True):
            if value > SAME:
                best[one] = max(best.get(one, (0.0, 0)), (value, other_one))
    return {i: j for i, (_, j) in sorted(best.items()) if i not in same}


def _likeness(a: Floats, b: Floats) -> Floats:
    """Return the correlation of pairs of images (n, 3, side, side), each colour about its mean; 0 of plain ones."""
    flat = [_unit_colours(x) for x in (a, b)]
    grey = a.mean(1)
    steps = [np.abs(np.diff(grey, axis=axis)).reshape(len(a), -1) > VISIBLE for axis in (1, 2)]
    textured = np.concatenate(steps, 1).mean(1) > TEXTURED
    return np.asarray(np.einsum("ij,ij->i", *flat) * textured, dtype=np.float32)


def _unit_colours(cells: Floats) -> Floats:
    centred = cells - cells.mean((2, 3), keepdims=True)
    return _unit(centred.reshape(len(cells), -1))


def _name(part: ImageSet, name: str, index: int) -> str:
    return part.paths[index] if part.paths else f"{name} image {index}"
