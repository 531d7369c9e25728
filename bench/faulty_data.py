"""Faults of the data, planted into a source or into the order of its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rungs.data.imageset import ImageSet, Source

Change: TypeAlias = Callable[[Source], Source]
"""Plants a fault into a source."""


def with_labels(part: ImageSet, labels: Tensor) -> ImageSet:
    """Return a part with other labels."""
    return dataclasses.replace(part, labels=labels, hash=f"{part.hash}-relabelled")


def with_pixels(part: ImageSet, pixels: Tensor) -> ImageSet:
    """Return a part with other pixels, uint8 (N, 3, H, W)."""
    return dataclasses.replace(part, pixels=pixels, rows=None, hash=f"{part.hash}-changed")


def cut(source: Source, validation: int, test: int = 0) -> Source:
    """Return a source whose first images are its own validation and test set, so that these can be changed alone."""
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(source.train)))
    parts = [source.train.take(one) for one in (order[:validation], order[validation : validation + test])]
    rest = source.train.take(order[validation + test :].sort().values)
    return dataclasses.replace(
        source, train=rest, validation=parts[0], test=parts[1] if test else source.test, canonical=None
    )


def noisy(share: float, *, everywhere: bool = True) -> Change:
    """Give a share of the labels to another class, chosen at random."""

    def relabel(part: ImageSet) -> ImageSet:
        draw = np.random.default_rng(1)
        wrong = torch.from_numpy(draw.random(len(part)) < share)
        shift = torch.from_numpy(draw.integers(1, len(part.classes), len(part)))
        return with_labels(part, torch.where(wrong, (part.labels + shift) % len(part.classes), part.labels))

    def change(source: Source) -> Source:
        if everywhere:
            return dataclasses.replace(source, train=relabel(source.train))
        apart = cut(source, 300, 300)
        return dataclasses.replace(apart, train=relabel(apart.train))

    return change


def neighbours_swapped(share: float) -> Change:
    """Label a share of the images of each class as the next class."""

    def change(source: Source) -> Source:
        part, draw = source.train, np.random.default_rng(2)
        wrong = torch.from_numpy(draw.random(len(part)) < share)
        return dataclasses.replace(
            source, train=with_labels(part, torch.where(wrong, (part.labels + 1) % len(part.classes), part.labels))
        )

    return change


def shuffled_names(source: Source) -> Source:
    """Number the classes of the validation and the test set in another order than those of training."""
    apart, order = cut(source, 300, 300), torch.tensor([3, 8, 0, 7, 1, 9, 2, 5, 6, 4])
    assert apart.validation is not None and apart.test is not None
    return dataclasses.replace(
        apart,
        validation=with_labels(apart.validation, order[apart.validation.labels]),
        test=with_labels(apart.test, order[apart.test.labels]),
    )


def test_inverted(source: Source) -> Source:
    """Make the test set's images negatives: another preprocessing than that of training."""
    apart = cut(source, 300, 300)
    assert apart.test is not None
    return dataclasses.replace(apart, test=with_pixels(apart.test, 255 - apart.test.images))


def without_a_class(source: Source) -> Source:
    """Leave the last class out of validation."""
    apart = cut(source, 330)
    assert apart.validation is not None
    kept = torch.nonzero(apart.validation.labels < len(source.train.classes) - 1).flatten()
    return dataclasses.replace(apart, validation=apart.validation.take(kept))


TRAINED = 3000
"""Images of CIFAR-10 that the planted trainings use: copies of others would be of images that nobody trained on."""


def near_copies(many: int) -> Change:
    """Replace validation images by training images that are a little brighter, with a little noise."""

    def change(source: Source) -> Source:
        apart = cut(source, 500)
        assert apart.validation is not None
        draw, kept = np.random.default_rng(3), apart.train.take(torch.arange(TRAINED))
        train, pixels = kept.images.numpy(), apart.validation.images.clone()
        for i in range(many):
            changed = train[i] * 0.95 + 8 + draw.normal(0, 3, train[i].shape)
            pixels[i] = torch.from_numpy(np.clip(changed, 0, 255).astype(np.uint8))
        labels = apart.validation.labels.clone()
        labels[:many] = kept.labels[:many]
        return dataclasses.replace(
            apart, train=kept, validation=with_labels(with_pixels(apart.validation, pixels), labels)
        )

    return change


def rare(many: int) -> Change:
    """Leave only so many images of the last class."""

    def change(source: Source) -> Source:
        labels = source.train.labels
        last = torch.nonzero(labels == len(source.train.classes) - 1).flatten()
        drop = torch.ones(len(labels), dtype=torch.bool)
        drop[last[many:]] = False
        return dataclasses.replace(source, train=source.train.take(torch.nonzero(drop).flatten()), canonical=None)

    return change
