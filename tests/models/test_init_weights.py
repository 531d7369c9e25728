"""First weights: equal wherever the name and the shape of a layer agree."""

from __future__ import annotations

import zlib

import pytest
import torch
from torch import Tensor, nn

from rungs.models import build_model
from rungs.models.init_weights import draw_weights
from rungs.recipe.models import AnyModel, ResNet18
from rungs.recipe.seeds import derive
from rungs.study.ladder import spec as ladder_spec


def first_weights(spec: AnyModel, seed: int = 0) -> dict[str, Tensor]:
    net = build_model(spec, image_size=32, classes=10)
    draw_weights(net, lambda name: derive(seed, "weights", zlib.crc32(name.encode())))
    return {name: weight.detach() for name, weight in net.named_parameters() if name.endswith("weight")}


@pytest.mark.parametrize("name", ["first-cnn", "deep-then-regularise", "what-matters"])
def test_rungs_start_from_the_same_weights_where_shapes_agree(name: str) -> None:
    ladder, base = ladder_spec.load(name)
    first, *others = (first_weights(cell.recipe.model) for cell in ladder_spec.cells(ladder, base, seeds=1)[:20])
    agreed = 0
    for other in others:
        shared = [key for key in first.keys() & other.keys() if first[key].shape == other[key].shape]
        assert all(torch.equal(first[key], other[key]) for key in shared)
        agreed += len(shared)
    assert agreed >= len(others)


def test_another_seed_and_another_layer_draw_other_weights() -> None:
    ladder, base = ladder_spec.load("first-cnn")
    spec = ladder_spec.cells(ladder, base, seeds=1)[0].recipe.model
    one, other = first_weights(spec, 0), first_weights(spec, 1)
    assert not any(torch.equal(one[key], other[key]) for key in one)
    plain = first_weights(ladder_spec.load("what-matters")[1].model)
    assert not torch.equal(
        plain["features.conv2_1.weight"].flatten()[:100], plain["features.conv2_2.weight"].flatten()[:100]
    )


def test_layers_draw_as_they_would_have_been_built() -> None:
    """He's normal over the outputs for a ResNet's convolutions, PyTorch's uniform for linear ones; norms stay."""
    net = build_model(ResNet18(), image_size=32, classes=10)
    draw_weights(net, lambda name: zlib.crc32(name.encode()))
    conv = net.get_submodule("layer4.1.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
    linear = net.get_submodule("fc")
    assert isinstance(linear, nn.Linear)
    assert linear.weight.abs().max().item() == pytest.approx(1 / 512**0.5, rel=0.01)
    norm = net.get_submodule("bn1")
    assert torch.equal(norm.weight, torch.ones(64)) and torch.equal(norm.bias, torch.zeros(64))
