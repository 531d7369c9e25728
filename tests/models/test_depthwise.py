"""Gradients of depthwise convolutions by columns against torch's own, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rungs.models.depthwise import DepthwiseByColumns


@pytest.mark.parametrize("side", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize(("height", "width", "padding"), [(7, 8, (0, 0)), (9, 12, (2, 1)), (8, 7, (0, 3))])
def test_gradients_are_the_same_sums(
    side: int, stride: tuple[int, int], height: int, width: int, padding: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 6, height, width, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(6, 1, side, side, dtype=torch.float64, generator=generator, requires_grad=True)
    plain = F.conv2d(x, weight, stride=stride, padding=padding, groups=6)
    dout = torch.randn(plain.shape, dtype=torch.float64, generator=generator)
    exact = torch.autograd.grad(plain, (x, weight), dout)
    ours = DepthwiseByColumns.apply(x, weight, stride, padding)
    assert torch.equal(ours, plain)
    for gradient, expected in zip(torch.autograd.grad(ours, (x, weight), dout), exact, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10)


def test_a_frozen_kernel_has_no_gradient_and_the_maps_below_still_do() -> None:
    x, weight = torch.randn(2, 4, 6, 6, requires_grad=True), torch.randn(4, 1, 5, 5)
    DepthwiseByColumns.apply(x, weight, (2, 2), (2, 2)).sum().backward()
    assert x.grad is not None and weight.grad is None
