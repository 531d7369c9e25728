"""Find near duplicates: the same picture encoded again, scaled, cropped a little, brighter, shifted or mirrored.

Two stages, both products of matrices, which BLAS computes. First each image is 8x8 cells of colour about their mean, a
vector of length 1: a scalar product above `LIKE` makes two images candidates. Then one of the two is cut to the centre
26x26 of 32x32 cells and compared with the 25 windows of the other that are shifted by up to 2 cells each way: each
colour about its mean, all three together a vector of length 1. The largest of the 25 products is their similarity.
Unless all pictures are grey (digits, letters, X-rays, where a mirrored picture may be another class), each image is
compared with mirrored ones as well.

The first stage takes 0.8 kFLOP a pair of images, so 3.6 TFLOP for 60,000 with each other; it is computed in blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn.functional import adaptive_avg_pool2d

if TYPE_CHECKING:
    from rungs.data.imageset import ImageSet

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Found: TypeAlias = tuple[Ints, Ints, Floats]

SMALLEST = 16
"""Pixels a side: smaller pictures of different things look alike, too."""
COARSE, SIDE, CORE, SHIFT = 8, 32, 26, 2
"""Cells a side: of the first stage, of the second, of the centre that is compared; and by how many it is shifted."""
LIKE = 0.85
"""Similarity of the first stage from which a candidate is looked at more closely."""
SUSPECT = 0.90
"""Similarity from which two images are shown to a person ..."""
SAME = 0.947
"""... and from which they count as near duplicates."""
TEXTURED = 0.4
"""Share of neighbouring cells of 16 x 16 that must differ visibly: plain colours, drawings and an object before the sky
look alike whatever they are ..."""
VISIBLE = 4.0
"""... by so many of 255 levels."""
MOST = 64
"""Candidates of one image, the likeliest: pictures that are all alike would take quadratic time."""
BOUND = 47
"""Axes of the first stage that bound a product of all 192 from above; with one for the rest they are a quarter."""
ROWS, COLUMNS = 1024, 8192
"""Images of a block of the first stage: 34 MB of similarities."""


class Pairs(NamedTuple):
    """Pairs of images that look alike, each once, sorted; P pairs."""

    later: Ints  # (P,), the position of an image
    earlier: Ints  # (P,), of one before it
    similarity: Floats  # (P,), at least SUSPECT
    mirrored: Bools  # (P,), whether one of them is mirrored


def near_pairs(sets: Sequence[ImageSet]) -> Pairs:
    """Compare all images with each other.

    Args:
        sets: Their images are numbered through, from 0.

    Returns:
        The pairs of similarity `SUSPECT` and above, identical ones included. Of images below `SMALLEST` pixels and of
        plain ones only those that are identical in 32 x 32 cells.
    """
    small = np.concatenate([_cells(one) for one in sets])
    coarse = _coarse(small) * (min(one.image_size for one in sets) >= SMALLEST)
    plain = np.flatnonzero(~coarse.any((1, 2, 3)))
    candidates = _candidates(coarse, mirror=not _all_grey(small))
    found = [_compare(small, image, others, flipped) for image, others, flipped in candidates]
    columns = zip(*found, _equal(small, plain), strict=True)
    later, earlier, similarity, mirrored = (np.concatenate(column) for column in columns)
    order = np.lexsort((earlier, later))
    return Pairs(later[order], earlier[order], similarity[order], mirrored[order])


def _equal(small: Bytes, index: Ints) -> Pairs:
    """Return the pairs of images that are identical, each with the first one."""
    first: dict[bytes, int] = {}
    pairs = [(i, first.setdefault(hashlib.sha256(small[i].data).digest(), i)) for i in index.tolist()]
    same = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
    return Pairs(same[:, 0], same[:, 1], np.ones(len(same), np.float32), np.zeros(len(same), np.bool_))


def _cells(images: ImageSet) -> Bytes:
    """Return images as means over 32 x 32 cells, uint8 (N, 3, 32, 32)."""
    small = np.empty((len(images), 3, SIDE, SIDE), np.uint8)
    start = 0
    for block in images.blocks(1024):  # small ones stay in the processor's cache
        cells = block if block.shape[-1] == SIDE else adaptive_avg_pool2d(block.float(), SIDE).round()
        small[start : start + len(block)] = cells.numpy()
        start += len(block)
    return small


def _coarse(small: Bytes) -> Floats:
    """Return 8 x 8 cells of each image about their mean, of length 1: float32 (N, 3, 8, 8); 0 of plain ones."""
    coarse = np.empty((len(small), 3, COARSE, COARSE), np.float32)
    for start in range(0, len(small), ROWS):
        cells = _halved(small[start : start + ROWS].astype(np.float32))  # (n, 3, 16, 16)
        grey = cells.mean(1)
        steps = [(np.abs(np.diff(grey, axis=axis)) > VISIBLE).reshape(len(grey), -1) for axis in (1, 2)]
        textured = np.concatenate(steps, 1).mean(1) > TEXTURED
        block = _halved(cells)
        block -= block.mean((1, 2, 3), keepdims=True)
        length = np.sqrt(np.square(block).sum((1, 2, 3), keepdims=True))
        coarse[start : start + ROWS] = block / np.maximum(length, 1) * textured[:, None, None, None]
    return coarse


def _halved(cells: Floats) -> Floats:
    """Return the means of 2 x 2 cells each, (n, 3, S, S) -> (n, 3, S/2, S/2)."""
    n, colours, side, _ = cells.shape
    return np.asarray(cells.reshape(n, colours, side // 2, 2, side // 2, 2).mean((3, 5)), dtype=np.float32)


def _all_grey(small: Bytes) -> bool:
    return all(bool((small[:, :1] == small[:, 1:]).all()) for small in np.array_split(small, 1 + len(small) // ROWS))


def _candidates(coarse: Floats, mirror: bool) -> Iterator[tuple[int, Ints, Bools]]:
    """Yield an image, the positions of images before it that may look alike, and whether as their mirror images."""
    n = len(coarse)
    ways = [coarse.reshape(n, -1), *([coarse[..., ::-1].reshape(n, -1)] if mirror else [])]  # (n, 192) each
    axes = _principal_axes(ways[0])
    bounds = [_bounds(way, axes) for way in ways]
    for top in range(0, n, ROWS):
        rows = slice(top, min(top + ROWS, n))
        found = [
            _above(rows, slice(left, min(left + COLUMNS, rows.stop)), ways[0], ways[way], bounds[0], bounds[way])
            for way in range(len(ways))
            for left in range(0, rows.stop, COLUMNS)
        ]
        blocks = len(found) // len(ways)
        flipped = np.repeat(np.arange(len(found)) >= blocks, [len(i) for i, _, _ in found])
        i, j, like = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((-like, i))
        ends = np.searchsorted(i[order], np.arange(rows.start, rows.stop + 1))
        for start, end in pairwise(ends.tolist()):
            if start < end:
                best = order[start : min(end, start + MOST)]
                yield int(i[best[0]]), j[best], flipped[best]


def _principal_axes(vectors: Floats) -> Floats:
    """Return orthonormal axes, float32 (192, 192), those in which the vectors are longest first."""
    sample = vectors[:: 1 + len(vectors) // 10_000]
    return np.ascontiguousarray(np.linalg.eigh(sample.T @ sample)[1][:, ::-1])


def _bounds(vectors: Floats, axes: Floats) -> Floats:
    """Return vectors whose products are upper bounds of those of `vectors`, with a quarter of the numbers.

    In rotated axes a product is that of the first ones plus that of the rest, which is at most the product of the
    lengths of the rests (Cauchy and Schwarz): a number of its own.
    """
    first = vectors @ axes[:, :BOUND]
    rest = np.sqrt(np.maximum(np.square(vectors).sum(1) - np.square(first).sum(1), 0))
    return np.column_stack([first, rest + 1e-4])


def _above(rows: slice, columns: slice, mine: Floats, known: Floats, low: Floats, high: Floats) -> Found:
    """Return images of `rows`, images of `columns` before them and their products, where these are above `LIKE`."""
    bound = low[rows] @ high[columns].T
    i, j = np.divmod(np.flatnonzero(bound > LIKE), bound.shape[1])
    i, j = i + rows.start, j + columns.start
    i, j = i[j < i], j[j < i]
    like = np.concatenate([np.zeros(0, np.float32), *(
        np.einsum("ij,ij->i", mine[i[k : k + ROWS]], known[j[k : k + ROWS]]) for k in range(0, len(i), ROWS)
    )])  # fmt: skip
    return i[like > LIKE], j[like > LIKE], like[like > LIKE]


def _compare(small: Bytes, image: int, others: Ints, flipped: Bools) -> Pairs:
    """Return the pairs of an image and its candidates that are at least suspects."""
    margin = (SIDE - CORE) // 2
    inner = slice(margin - SHIFT, margin + CORE + SHIFT)
    windows = sliding_window_view(small[image, :, inner, inner], (CORE, CORE), axis=(1, 2))
    shifted = _unit(np.moveaxis(windows, 0, 2).reshape(-1, 3, CORE**2))  # (25, 3 x 26 x 26)
    core = small[others, :, margin : margin + CORE, margin : margin + CORE]
    core[flipped] = core[flipped][..., ::-1]
    similarity = (shifted @ _unit(core.reshape(-1, 3, CORE**2)).T).max(0)
    keep = np.flatnonzero(similarity >= SUSPECT)
    order = keep[np.lexsort((-similarity[keep], others[keep]))]
    _, once = np.unique(others[order], return_index=True)  # an image and its mirror image: the more similar of them
    kept = order[once]
    return Pairs(np.full(len(kept), image), others[kept], similarity[kept], flipped[kept])


def _unit(cells: Bytes) -> Floats:
    """Return cells (n, 3, m), each colour about its mean, as vectors of length 1: float32 (n, 3 m); 0 of plain ones."""
    centred = cells.astype(np.float32)
    centred -= centred.mean(2, keepdims=True)
    flat = centred.reshape(len(cells), -1)
    length = np.sqrt(np.einsum("ij,ij->i", flat, flat))[:, None]
    return np.asarray(flat / np.maximum(length, 1.0), dtype=np.float32)
