"""Ways to compute the gradient of a convolution's kernel that can be faster than torch's on a CPU.

The gradient of a kernel sums over all images and places. oneDNN splits this sum badly for small maps: on maps of 3 to
8 pixels it can run at a quarter of the speed of the forward pass. Two other ways to write the same sum:

- "strips": lay ten images side by side, zeros between them, and let torch work on a few wide maps;
- "product": copy each output's window of inputs into a row, and multiply two matrices.

Which of them is fastest depends on the chip and the shape: `rungs.training.convolutions` measures it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

STRIP = 10
"""Images side by side."""
ROWS_BYTES = 64e6
"""Most memory of the rows of windows, which a product reads; more images come in several products."""


def by_torch(x: Tensor, dout: Tensor, side: int) -> Tensor:
    """Return the gradient of a kernel as torch computes it.

    Args:
        x: The input, (B, Cin, H, W), channels last.
        dout: The gradient by the output, (B, Cout, H, W), channels last; the dtype of x.
        side: Height and width of the kernel, odd; stride 1, padded so that maps keep their size.

    Returns:
        (Cout, Cin, side, side).
    """
    return _backward(x, dout, _like_kernel(x, dout, side), (False, True, False))[1]


def by_strips(x: Tensor, dout: Tensor, side: int) -> Tensor:
    """Return the same from strips of images; see `by_torch`."""
    return by_torch(side_by_side(x, side // 2), side_by_side(dout, side // 2), side)


def by_product(x: Tensor, dout: Tensor, side: int) -> Tensor:
    """Return the same from one matrix product; see `by_torch`."""
    rim, cin, cout = side // 2, x.shape[1], dout.shape[1]
    images = max(1, int(ROWS_BYTES / (x[0].numel() * side**2 * x.element_size())))
    kernel = torch.zeros(cout, side * side * cin, dtype=torch.promote_types(x.dtype, torch.float32))
    for some, after in zip(torch.split(x, images), torch.split(dout, images), strict=True):
        padded = F.pad(some.permute(0, 2, 3, 1), (0, 0, rim, rim, rim, rim))  # (b, H + 2 rim, W + 2 rim, Cin)
        windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (b, H, W, Cin, side, side)
        rows = windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, side * side * cin)
        kernel += after.permute(0, 2, 3, 1).reshape(-1, cout).T @ rows
    return kernel.to(x.dtype).view(cout, side, side, cin).permute(0, 3, 1, 2)


WAYS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "torch": by_torch,
    "strips": by_strips,
    "product": by_product,
}


def side_by_side(x: Tensor, gap: int) -> Tensor:
    """Lay every `STRIP` maps (B, C, H, W) side by side -> (B / STRIP, C, H, STRIP * (W + gap)); the gaps are zero."""
    batch, channels, height, width = x.shape
    strips, rest = divmod(batch, STRIP)
    maps = x.permute(0, 2, 3, 1)  # (B, H, W, C)
    out = x.new_zeros(strips + (rest > 0), height, STRIP, width + gap, channels)
    whole = strips * STRIP
    out[:strips, :, :, :width] = maps[:whole].reshape(strips, STRIP, height, width, channels).transpose(1, 2)
    if rest:
        out[strips, :, :rest, :width] = maps[whole:].transpose(0, 1)
    return out.flatten(2, 3).permute(0, 3, 1, 2)


class ConvWithGradient(torch.autograd.Function):
    """`F.conv2d` of stride 1 that keeps the size of maps, with one of `WAYS` for the kernel's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, way: str) -> Tensor:
        """Convolve (B, Cin, H, W) with (Cout, Cin, k, k) -> (B, Cout, H, W)."""
        ctx.save_for_backward(x, weight)
        ctx.way = way
        return F.conv2d(x, weight, padding=weight.shape[2] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients by x and by weight."""
        x, weight = ctx.saved_tensors
        dout = grads[0].contiguous(memory_format=torch.channels_last)
        dx = _backward(x, dout, weight, (True, False, False))[0] if ctx.needs_input_grad[0] else None
        dweight = WAYS[ctx.way](x, dout, weight.shape[2]) if ctx.needs_input_grad[1] else None
        return dx, dweight, None


def _backward(x: Tensor, dout: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]) -> tuple[Tensor, ...]:
    rim = weight.shape[2] // 2
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        dout, x, weight, None, (1, 1), (rim, rim), (1, 1), False, (0, 0), 1, wanted
    )
    return gradients


def _like_kernel(x: Tensor, dout: Tensor, side: int) -> Tensor:
    shape = dout.shape[1], x.shape[1], side, side
    return x.new_empty(shape).contiguous(memory_format=torch.channels_last)
