"""Gradients of a depthwise convolution that can be faster than torch's on a CPU.

Each channel of a depthwise convolution has a kernel of its own. oneDNN has fast code for the gradient of kernels up to
three columns wide; for wider ones it runs at a tenth of that speed, and in bf16 at a thirtieth. The columns of a kernel
do not depend on each other: those of a 5x5 kernel are the gradients of a 5x3 and a 5x2 kernel, the second of which sees
the input three pixels further right. In bf16 the gradient by the input is slow as well, where there is a stride: it is
computed in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

COLUMNS = 3
"""The widest kernel whose gradient oneDNN computes fast."""


class DepthwiseByColumns(torch.autograd.Function):
    """`F.conv2d` with a kernel for each channel, and gradients that are computed as above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        """Convolve (B, C, H, W) with (C, 1, k, k)."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients by x and by weight."""
        x, weight = ctx.saved_tensors
        dout = grads[0].contiguous(memory_format=torch.channels_last)
        dx = _by_input(x, dout, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        dweight = _by_kernel(x, dout, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return dx, dweight, None, None


def _by_input(x: Tensor, dout: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    dtype = x.dtype
    if dtype == torch.bfloat16 and stride != (1, 1):
        x, dout, weight = x.float(), dout.float(), weight.float()
    return _backward(x, dout, weight, stride, padding, (True, False))[0].to(dtype)


def _by_kernel(x: Tensor, dout: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    parts = []
    for first in range(0, weight.shape[3], COLUMNS):
        columns = weight[..., first : first + COLUMNS].contiguous(memory_format=torch.channels_last)
        left = padding[1] - first  # negative: cut off
        right = (dout.shape[3] - 1) * stride[1] + columns.shape[3] - x.shape[3] - left
        seen = F.pad(x, (left, right, 0, 0)).contiguous(memory_format=torch.channels_last)
        parts.append(_backward(seen, dout, columns, stride, (padding[0], 0), (False, True))[1])
    return torch.cat(parts, 3)


def _backward(
    x: Tensor,
    dout: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: tuple[bool, bool],
) -> tuple[Tensor, ...]:
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        dout, x, weight, None, stride, padding, (1, 1), False, (0, 0), x.shape[1], (*wanted, False)
    )
    return gradients
