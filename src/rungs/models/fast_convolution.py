"""A convolution that is computed in another way than torch's, for the sizes of maps where that is faster on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.models.kernel_gradient import WAYS as GRADIENTS
from rungs.models.kernel_gradient import ConvWithGradient
from rungs.models.winograd import conv3x3

WAYS = (*GRADIENTS, "winograd")
"""Torch's own; two that compute the kernel's gradient differently; Winograd's, for float32 and 3x3 kernels alone."""


def convolve(x: Tensor, weight: Tensor, way: str) -> Tensor:
    """Return `F.conv2d` of stride 1, padded so that maps keep their size.

    Args:
        x: (B, Cin, H, W).
        weight: (Cout, Cin, k, k) of the same dtype, k odd; 3 for "winograd", and float32 or float64.
        way: One of `WAYS`; a `KeyError` for any other.

    Returns:
        (B, Cout, H, W).
    """
    if way == "torch":
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)
    if way == "winograd":
        return conv3x3(x, weight)
    x = x.contiguous(memory_format=torch.channels_last)
    out: Tensor = ConvWithGradient.apply(x, weight, way)  # type: ignore[no-untyped-call]
    return out


class FastConv2d(nn.Conv2d):
    """A convolution with one of `WAYS` for each size of map that it is known to be faster for.

    Attributes:
        ways: (H, W) -> one of `WAYS`; other sizes are left to torch.
    """

    def __init__(self, conv: nn.Conv2d, ways: dict[tuple[int, int], str]) -> None:
        side = conv.kernel_size[0]
        super().__init__(conv.in_channels, conv.out_channels, side, padding=side // 2, device="meta")
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
        out = convolve(x, weight, way)
        return out if self.bias is None else out + self.bias.to(out.dtype).view(1, -1, 1, 1)


def fits(conv: nn.Conv2d) -> bool:
    """Return whether a convolution can be a `FastConv2d`.

    A convolution to which a user has attached anything, such as a hook or a parametrisation, is left as it is.
    """
    side = conv.kernel_size[0]
    padded = conv.padding in ("same", (side // 2, side // 2)) and conv.padding_mode == "zeros"
    square = conv.kernel_size == (side, side) and side % 2 == 1 and side > 1
    return _is_plain(conv) and square and padded and (conv.stride, conv.dilation, conv.groups) == ((1, 1), (1, 1), 1)


def _is_plain(conv: nn.Conv2d) -> bool:
    hooks = (conv._forward_hooks, conv._forward_pre_hooks, conv._backward_hooks, conv._backward_pre_hooks)
    own = {name for name, _ in conv.named_parameters()} | {name for name, _ in conv.named_buffers()}
    return type(conv) is nn.Conv2d and not any(hooks) and "weight" in own and own <= {"weight", "bias"}
