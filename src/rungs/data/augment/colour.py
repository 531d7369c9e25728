"""Augmentations that change pixel values, not positions: greyscale, colour jitter, cutout."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rungs.data.augment.draw import Draw

YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""RGB -> YIQ, the colours of NTSC television: luminance (ITU-R BT.601) and two axes that are 0 for grey."""


def greyscale(x: Tensor, y: Tensor, draw: Draw, *, p: float) -> tuple[Tensor, Tensor]:
    """Replace the three channels by their luminance, 0.299 R + 0.587 G + 0.114 B, with probability `p`."""
    return torch.where(draw.uniform(x) < p, _luminance(x), x), y


def colour_jitter(
    x: Tensor, y: Tensor, draw: Draw, *, brightness: float, contrast: float, saturation: float, hue: float
) -> tuple[Tensor, Tensor]:
    """Change each image's brightness, contrast, saturation and hue, in this order, and clamp once, to [0, 1].

    The factors b, c, s are uniform in [1-v, 1+v], the angle h in [-hue, hue] turns. Brightness is b x;
    contrast blends with the image's mean luminance m, c x + (1-c) m; saturation blends with the grey
    image and hue turns the plane of colours, which in YIQ are one matrix, T^-1 diag(1, s R(h)) T. It
    leaves grey as it is, so that all four are one affine map per image: C (b c x + b (1-c) m).
    """
    b, c, s = (draw.uniform(x, 1 - v, 1 + v) for v in (brightness, contrast, saturation))
    h = draw.uniform(x, -2 * math.pi * hue, 2 * math.pi * hue)
    mean = _luminance(x).mean((2, 3), keepdim=True)  # (B, 1, 1, 1)
    toned = (b * c) * x + b * (1 - c) * mean
    coloured = torch.einsum("bij,bjhw->bihw", _colour_matrix(s.view(-1), h.view(-1)), toned)
    return torch.empty_like(x).copy_(coloured).clamp_(0, 1), y


def _colour_matrix(saturation: Tensor, angle: Tensor) -> Tensor:
    """Return the maps RGB -> RGB, (B, 3, 3), that scale and turn the colours and keep luminance."""
    to_yiq = torch.tensor(YIQ, dtype=torch.float64)
    to_yiq[1:] -= to_yiq[1:].mean(1, keepdim=True)  # the rounded rows do not quite sum to 0, as they must for grey
    to_rgb = torch.linalg.inv(to_yiq).to(angle)
    cos, sin = saturation * angle.cos(), saturation * angle.sin()
    one, none = torch.ones_like(cos), torch.zeros_like(cos)
    turn = torch.stack([one, none, none, none, cos, -sin, none, sin, cos], dim=1).view(-1, 3, 3)
    matrix: Tensor = to_rgb @ turn @ to_yiq.to(angle)
    return matrix


def cutout(x: Tensor, y: Tensor, draw: Draw, *, size: int, p: float) -> tuple[Tensor, Tensor]:
    """Blank a square of `size` pixels at a random centre with probability `p`.

    DeVries & Taylor 2017, arXiv:1708.04552. The centre is any pixel, so that part of the square may fall
    outside, as in the paper. The paper blanks normalised images with 0, which is the mean of the data: here,
    before normalisation, it is the mean colour of the batch.
    """
    height, width = x.shape[2:]
    top, left = (draw.integers(x, side).view(-1, 1) - size // 2 for side in (height, width))
    rows, columns = (torch.arange(side, device=x.device) for side in (height, width))
    hole = ((rows >= top) & (rows < top + size))[:, :, None] & ((columns >= left) & (columns < left + size))[:, None, :]
    blank = hole[:, None] & (draw.uniform(x) < p)  # (B, 1, H, W)
    return torch.where(blank, x.mean((0, 2, 3), keepdim=True), x), y


def _luminance(x: Tensor) -> Tensor:
    """Weigh the channels: (B, 3, H, W) -> (B, 1, H, W)."""
    red, green, blue = YIQ[0]
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]
