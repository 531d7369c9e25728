"""Other ways to compute the gradient of a kernel against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.models import kernel_gradient
from rungs.models.kernel_gradient import STRIP, WAYS, by_product, by_torch, side_by_side


def maps(batch: int, channels: int, height: int, width: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def relative(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact.double()).norm() / exact.double().norm())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 3, 3), (STRIP, 7, 7), (STRIP + 3, 5, 8), (3 * STRIP, 1, 2)])
def test_every_way_is_the_same_sum(way: str, side: int, batch: int, height: int, width: int) -> None:
    x, dout = maps(batch, 6, height, width, torch.float64), maps(batch, 4, height, width, torch.float64, seed=1)
    weight = torch.zeros(4, 6, side, side, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(F.conv2d(x, weight, padding=side // 2), weight, dout)
    torch.testing.assert_close(WAYS[way](x, dout, side), exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 6e-3)])
def test_rounding_is_that_of_the_dtype(way: str, dtype: torch.dtype, most: float) -> None:
    x, dout = maps(64, 32, 7, 7, dtype), maps(64, 48, 7, 7, dtype, seed=1)
    exact = by_torch(x.double(), dout.double(), 3)
    assert relative(WAYS[way](x, dout, 3), exact) < most


def test_a_product_needs_little_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, dout = maps(9, 6, 5, 5, torch.float32), maps(9, 4, 5, 5, torch.float32, seed=1)
    exact = by_torch(x, dout, 3)
    monkeypatch.setattr(kernel_gradient, "ROWS_BYTES", 2.5 * 9 * x[0].numel() * 4)  # two images at once
    assert relative(by_product(x, dout, 3), exact) < 1e-6


def test_strips_have_zeros_between_the_images() -> None:
    x = maps(STRIP + 1, 2, 3, 4, torch.float32)
    strips = side_by_side(x, 1)
    assert strips.shape == (2, 2, 3, 5 * STRIP)
    assert torch.equal(strips[0, :, :, 5:9], x[1])
    assert torch.equal(strips[1, :, :, :4], x[STRIP])
    assert strips[0, :, :, 4::5].count_nonzero() == 0
    assert strips[1, :, :, 4:].count_nonzero() == 0
