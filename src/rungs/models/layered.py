"""Nets specified layer by layer: the small nets of seeds 000, 001 and 002."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from rungs.errors import UserError
from rungs.recipe.models import ConvLayer, LinearLayer

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
"""By their names in recipes, except "none"."""


class LayeredNet(nn.Module):
    """Convolutions, then hidden linear layers, then a linear layer to the logits.

    Args:
        convs: Each convolution with its pool, activation and norm.
        linears: Each hidden linear layer with its activation, norm and dropout.
        image_size: Height and width of the images in pixels.
        classes: Number of logits.

    Raises:
        UserError: A convolution or a pool would shrink the map to nothing.
    """

    def __init__(
        self, *, convs: Sequence[ConvLayer], linears: Sequence[LinearLayer], image_size: int, classes: int
    ) -> None:
        super().__init__()
        inputs, side = 3, image_size
        features: list[tuple[str, nn.Module]] = []
        for i, conv in enumerate(convs, 1):
            side = _side(conv, side, f"model.convs.{i - 1}")
            features += _conv(conv, inputs, i)
            inputs = conv.channels
        self.features = nn.Sequential(OrderedDict(features))  # (B, 3, H, W) -> (B, C, side, side)
        inputs *= side * side
        head: list[tuple[str, nn.Module]] = []
        for i, linear in enumerate(linears, 1):
            head += _linear(linear, inputs, i)
            inputs = linear.features
        head.append((f"fc{len(linears) + 1}", nn.Linear(inputs, classes)))
        self.head = nn.Sequential(OrderedDict(head))  # (B, C * side * side) -> (B, K)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.features(x).flatten(1))  # type: ignore[no-any-return]


def _side(conv: ConvLayer, side: int, where: str) -> int:
    """Return the height and width of the map after one layer."""
    after = (side + 2 * conv.padding - conv.kernel_size) // conv.stride + 1
    after = after if conv.pool == "none" else after // 2
    if side + 2 * conv.padding < conv.kernel_size or after < 1:
        what = f"this layer shrinks a map of {side} x {side} to nothing"
        raise UserError(
            what, where=where, do="add padding, use a smaller kernel_size, no pool, or a larger data.image_size"
        )
    return after


def _conv(spec: ConvLayer, inputs: int, i: int) -> Iterable[tuple[str, nn.Module]]:
    yield f"conv{i}", nn.Conv2d(inputs, spec.channels, spec.kernel_size, spec.stride, spec.padding)
    norm = (f"norm{i}", nn.BatchNorm2d(spec.channels, affine=spec.affine))
    if spec.norm == "before":
        yield norm
    if spec.activation != "none":
        yield f"{spec.activation}{i}", ACTIVATIONS[spec.activation]()
    if spec.pool != "none":
        yield f"pool{i}", nn.MaxPool2d(2) if spec.pool == "max" else nn.AvgPool2d(2)
    if spec.norm == "after":
        yield norm


def _linear(spec: LinearLayer, inputs: int, i: int) -> Iterable[tuple[str, nn.Module]]:
    yield f"fc{i}", nn.Linear(inputs, spec.features)
    norm = (f"norm{i}", nn.BatchNorm1d(spec.features, affine=spec.affine))
    if spec.norm == "before":
        yield norm
    if spec.activation != "none":
        yield f"{spec.activation}{i}", ACTIVATIONS[spec.activation]()
    if spec.norm == "after":
        yield norm
    if spec.dropout > 0:
        yield f"dropout{i}", nn.Dropout(spec.dropout)
