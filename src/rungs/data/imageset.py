"""`ImageSet`, the common type of all data sources."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rungs.data.reading import DEFAULT, Reading
from rungs.run.record import Problem


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels, in memory or mapped from a file.

    Attributes:
        pixels: uint8 (M, 3, H, W), RGB; the parts that are cut from one source share it. Where a head alone is
            trained: float32 (M, F), features.
        labels: int64 (N,), positions in `classes`.
        classes: K names.
        hash: SHA-256 (hex) of images, labels and class names: see `content_hash`.
        paths: N names of files, where images come from files.
        rows: int64 (N,), which of `pixels` are this set's images; None: all, in order (M = N).
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    hash: str
    paths: Sequence[str] | None = None
    rows: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> int:
        """Height and width in pixels; all sets are square by the time they are an ImageSet."""
        return int(self.pixels.shape[-1])

    @property
    def images(self) -> torch.Tensor:
        """All images, uint8 (N, 3, H, W): a copy in memory when this set is a part of another."""
        return self.pixels if self.rows is None else self.pixels.index_select(0, self.rows)

    def at(self, index: torch.Tensor) -> torch.Tensor:
        """Return the images at `index`, int64 (B,), as uint8 (B, 3, H, W), on the device of the pixels."""
        index = index.to(self.pixels.device)
        return self.pixels.index_select(0, index if self.rows is None else self.rows.index_select(0, index))

    def blocks(self, size: int = 4096) -> Iterator[torch.Tensor]:
        """Yield all images in order, uint8 (up to `size`, 3, H, W): a mapped set need not fit into memory."""
        for start in range(0, len(self), size):
            yield self.at(torch.arange(start, min(start + size, len(self))))

    def counts(self) -> tuple[int, ...]:
        """Return the images per class, (K,)."""
        return tuple(torch.bincount(self.labels, minlength=len(self.classes)).tolist())

    def take(self, index: torch.Tensor) -> ImageSet:
        """Return the part at `index`, int64 (M,), in that order; no image is copied; its hash depends on `index`."""
        paths = None if self.paths is None else [self.paths[i] for i in index.tolist()]
        taken = hashlib.sha256(self.hash.encode() + index.cpu().numpy().tobytes()).hexdigest()
        index = index.to(self.labels.device)
        rows = index if self.rows is None else self.rows[index]
        return ImageSet(self.pixels, self.labels[index], self.classes, taken, paths, rows)


@dataclass(frozen=True)
class Source:
    """The contents of a data source, before it is split.

    Attributes:
        name: As the user gave it, "folder:photos".
        origin: Where it was found, for people.
        train: All images that are not in the sets below.
        validation: The source's own validation set, if it has one.
        test: The source's own test set, if it has one.
        canonical: True where the content is the published data set; None where there is no published one.
        problems: Files that are not in the sets (unreadable, empty) or are doubtful.
        extent: The smallest and the largest picture by area, each (width, height) in pixels as stored, before they
            were cut and resized; None where there is no picture.
        groups: N values of the column that a recipe groups the training images by; None: it names none.
        notes: How its files were read, for people: the layout of its folders, what was ignored.
        reading: How it was asked to be read; None where it was not opened by `rungs.data.load`.
    """

    name: str
    origin: str
    train: ImageSet
    validation: ImageSet | None = None
    test: ImageSet | None = None
    canonical: bool | None = None
    problems: tuple[Problem, ...] = ()
    extent: tuple[tuple[int, int], tuple[int, int]] | None = None
    groups: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    reading: Reading | None = None


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Return two sets of the same classes as one, the first's images first; those of one cached source are not copied.

    Its hash is that of both sets' hashes.
    """
    digest = hashlib.sha256(f"{first.hash} {second.hash}".encode()).hexdigest()
    paths = None if first.paths is None or second.paths is None else [*first.paths, *second.paths]
    pixels = _adjacent(first, second)
    if pixels is None:
        pixels = torch.cat([first.images, second.images])
    return ImageSet(pixels, torch.cat([first.labels, second.labels]), first.classes, digest, paths)


def _adjacent(first: ImageSet, second: ImageSet) -> torch.Tensor | None:
    """Return the pixels of both where they follow one another in memory, or in one mapped file; else None."""
    one, two = first.pixels, second.pixels
    same = one.untyped_storage().data_ptr() == two.untyped_storage().data_ptr()
    if not same or first.rows is not None or second.rows is not None:
        return None
    if two.storage_offset() != one.storage_offset() + one.numel() or not one.is_contiguous():
        return None
    return one.as_strided((len(one) + len(two), *one.shape[1:]), one.stride(), one.storage_offset())


def content_hash(images: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]) -> str:
    """Return the SHA-256 (hex) of a set's content, whatever file it came from.

    Args:
        images: uint8 (N, 3, H, W).
        labels: int64 (N,).
        classes: K names.
    """
    digest = hashlib.sha256(repr((tuple(images.shape), tuple(classes))).encode())
    digest.update(labels.contiguous().numpy().data)
    for part in torch.split(images, 4096):  # a mapped set need not fit into memory
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def image_set(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: Sequence[str],
    image_size: int | None,
    reading: Reading = DEFAULT,
) -> ImageSet:
    """Make an `ImageSet`, resized where `image_size` is given and is not the images' own.

    Args:
        images: uint8 (N, 3, H, W), RGB.
        labels: int64 (N,).
        classes: K names.
        image_size: Height and width in pixels, or None.
        reading: How images are cropped and resized.
    """
    if image_size is not None and (images.shape[2:] != (image_size, image_size) or reading.crop < 1):
        from rungs.data.decode import resize_array

        images = resize_array(images, image_size, reading.interpolation, reading.crop)  # (N, 3, image_size, image_size)
    pixels, truth = torch.from_numpy(images), torch.from_numpy(labels)
    return ImageSet(pixels, truth, tuple(classes), content_hash(pixels, truth, classes))
