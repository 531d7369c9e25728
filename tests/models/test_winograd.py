"""Winograd convolution against torch's own: outputs, both gradients, and the tiles that it chooses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.models.winograd import POINTS, best_tile, conv3x3, cut, fold, paste, pays


def pair(
    height: int, width: int, cin: int = 3, cout: int = 4, batch: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, cin, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(cout, cin, 3, 3, generator=generator, dtype=torch.float64) / (9 * cin) ** 0.5
    return x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def gradients(y: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y.dtype)
    return y, *torch.autograd.grad(y, (x, weight), direction)


def relative(ours: Tensor, exact: Tensor) -> float:
    return float(((ours - exact).norm() / exact.norm()).detach())


@pytest.mark.parametrize("m", POINTS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (7, 7), (8, 8), (9, 16), (15, 4)])
def test_it_is_the_convolution_and_so_are_its_gradients(m: int, height: int, width: int) -> None:
    x, weight = pair(height, width)
    exact = gradients(F.conv2d(x, weight, padding=1), x, weight)
    for ours, wanted in zip(gradients(conv3x3(x, weight, m), x, weight), exact, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("m", POINTS)
def test_float32_rounds_little(m: int) -> None:
    exact = gradients(F.conv2d(*(args := pair(15, 14, 32, 48)), padding=1), *args)
    x, weight = pair(15, 14, 32, 48, dtype=torch.float32)
    for ours, wanted in zip(gradients(conv3x3(x, weight, m), x, weight), exact, strict=True):
        assert relative(ours, wanted) < (5e-5 if m == 7 else 1e-5)


@pytest.mark.parametrize(("cin", "cout", "batch"), [(1, 1, 1), (1, 5, 2), (5, 1, 300)])
def test_one_channel_and_batches_of_several_chunks(cin: int, cout: int, batch: int) -> None:
    x, weight = pair(6, 5, cin, cout, batch)
    exact = gradients(F.conv2d(x, weight, padding=1), x, weight)
    for ours, wanted in zip(gradients(conv3x3(x, weight, 4), x, weight), exact, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-10)


def test_gradcheck() -> None:
    x, weight = pair(4, 5, 2, 2, 1)
    assert torch.autograd.gradcheck(lambda x, w: conv3x3(x, w, 3), (x, weight))


@pytest.mark.parametrize("asked", [(True, False), (False, True)])
def test_only_the_gradient_asked_for(asked: tuple[bool, bool]) -> None:
    x, weight = (t.detach().requires_grad_(wanted) for t, wanted in zip(pair(5, 5), asked, strict=True))
    conv3x3(x, weight).sum().backward()
    assert (x.grad is not None, weight.grad is not None) == asked


def test_any_memory_format_comes_out_channels_last() -> None:
    x, weight = (t.detach() for t in pair(7, 6))
    y = conv3x3(x, weight)
    assert y.is_contiguous(memory_format=torch.channels_last)
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
    again = conv3x3(x, weight)
    torch.testing.assert_close(y, again)


def test_matrices_made_in_inference_mode_serve_training() -> None:
    with torch.inference_mode():
        conv3x3(*pair(6, 6), 6)
    x, weight = pair(6, 6)
    conv3x3(x, weight, 6).sum().backward()
    assert weight.grad is not None


def test_fold_and_paste_are_the_adjoint_of_cut() -> None:
    x, _ = pair(7, 9)
    x = x.detach().permute(0, 2, 3, 1)
    tiles = cut(x, 5, 3)
    other = torch.randn(tiles.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    dot = (tiles * other).sum()
    back = torch.empty_like(x)
    paste(fold(other.view(len(x), 3, 3, 5, 5, -1)), back)
    torch.testing.assert_close((x * back).sum(), dot)


def test_tiles_suit_the_map() -> None:
    assert [best_tile(256, 256, side, side) for side in (3, 7, 8, 15, 16)] == [3, 7, 4, 5, 4]


def test_it_pays_for_many_channels_only() -> None:
    assert pays(64, 64, 15, 15)
    assert pays(512, 512, 7, 7)
    assert not pays(24, 64, 31, 31)
    assert not pays(3, 64, 32, 32)
