"""Nets written out layer by layer: what the seeds printed, the order of a layer's parts, what cannot be built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.layered import LayeredNet
from rungs.recipe.models import ConvLayer, Layered, LinearLayer, NormPlace
from rungs.study.ladder import spec


def conv(inputs: int, channels: int, kernel: int) -> tuple[Any, ...]:
    return ("Conv2d", inputs, channels, (kernel, kernel), (1, 1), (0, 0))


def bn(dimensions: int, features: int) -> tuple[Any, ...]:
    return (f"BatchNorm{dimensions}d", features, 1e-5, 0.1, False, True)


NET_1 = [
    conv(3, 8, 5),
    ("MaxPool2d", 2, 2),
    conv(8, 16, 3),
    ("AvgPool2d", 2, 2),
    ("Linear", 576, 128, True),
    ("Linear", 128, 32, True),
    ("Linear", 32, 10, True),
]
"""As seed 002 printed it, without activations: in, out, kernel, stride, padding of a convolution ..."""
NET_2 = [
    conv(3, 20, 3), bn(2, 20), conv(20, 24, 3), conv(24, 32, 3), conv(32, 40, 3), ("MaxPool2d", 2, 2),
    conv(40, 48, 3), bn(2, 48), conv(48, 56, 3), conv(56, 64, 3), conv(64, 72, 3),
    ("Linear", 1152, 256, True), bn(1, 256), ("Dropout", 0.3), ("Linear", 256, 64, True),
    ("Linear", 64, 32, True), ("Dropout", 0.1), ("Linear", 32, 16, True), ("Linear", 16, 10, True),
]  # fmt: skip
"""... and features, eps, momentum, affine, running statistics of a BatchNorm."""


def facts(module: nn.Module) -> tuple[Any, ...]:
    match module:
        case nn.Conv2d():
            said = (module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
        case nn.Linear():
            said = (module.in_features, module.out_features, module.bias is not None)
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            said = (module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
        case nn.MaxPool2d() | nn.AvgPool2d():
            said = (module.kernel_size, module.stride)
        case nn.Dropout():
            said = (module.p,)
        case _:
            said = ()
    return (type(module).__name__, *said)


def leaves(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if not list(module.children())]


def kinds(net: nn.Module) -> list[str]:
    return [type(module).__name__ for module in leaves(net)]


def rung(ladder: str, name: str) -> nn.Module:
    cells = spec.cells(*spec.load(ladder), seeds=1, only=[name])
    recipe = cells[0].recipe
    assert recipe.data.image_size is not None
    return build_model(recipe.model, image_size=recipe.data.image_size, classes=10)


def net_of(*convs: ConvLayer, linears: tuple[LinearLayer, ...] = (), size: int = 32) -> nn.Module:
    return build_model(Layered(convs=convs, linears=linears), image_size=size, classes=10)


@pytest.mark.parametrize(("name", "parameters"), [("net-1", 80_090), ("net-2", 453_242), ("resnet18", 11_181_642)])
def test_the_three_nets_have_the_parameters_of_the_seed(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in rung("three-nets", name).parameters()) == parameters


@pytest.mark.parametrize(("name", "printed"), [("net-1", NET_1), ("net-2", NET_2)])
def test_the_layers_are_those_that_the_seed_printed(name: str, printed: list[tuple[Any, ...]]) -> None:
    net = rung("three-nets", name)
    assert [facts(module) for module in leaves(net) if not isinstance(module, nn.ReLU)] == printed
    for module in leaves(net):
        if isinstance(module, nn.MaxPool2d):
            assert (module.padding, module.dilation, module.ceil_mode) == (0, 1, False)


def test_every_layer_but_the_last_has_a_relu_behind_its_norm() -> None:
    net = rung("three-nets", "net-2")
    found = [kind for kind in kinds(net) if kind not in ("MaxPool2d", "Dropout")]
    assert found[-1] == "Linear"
    assert found.count("ReLU") == found.count("Conv2d") + found.count("Linear") - 1
    for i, kind in enumerate(found[:-1]):
        if kind in ("Conv2d", "Linear"):
            assert found[i + 1] == "ReLU" or (found[i + 1].startswith("BatchNorm") and found[i + 2] == "ReLU")


@pytest.mark.parametrize(("name", "inputs"), [("initial", 1400), ("second-pool", 350), ("relu", 350)])
def test_the_first_linear_layer_of_the_first_net(name: str, inputs: int) -> None:
    linear = next(module for module in leaves(rung("first-cnn", name)) if isinstance(module, nn.Linear))
    assert linear.in_features == inputs


def test_the_first_net_has_no_activation_until_the_relus() -> None:
    assert {"ReLU", "Sigmoid"}.isdisjoint(kinds(rung("first-cnn", "initial")))
    assert kinds(rung("first-cnn", "relu")) == ["Conv2d", "ReLU", "MaxPool2d"] * 2 + ["Linear"] * 3


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        ("none", ["Conv2d", "ReLU", "MaxPool2d"]),
        ("before", ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]),
        ("after", ["Conv2d", "ReLU", "MaxPool2d", "BatchNorm2d"]),
    ],
)
def test_the_order_behind_a_convolution(norm: NormPlace, order: list[str]) -> None:
    layer = ConvLayer(channels=4, pool="max", norm=norm)
    assert kinds(net_of(layer, layer)) == [*order, *order, "Linear"]


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        ("none", ["Linear", "ReLU", "Dropout"]),
        ("before", ["Linear", "BatchNorm1d", "ReLU", "Dropout"]),
        ("after", ["Linear", "ReLU", "BatchNorm1d", "Dropout"]),
    ],
)
def test_the_order_behind_a_linear_layer(norm: NormPlace, order: list[str]) -> None:
    layer = LinearLayer(features=6, norm=norm, dropout=0.25)
    net = net_of(ConvLayer(channels=4), linears=(layer, layer))
    assert kinds(net) == ["Conv2d", "ReLU", *order, *order, "Linear"]
    assert [module.p for module in leaves(net) if isinstance(module, nn.Dropout)] == [0.25, 0.25]


def test_each_layer_says_its_own_activation_pool_and_norm() -> None:
    net = net_of(
        ConvLayer(channels=4, activation="sigmoid", pool="average", norm="after", affine=False),
        ConvLayer(channels=5, activation="none"),
        linears=(LinearLayer(features=7, activation="sigmoid"), LinearLayer(features=6, activation="none")),
    )
    features = ["Conv2d", "Sigmoid", "AvgPool2d", "BatchNorm2d", "Conv2d"]
    assert kinds(net) == [*features, "Linear", "Sigmoid", "Linear", "Linear"]
    norms = [module.affine for module in leaves(net) if isinstance(module, nn.BatchNorm2d)]
    assert norms == [False]


@pytest.mark.parametrize(
    ("conv", "size", "side"),
    [
        (ConvLayer(channels=2), 32, 30),
        (ConvLayer(channels=2, padding=1), 32, 32),
        (ConvLayer(channels=2, padding=1, pool="max"), 33, 16),
        (ConvLayer(channels=2, padding=1, stride=2), 33, 17),
        (ConvLayer(channels=2, kernel_size=5, stride=3), 28, 8),
        (ConvLayer(channels=2, kernel_size=4, pool="average"), 30, 13),
        (ConvLayer(channels=2, kernel_size=1, padding=2), 8, 12),
        (ConvLayer(channels=2, kernel_size=8), 8, 1),
        (ConvLayer(channels=2, kernel_size=8, stride=5), 9, 1),
    ],
)
def test_the_head_knows_the_map_that_is_left(conv: ConvLayer, size: int, side: int) -> None:
    net = net_of(conv, size=size)
    assert isinstance(net, LayeredNet)
    images = torch.rand(2, 3, size, size)
    assert net.features(images).shape == (2, 2, side, side)
    assert net(images).shape == (2, 10)


@pytest.mark.parametrize("size", [26, 31, 32, 64])
@pytest.mark.parametrize("name", ["net-1", "net-2"])
def test_the_nets_of_the_seed_take_images_of_other_sizes(name: str, size: int) -> None:
    (cell,) = spec.cells(*spec.load("three-nets"), seeds=1, only=[name])
    net = build_model(cell.recipe.model, image_size=size, classes=7)
    assert net(torch.rand(3, 3, size, size)).shape == (3, 7)


@pytest.mark.parametrize(
    ("convs", "where", "side"),
    [
        ((ConvLayer(channels=2, kernel_size=9),), "model.convs.0", 8),
        ((ConvLayer(channels=2), ConvLayer(channels=2, kernel_size=7)), "model.convs.1", 6),
        ((ConvLayer(channels=2, kernel_size=8, pool="max"),), "model.convs.0", 8),
        ((ConvLayer(channels=2, padding=1, pool="max"),) * 4, "model.convs.3", 1),
    ],
)
def test_a_layer_that_leaves_nothing_is_named(convs: tuple[ConvLayer, ...], where: str, side: int) -> None:
    with pytest.raises(UserError) as caught:
        net_of(*convs, size=8)
    assert caught.value.where == where
    assert caught.value.what == f"this layer shrinks a map of {side} x {side} to nothing"
    assert caught.value.do == "add padding, use a smaller kernel_size, no pool, or a larger data.image_size"


def test_a_layer_that_leaves_one_pixel_is_built() -> None:
    assert net_of(*[ConvLayer(channels=2, padding=1, pool="max")] * 3, size=8)(torch.rand(1, 3, 8, 8)).shape == (1, 10)
