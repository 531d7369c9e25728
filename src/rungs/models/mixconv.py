"""Nets of mixed convolutions, after seed 004: parallel convolutions summed with weights that depend on the image.

The seed does not name it, but such a layer is a dynamic convolution (Chen et al. 2019, arXiv:1912.03458) whose
attention is a single linear layer, and which mixes outputs instead of kernels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rungs.errors import UserError
from rungs.models.layered import ACTIVATIONS


class WeightedSum(torch.autograd.Function):
    """The sum of K maps with K weights.

    The maps are large and the arithmetic is little, so that time is memory traffic: autograd alone would write each
    weighted map and, on the way back, gather the maps' gradients from K copies.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor) -> Tensor:
        """Contract (..., K, C, H, W) with (..., K) -> (..., C, H, W)."""
        ctx.save_for_backward(maps, weights)
        (first, *others), scales = maps.unbind(-4), weights[..., None, None, None].unbind(-4)
        total = first * scales[0]
        for one, scale in zip(others, scales[1:], strict=True):
            total.addcmul_(one, scale)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients by the maps, in their memory format, and by the weights."""
        (maps, weights), (grad,) = ctx.saved_tensors, grads
        by_maps = torch.empty_like(maps)  # a product's own format would be another
        torch.mul(grad.unsqueeze(-4), weights[..., None, None, None], out=by_maps)
        by_weights = torch.stack([(one * grad).sum((-3, -2, -1)) for one in maps.unbind(-4)], -1)
        return by_maps, by_weights


def weighted_sum(maps: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over K of maps (..., K, C, H, W), each times its weight (..., K), in the maps' precision."""
    weights = weights.to(maps.dtype)
    if torch.compiler.is_compiling():  # the compiler fuses the plain formula
        return (maps * weights[..., None, None, None]).sum(-4)
    total: Tensor = WeightedSum.apply(maps, weights)  # type: ignore[no-untyped-call]
    return total


class Mix(nn.Module):
    """Several convolutions of the same input; the output is their sum, with weights per image.

    The weights are a linear function of the input's channel means: `w = W mean(x) + b`, one for each branch.
    The convolutions are computed as one convolution with more output channels.

    Args:
        branches: From (B, inputs, H, W) to (B, many * C, H, W): all convolutions, with norm and activation.
        inputs: Channels of the input.
        many: Number of convolutions.
        normalised: Whether a softmax makes the weights positive and their sum 1.
    """

    def __init__(self, branches: nn.Module, inputs: int, many: int, *, normalised: bool) -> None:
        super().__init__()
        self.branches = branches
        self.weights = nn.Linear(inputs, many)
        self.normalised = normalised

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, inputs, H, W) to (B, C, H, W)."""
        weights = self.weights(x.mean((2, 3)))  # (B, many)
        if self.normalised:
            weights = weights.softmax(1)
        maps = self.branches(x).unflatten(1, (weights.shape[1], -1))  # (B, many, C, H, W)
        return weighted_sum(maps, weights)


class MixConvNet(nn.Module):
    """Blocks of mixed or consecutive convolutions, then a head.

    Args:
        channels: Of each block.
        convs: Convolutions in each block.
        combine: "mix", "mix-softmax" or "sequence".
        kernel_size: Of every convolution, odd; padded so that the map keeps its size.
        batch_norm: Whether a BatchNorm follows each convolution.
        activation: After each convolution, or its BatchNorm.
        dropout: Probability after each block.
        pool: Whether a 2x2 max pool ends each block, as long as the map is larger than a pixel.
        head: "average" over each map, or "flatten" the map.
        hidden: Sizes of the hidden linear layers, a ReLU after each.
        image_size: Height and width of the images in pixels.
        classes: Number of logits.

    Raises:
        UserError: Lists of different length, or an even kernel.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        convs: Sequence[int],
        combine: Literal["mix", "mix-softmax", "sequence"],
        kernel_size: int,
        batch_norm: bool,
        activation: str,
        dropout: float,
        pool: bool,
        head: Literal["average", "flatten"],
        hidden: Sequence[int],
        image_size: int,
        classes: int,
    ) -> None:
        super().__init__()
        _check(channels, convs, kernel_size)
        blocks: dict[str, nn.Module] = {}
        inputs, side = 3, image_size
        for i, (width, many) in enumerate(zip(channels, convs, strict=True), 1):
            make = _sequence if combine == "sequence" else _mixed
            blocks[f"block{i}"] = make(inputs, width, many, kernel_size, batch_norm, activation, combine)
            if pool and side > 1:
                blocks[f"pool{i}"] = nn.MaxPool2d(2)
                side //= 2
            if dropout > 0:
                blocks[f"dropout{i}"] = nn.Dropout(dropout)
            inputs = width
        self.blocks = nn.Sequential(OrderedDict(blocks))  # (B, 3, H, W) -> (B, C, side, side)
        self.reduce = nn.AdaptiveAvgPool2d(1) if head == "average" else nn.Identity()
        sizes = [inputs if head == "average" else inputs * side * side, *hidden]
        layers: list[nn.Module] = []
        for size, features in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(size, features), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))  # (B, ...) -> (B, K)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.reduce(self.blocks(x)).flatten(1))  # type: ignore[no-any-return]


def _check(channels: Sequence[int], convs: Sequence[int], kernel_size: int) -> None:
    if len(channels) != len(convs):
        what = f"{len(channels)} blocks in channels, {len(convs)} in convs"
        raise UserError(what, where="model.convs", do="give one number for each block in both")
    if kernel_size % 2 == 0:
        what = f"{kernel_size} is even: the map would change its size"
        raise UserError(what, where="model.kernel_size", do="use an odd kernel size")


def _unit(inputs: int, width: int, kernel_size: int, batch_norm: bool, activation: str) -> Iterable[nn.Module]:
    """Yield a convolution with its norm and activation."""
    yield nn.Conv2d(inputs, width, kernel_size, padding=kernel_size // 2, bias=not batch_norm)
    if batch_norm:
        yield nn.BatchNorm2d(width)
    if activation != "none":
        yield ACTIVATIONS[activation]()


def _mixed(
    inputs: int, width: int, many: int, kernel_size: int, batch_norm: bool, activation: str, combine: str
) -> nn.Module:
    branches = nn.Sequential(*_unit(inputs, many * width, kernel_size, batch_norm, activation))
    return Mix(branches, inputs, many, normalised=combine == "mix-softmax")


def _sequence(
    inputs: int, width: int, many: int, kernel_size: int, batch_norm: bool, activation: str, combine: str
) -> nn.Module:
    sizes = [inputs, *[width] * many]
    units = (_unit(a, b, kernel_size, batch_norm, activation) for a, b in pairwise(sizes))
    return nn.Sequential(*(module for unit in units for module in unit))
