"""A convolution that is computed in another way than torch's, for the sizes of maps where that is faster on a CPU."""

from __future__ import annotations

from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.models.depthwise import COLUMNS, DepthwiseByColumns
from rungs.models.kernel_gradient import WAYS as GRADIENTS
from rungs.models.kernel_gradient import ConvWithGradient
from rungs.models.winograd import conv3x3

Pair: TypeAlias = tuple[int, int]
"""Down and across."""
WAYS = (*GRADIENTS, "winograd")
"""Torch's own; two that compute the kernel's gradient differently; Winograd's, for float32 and 3x3 kernels alone."""
DEPTHWISE_WAYS = ("torch", "columns")
"""Of a kernel for each channel: torch's own; gradients by a few columns of the kernel at once."""


def convolve(x: Tensor, weight: Tensor, way: str, stride: Pair = (1, 1), padding: Pair | None = None) -> Tensor:
    """Return `F.conv2d`.

    Args:
        x: (B, Cin, H, W).
        weight: (Cout, Cin, k, k) of the same dtype, k odd; 3 for "winograd", and float32 or float64; (C, 1, k, k) for
            "columns".
        way: One of those above; a `KeyError` for any other.
        stride: All but "torch" and "columns" have 1.
        padding: By default maps keep their size, as all but "torch" and "columns" have it.

    Returns:
        (B, Cout, H / stride, W / stride).
    """
    padding = (weight.shape[2] // 2, weight.shape[3] // 2) if padding is None else padding
    if way == "torch":
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1] // weight.shape[1])
    if way == "winograd":
        return conv3x3(x, weight)
    x = x.contiguous(memory_format=torch.channels_last)
    if way == "columns":
        by_columns: Tensor = DepthwiseByColumns.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return by_columns
    out: Tensor = ConvWithGradient.apply(x, weight, way)  # type: ignore[no-untyped-call]
    return out


class FastConv2d(nn.Conv2d):
    """A convolution with another way than torch's for each size of map that it is known to be faster for.

    Attributes:
        ways: (H, W) -> one of `ways_of`; other sizes are left to torch.
    """

    def __init__(self, conv: nn.Conv2d, ways: dict[tuple[int, int], str]) -> None:
        stride, padding = cast(Pair, conv.stride), padding_of(conv)
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size[0], stride, padding, groups=conv.groups, device="meta"
        )
        self.weight, self.bias, self.ways = conv.weight, conv.bias, ways
        self.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, Cin, H, W) to (B, Cout, H, W)."""
        way, weight = self.ways.get((x.shape[2], x.shape[3])) if x.ndim == 4 else None, self.weight
        if way is None or x.device.type != "cpu":
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        is_exact = x.dtype == weight.dtype == torch.float32  # enough for Winograd's sums
        if not (is_exact if way == "winograd" else torch.is_grad_enabled()):
            return super().forward(x)
        out = convolve(x, weight, way, cast(Pair, self.stride), padding_of(self))
        return out if self.bias is None else out + self.bias.to(out.dtype).view(1, -1, 1, 1)


def fits(conv: nn.Conv2d) -> bool:
    """Return whether a convolution can be a `FastConv2d`.

    A convolution to which a user has attached anything, such as a hook or a parametrisation, is left as it is.
    """
    side = conv.kernel_size[0]
    square = conv.kernel_size == (side, side) and side % 2 == 1 and side > 1
    if not (_is_plain(conv) and square and conv.dilation == (1, 1) and conv.padding_mode == "zeros"):
        return False
    if is_depthwise(conv):
        return conv.padding != "valid"
    return padding_of(conv) == (side // 2, side // 2) and (conv.stride, conv.groups) == ((1, 1), 1)


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Return whether each channel has a kernel of its own."""
    return 1 < conv.groups == conv.in_channels == conv.out_channels


def padding_of(conv: nn.Conv2d) -> Pair:
    """Return the padding of a convolution with a square kernel, in pixels; "same" of an odd kernel."""
    side = conv.kernel_size[0]
    return (side // 2, side // 2) if conv.padding == "same" else cast(Pair, conv.padding)


def ways_of(conv: nn.Conv2d, dtype: torch.dtype) -> tuple[str, ...]:
    """Return the ways to compute a convolution that fits, torch's first, without those that cannot be faster."""
    side = conv.kernel_size[0]
    if is_depthwise(conv):
        is_slow = side > COLUMNS or (dtype == torch.bfloat16 and conv.stride != (1, 1))
        return DEPTHWISE_WAYS if is_slow else DEPTHWISE_WAYS[:1]
    return WAYS if side == 3 and dtype == torch.float32 else tuple(GRADIENTS)


def _is_plain(conv: nn.Conv2d) -> bool:
    hooks = (conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)
    own = {name for name, _ in conv.named_parameters()} | {name for name, _ in conv.named_buffers()}
    return type(conv) is nn.Conv2d and not any(hooks) and "weight" in own and own <= {"weight", "bias"}
