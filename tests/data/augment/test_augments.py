"""What all augmentations promise, each in turn."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rungs.data.augment import AUGMENTS, Draw, apply
from rungs.recipe import augments
from rungs.recipe.base import name_of

CLASSES = 10
EACH = [
    augments.Crop(),
    augments.Crop(mode="reflect"),
    augments.ResizedCrop(),
    augments.Flip(),
    augments.Flip(alternating=True),
    augments.Rotate(),
    augments.Greyscale(p=0.5),
    augments.ColourJitter(hue=0.1),
    augments.Cutout(),
    augments.Mixup(alpha=1.0),
    augments.CutMix(),
]


def draw(n: int, seed: int = 0, epoch: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), epoch, torch.arange(n), CLASSES)


def batch(n: int = 16, size: int = 16) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(7)
    return torch.rand(n, 3, size, size, generator=g), torch.randint(CLASSES, (n,), generator=g)


def test_each_spec_has_its_function_and_its_fields_are_the_keywords() -> None:
    tags = {str(spec.__struct_config__.tag): spec for spec in get_args(augments.AnyAugment)}
    assert set(AUGMENTS) == set(tags)
    for tag, spec in tags.items():
        parameters = inspect.signature(AUGMENTS[tag]).parameters.values()
        assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == list(spec.__struct_fields__), tag
        assert all(p.default is p.empty for p in parameters), tag  # defaults are written once, in the spec


def test_each_augmentation_is_held_to_the_rules_below() -> None:
    assert {name_of(spec) for spec in EACH} == set(AUGMENTS)


@pytest.mark.parametrize("spec", EACH, ids=repr)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_keeps_shape_range_layout_and_the_callers_batch(spec: augments.AnyAugment, layout: torch.memory_format) -> None:
    x, y = batch()
    x = x.contiguous(memory_format=layout)
    images, labels = x.clone(), y.clone()
    out, _ = apply([spec], x, y, draw(len(x)))
    assert torch.equal(x, images) and torch.equal(y, labels)
    assert not torch.equal(out, x)
    assert (out.shape, out.dtype) == (x.shape, x.dtype)
    assert out.is_contiguous(memory_format=layout)
    assert out.min() >= 0 and out.max() <= 1


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_the_generator_is_the_only_randomness(spec: augments.AnyAugment) -> None:
    x, y = batch()
    torch.manual_seed(1)
    first, first_labels = apply([spec], x, y, draw(len(x), seed=3))
    state = torch.get_rng_state()
    again, again_labels = apply([spec], x, y, draw(len(x), seed=3))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator was not asked
    assert torch.equal(first, again) and torch.equal(first_labels, again_labels)
    if not getattr(spec, "alternating", False):  # that one depends on index and epoch alone
        assert not torch.equal(first, apply([spec], x, y, draw(len(x), seed=4))[0])


def test_the_generator_moves_on_between_batches() -> None:
    x, y = batch()
    one = draw(len(x))
    assert not torch.equal(apply([augments.Crop()], x, y, one)[0], apply([augments.Crop()], x, y, one)[0])


@settings(max_examples=30, deadline=None)
@given(
    chain=st.lists(st.sampled_from(EACH), max_size=5),
    n=st.integers(1, 5),
    size=st.sampled_from([8, 9, 32]),
    seed=st.integers(0, 2**31),
)
def test_any_chain_gives_images_and_labels(chain: list[augments.AnyAugment], n: int, size: int, seed: int) -> None:
    x, y = batch(n, size)
    out, labels = apply(chain, x, y, draw(n, seed))
    assert out.shape == x.shape and out.isfinite().all()
    assert out.min() >= -1e-6 and out.max() <= 1 + 1e-6
    if any(isinstance(spec, augments.Mixup | augments.CutMix) for spec in chain):
        assert labels.shape == (n, CLASSES) and (labels >= 0).all()
        torch.testing.assert_close(labels.sum(1), torch.ones(n))
    else:
        assert torch.equal(labels, y)


def test_no_augmentation_is_no_work() -> None:
    x, y = batch()
    out, labels = apply([], x, y, draw(len(x)))
    assert out is x and labels is y


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_works_where_the_batch_is(spec: augments.AnyAugment) -> None:
    x, y = (part.cuda() for part in batch())
    outs = []
    for _ in range(2):
        one = Draw(torch.Generator("cuda").manual_seed(0), 0, torch.arange(len(x), device="cuda"), CLASSES)
        outs.append(apply([spec], x, y, one))
    assert outs[0][0].device == x.device and outs[0][1].device == x.device
    assert all(torch.equal(a, b) for a, b in zip(*outs, strict=True))
