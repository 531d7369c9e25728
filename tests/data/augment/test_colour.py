from __future__ import annotations

import colorsys

import pytest
import torch
from torch import Tensor

from rungs.data.augment import Draw
from rungs.data.augment.colour import colour_jitter, cutout, greyscale


def draw(n: int, seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), 0, torch.arange(n), 10)


def images(n: int, size: int = 8) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(5)), torch.zeros(n, dtype=torch.int64)


def luminance(x: Tensor) -> Tensor:
    return torch.einsum("c,bchw->bhw", torch.tensor([0.299, 0.587, 0.114]), x)


def test_greyscale_is_luminance_in_all_channels_of_some_images() -> None:
    x, y = images(1000)
    out, _ = greyscale(x, y, draw(1000), p=0.2)
    grey = (out[:, 0] == out[:, 1]).all((1, 2))
    assert 150 < grey.sum() < 250  # 200 expected, standard deviation 12.6
    assert torch.equal(out[~grey], x[~grey])
    torch.testing.assert_close(out[grey], luminance(x[grey])[:, None].expand(-1, 3, -1, -1))


NOTHING = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def test_no_jitter_changes_nothing() -> None:
    x, y = images(8)
    torch.testing.assert_close(colour_jitter(x, y, draw(8), **NOTHING)[0], x, atol=1e-6, rtol=0)


def test_brightness_is_a_factor_per_image_within_its_limits() -> None:
    x, y = images(300)
    out, _ = colour_jitter(x / 2, y, draw(300), **{**NOTHING, "brightness": 0.5})
    ratio = (out / (x / 2)).flatten(1)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-3, rtol=0)
    assert ratio.min() >= 0.5 and ratio.max() <= 1.5 and ratio.min() < 0.55 and ratio.max() > 1.45


def test_contrast_scales_about_the_mean_luminance() -> None:
    x, y = images(300)
    x = 0.4 + x / 5  # far from the clamp
    out, _ = colour_jitter(x, y, draw(300), **{**NOTHING, "contrast": 0.9})
    torch.testing.assert_close(luminance(out).mean((1, 2)), luminance(x).mean((1, 2)))
    ratio = out.flatten(1).std(1) / x.flatten(1).std(1)
    assert 0.09 <= ratio.min() < 0.2 and 1.8 < ratio.max() <= 1.91


def test_saturation_blends_with_grey() -> None:
    x, y = images(100)
    x = 0.4 + x / 5
    out, _ = colour_jitter(x, y, draw(100), **{**NOTHING, "saturation": 0.8})
    torch.testing.assert_close(luminance(out), luminance(x))
    grey = luminance(x)[:, None]
    factor = ((out - grey) * (x - grey)).sum((1, 2, 3)) / ((x - grey) ** 2).sum((1, 2, 3))
    torch.testing.assert_close(out, grey + factor[:, None, None, None] * (x - grey), atol=1e-5, rtol=0)
    assert 0.2 <= factor.min() < 0.4 and 1.6 < factor.max() <= 1.8


def test_hue_turns_the_colours_by_up_to_its_limit_and_keeps_luminance_and_grey() -> None:
    n = 300
    x = torch.tensor([0.6, 0.5, 0.5]).view(1, 3, 1, 1).expand(n, 3, 2, 2)  # a faint red
    out, _ = colour_jitter(x, torch.zeros(n), draw(n), **{**NOTHING, "hue": 0.25})
    torch.testing.assert_close(luminance(out), luminance(x), atol=1e-5, rtol=0)
    hues = torch.tensor([colorsys.rgb_to_hsv(*pixel.tolist())[0] for pixel in out[..., 0, 0]])
    hues = (hues + 0.5) % 1 - 0.5
    assert 0.2 < hues.max() < 0.35 and -0.35 < hues.min() < -0.2  # the hue of YIQ is nearly that of HSV
    grey = torch.full((n, 3, 2, 2), 0.3)
    torch.testing.assert_close(colour_jitter(grey, torch.zeros(n), draw(n), **{**NOTHING, "hue": 0.5})[0], grey)


def test_half_a_turn_gives_the_opposite_colour() -> None:
    yiq = torch.tensor(colorsys.rgb_to_yiq(0.6, 0.45, 0.5))
    opposite = torch.tensor(colorsys.yiq_to_rgb(yiq[0].item(), -yiq[1].item(), -yiq[2].item()))
    x = torch.tensor([0.6, 0.45, 0.5]).view(1, 3, 1, 1).expand(2000, 3, 1, 1)
    out, _ = colour_jitter(x, torch.zeros(2000), draw(2000), **{**NOTHING, "hue": 0.5})
    assert (out[:, :, 0, 0] - opposite).abs().max(1).values.min() < 0.005


@pytest.mark.parametrize("size", [1, 7, 8])
def test_cutout_blanks_one_square_with_the_batch_mean(size: int) -> None:
    x, y = images(500, 16)
    x = x * torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1)
    out, _ = cutout(x, y, draw(500), size=size, p=1.0)
    hole = (out != x).any(1)  # (B, H, W)
    torch.testing.assert_close(
        out[hole.nonzero()[:, 0], :, hole.nonzero()[:, 1], hole.nonzero()[:, 2]].mean(0), x.mean((0, 2, 3))
    )
    heights, widths = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), heights * widths)  # a full rectangle
    assert heights.max() == size and widths.max() == size
    assert heights.min() >= (size + 1) // 2  # the centre is always inside
    inner = (heights == size) & (widths == size)
    assert abs(inner.double().mean() - ((17 - size) / 16) ** 2) < 0.1


def test_cutout_with_a_probability() -> None:
    x, y = images(1000, 8)
    changed = (cutout(x, y, draw(1000), size=4, p=0.4)[0] != x).any(3).any(2).any(1)
    assert 340 < changed.sum() < 460  # 400 expected, standard deviation 15.5
    assert not (cutout(x, y, draw(1000), size=4, p=0.0)[0] != x).any()


def test_cutout_larger_than_the_image_blanks_it() -> None:
    x, y = images(4, 8)
    out, _ = cutout(x, y, draw(4), size=99, p=1.0)
    assert torch.equal(out, x.mean((0, 2, 3), keepdim=True).expand_as(x))
