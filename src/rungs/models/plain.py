"""Plain convolutional nets: stages of convolutions with a max pool after each, then linear layers.

Seed 003's best network is one of these, and so is VGG (Simonyan and Zisserman 2014, arXiv:1409.1556).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from rungs.errors import UserError


class PlainNet(nn.Module):
    """Stages of [conv, (BatchNorm,) ReLU] x n and a max pool, then [linear, ReLU, (dropout)] x m, then a linear layer.

    Args:
        stages: Output channels of each convolution, a sequence per stage.
        hidden: Sizes of the hidden linear layers.
        dropout: Probability after each hidden layer, from the first; layers beyond the list have none.
        kernel_size: Of every convolution, odd.
        batch_norm: Whether a BatchNorm comes between each convolution and its ReLU.
        padding: "same" keeps the size of the map; with "none" each convolution crops its border.
        dilation: Distance of the kernel's taps, in pixels; 1 is a usual convolution.
        downsample: "pool", or "stride": the last convolution of each stage has stride 2, and there is no pool.
        feature_dropout: Probability before the first linear layer.
        image_size: Height and width of the images in pixels.
        classes: Number of logits.

    Raises:
        UserError: A layer would shrink the map to nothing, or the kernel size is even.
    """

    def __init__(
        self,
        *,
        stages: Sequence[Sequence[int]],
        hidden: Sequence[int],
        dropout: Sequence[float],
        kernel_size: int,
        batch_norm: bool,
        padding: Literal["same", "none"],
        dilation: int,
        downsample: Literal["pool", "stride"],
        feature_dropout: float,
        image_size: int,
        classes: int,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            what = f"{kernel_size} is even: the map would change its size"
            raise UserError(what, where="model.kernel_size", do="use an odd kernel size")
        lost = 0 if padding == "same" else dilation * (kernel_size - 1)  # pixels of the map, per convolution
        side = image_size
        for stage in stages:
            side = (side - lost * len(stage) + (downsample == "stride")) // 2  # a stride rounds up, a pool down
        if side < 1:
            shrink = "1 stage shrinks" if len(stages) == 1 else f"{len(stages)} stages shrink"
            what = f"{shrink} an image of {image_size} pixels to nothing"
            raise UserError(what, where="model.stages", do="use fewer stages or a larger data.image_size")
        self.features = _stages(stages, kernel_size, batch_norm, padding, dilation, downsample)
        self.drop = nn.Dropout(feature_dropout) if feature_dropout else nn.Identity()
        self.head = _head([stages[-1][-1] * side * side, *hidden], dropout, classes)  # (B, C * side * side) -> (B, K)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.drop(self.features(x).flatten(1)))  # type: ignore[no-any-return]


def _stages(
    stages: Sequence[Sequence[int]], kernel_size: int, batch_norm: bool, padding: str, dilation: int, downsample: str
) -> nn.Sequential:
    """Return the convolutional part: (B, 3, H, W) -> (B, C, side, side)."""
    layers: dict[str, nn.Module] = {}
    channels = 3
    pad = dilation * (kernel_size // 2) if padding == "same" else 0
    for s, stage in enumerate(stages, 1):
        for i, width in enumerate(stage, 1):
            stride = 2 if downsample == "stride" and i == len(stage) else 1
            bias = not batch_norm  # a BatchNorm subtracts the mean, and any bias with it
            layers[f"conv{s}_{i}"] = nn.Conv2d(channels, width, kernel_size, stride, pad, dilation, bias=bias)
            if batch_norm:
                layers[f"norm{s}_{i}"] = nn.BatchNorm2d(width)
            layers[f"relu{s}_{i}"] = nn.ReLU(inplace=True)
            channels = width
        if downsample == "pool":
            layers[f"pool{s}"] = nn.MaxPool2d(2)
    return nn.Sequential(OrderedDict(layers))


def _head(sizes: Sequence[int], dropout: Sequence[float], classes: int) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        layers[f"fc{i}"] = nn.Linear(inputs, outputs)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        if i <= len(dropout) and dropout[i - 1] > 0:
            layers[f"dropout{i}"] = nn.Dropout(dropout[i - 1])
    layers[f"fc{len(sizes)}"] = nn.Linear(sizes[-1], classes)
    return nn.Sequential(OrderedDict(layers))
