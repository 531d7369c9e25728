"""Shuffled batches of any size and number of classes are not taken for sorted ones."""

from __future__ import annotations

import numpy as np
import pytest
import samples
from msgspec.structs import replace

from rungs.data.batches import spans
from rungs.diagnose.order import unshuffled
from rungs.run.record import RunRecord


def trained(images: tuple[int, ...], batch: int, *, epochs: int = 5, by_class: bool = False, balanced: bool = False):
    """Return a record whose shares of the most frequent class are those of such batches, as training counts them."""
    draw, labels = np.random.default_rng(7), np.repeat(np.arange(len(images)), images)
    if balanced:
        labels = np.resize(np.flatnonzero(images), len(labels))
    cuts = spans(len(labels), batch)
    last_of_tenths = sorted({len(cuts) * (k + 1) // min(10, len(cuts)) - 1 for k in range(min(10, len(cuts)))})
    record = samples.sized(len(images), 8)
    rows = []
    for row in record.history[:epochs]:
        seen = labels if by_class else draw.permutation(labels)
        batches = [np.bincount(seen[slice(*cuts[i])]) for i in last_of_tenths]
        rows.append(replace(row, class_share=float(np.mean([one.max() / one.sum() for one in batches]))))
    recipe = replace(record.recipe, training=replace(record.recipe.training, batch_size=batch))
    if balanced:
        recipe = replace(recipe, data=replace(recipe.data, balance="sampling"))
    data = replace(record.data, counts={**record.data.counts, "train": images})
    return replace(record, recipe=recipe, data=data, history=tuple(rows))


SETS = [
    ((50,) * 1000, 32),
    ((50,) * 1000, 256),
    ((50,) * 100, 4),
    ((410,) * 10, 1024),  # the last batch has 4 images
    ((26,) * 8 + (25,) * 2, 128),  # the last batch has 2 images
    ((900, 100), 64),
    ((20,) * 10, 1024),  # one batch holds all
    ((300,) + (5,) * 60, 32),
]


@pytest.mark.parametrize(("images", "batch"), SETS)
def test_shuffled_batches_are_left_in_peace(images: tuple[int, ...], batch: int) -> None:
    assert unshuffled(trained(images, batch)) is None
    assert unshuffled(trained(images, batch, epochs=1)) is None


@pytest.mark.parametrize(("images", "batch"), SETS[:5])
def test_batches_of_one_class_are_seen_whatever_their_size(images: tuple[int, ...], batch: int) -> None:
    found = unshuffled(trained(images, batch, by_class=True))
    assert found is not None and "most frequent class" in found.text


def test_balanced_sampling_changes_what_a_shuffled_batch_shows() -> None:
    uneven = (900, 50, 50)
    assert unshuffled(trained(uneven, 100, balanced=True)) is None
    natural: RunRecord = trained(uneven, 100)  # 90 % of a batch, where balance promises a third
    assert unshuffled(natural) is None
    data = replace(natural.recipe.data, balance="sampling")
    assert unshuffled(replace(natural, recipe=replace(natural.recipe, data=data))) is not None
