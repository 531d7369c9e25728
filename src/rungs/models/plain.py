"""Plain convolutional nets: stages of convolutions with a max pool after each, then linear layers.

Seed 003's best network is one of these, and so is VGG (Simonyan and Zisserman 2014, arXiv:1409.1556).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from rungs.errors import UserError


class PlainNet(nn.Module):
    """Stages of [conv, (BatchNorm,) ReLU] x n and a max pool, then [linear, ReLU, (dropout)] x m, then a linear layer.

    Args:
        stages: Output channels of each convolution, a sequence per stage.
        hidden: Sizes of the hidden linear layers.
        dropout: Probability after each hidden layer, from the first; layers beyond the list have none.
        kernel_size: Of every convolution, odd; padded so that the map keeps its size.
        batch_norm: Whether a BatchNorm stands between each convolution and its ReLU.
        image_size: Height and width of the images in pixels.
        classes: Number of logits.

    Raises:
        UserError: A pool would leave nothing of the map, or the kernel size is even.
    """

    def __init__(
        self,
        *,
        stages: Sequence[Sequence[int]],
        hidden: Sequence[int],
        dropout: Sequence[float],
        kernel_size: int,
        batch_norm: bool,
        image_size: int,
        classes: int,
    ) -> None:
        super().__init__()
        side = image_size >> len(stages)
        if side < 1:
            what = f"{len(stages)} max pools leave nothing of an image of {image_size} pixels"
            raise UserError(what, where="model.stages", do="use fewer stages or a larger data.image_size")
        if kernel_size % 2 == 0:
            raise UserError(
                f"{kernel_size} is even: the map would not keep its size",
                where="model.kernel_size",
                do="use an odd one",
            )
        self.features = _stages(stages, kernel_size, batch_norm)  # (B, 3, H, W) -> (B, C, H / 2^stages, W / 2^stages)
        self.head = _head([stages[-1][-1] * side * side, *hidden], dropout, classes)  # (B, C * side * side) -> (B, K)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.features(x).flatten(1))  # type: ignore[no-any-return]


def _stages(stages: Sequence[Sequence[int]], kernel_size: int, batch_norm: bool) -> nn.Sequential:
    layers: dict[str, nn.Module] = {}
    channels = 3
    for s, stage in enumerate(stages, 1):
        for i, width in enumerate(stage, 1):
            bias = not batch_norm  # a BatchNorm takes the mean away, and a bias with it
            layers[f"conv{s}_{i}"] = nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=bias)
            if batch_norm:
                layers[f"norm{s}_{i}"] = nn.BatchNorm2d(width)
            layers[f"relu{s}_{i}"] = nn.ReLU(inplace=True)
            channels = width
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
