"""Augmentations that move pixels: crop, resized crop, flip, rotate."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.data.augment.draw import Draw
from rungs.errors import UserError


def crop(x: Tensor, y: Tensor, draw: Draw, *, padding: int, mode: Literal["zero", "reflect"]) -> tuple[Tensor, Tensor]:
    """Pad each side, then crop a random window of the original size from each image.

    All (2 * padding + 1)^2 windows are a strided view, without a copy, and one index picks each
    image's own. Of seven ways tried on a CPU (gathers, `grid_sample`, groups by shift as in airbench),
    this was the fastest that also keeps channels_last.

    Raises:
        UserError: The padding is wider than the image can reflect.
    """
    height, width = x.shape[2:]
    if mode == "reflect" and padding >= min(height, width):
        what = f"cannot reflect {padding} pixels of an image of {height}x{width}"
        raise UserError(what, where="crop: padding", do=f"at most {min(height, width) - 1}, or mode zero")
    padded = F.pad(x, (padding,) * 4, mode="constant" if mode == "zero" else "reflect")
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, 3, 2P+1, 2P+1, H, W), a view
    down, right = (draw.integers(x, 2 * padding + 1) for _ in range(2))
    return windows[torch.arange(len(x), device=x.device), :, down, right], y  # (B, 3, H, W)


def flip(x: Tensor, y: Tensor, draw: Draw, *, p: float, alternating: bool) -> tuple[Tensor, Tensor]:
    """Mirror left-right with probability `p`.

    With `alternating`, `p` is ignored: one half of the images, by seed, is mirrored in even epochs and the
    other half in odd ones, so that two epochs show each image both ways (K. Jordan 2024,
    arXiv:2404.00498).
    """
    mirrored = (hashed(draw.index ^ draw.salt) + draw.epoch) % 2 == 1 if alternating else draw.uniform(x).view(-1) < p
    return torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x), y


def hashed(index: Tensor) -> Tensor:
    """Hash int64 integers to [0, 2^32), so that the low bits of neighbours are independent.

    The mixing function is C. Wellons's "lowbias32" (hash-prospector): xor-shifts and two odd multipliers.
    """
    h = index & 0xFFFFFFFF
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        h = ((h ^ (h >> shift)) * multiplier) & 0xFFFFFFFF  # int64 wraps, the low 32 bits are correct
    return h ^ (h >> 16)


def rotate(x: Tensor, y: Tensor, draw: Draw, *, degrees: float) -> tuple[Tensor, Tensor]:
    """Rotate each image about its centre by its own angle, uniform in [-degrees, degrees]; bilinear, zeros outside."""
    limit = math.radians(degrees)
    angle = draw.uniform(x, -limit, limit).view(-1)
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    aspect = x.shape[2] / x.shape[3]  # the grid runs from -1 to 1 along both sides, whatever their lengths
    turn = torch.stack([cos, -sin * aspect, none, sin / aspect, cos, none], dim=1).view(-1, 2, 3)
    return _moved(x, turn, "zeros"), y


def resized_crop(x: Tensor, y: Tensor, draw: Draw, *, area: float, stretch: float) -> tuple[Tensor, Tensor]:
    """Crop a window of each image at a random place, and enlarge it to the whole image, bilinear.

    The window covers a share of the image uniform in [area, 1]; the logarithm of its shape, relative to the image's, is
    uniform in [-ln(stretch), ln(stretch)], and a side that would be longer than the image's is as long.
    """
    share, limit = draw.uniform(x, area, 1.0).view(-1), math.log(stretch)
    shape = draw.uniform(x, -limit, limit).view(-1).exp()
    width, height = ((share * one).sqrt().clamp(max=1.0) for one in (shape, 1 / shape))  # as shares of the sides
    right, down = ((1 - side) * draw.uniform(x, -1.0, 1.0).view(-1) for side in (width, height))  # of the centre
    none = torch.zeros_like(width)
    window = torch.stack([width, none, right, none, height, down], dim=1).view(-1, 2, 3)
    return _moved(x, window, "border"), y


def _moved(x: Tensor, affine: Tensor, outside: str) -> Tensor:
    """Sample each image, bilinear, where an affine map (B, 2, 3) takes the grid from -1 to 1 along both sides."""
    grid = F.affine_grid(affine, list(x.shape), align_corners=False)  # (B, H, W, 2)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return torch.empty_like(x).copy_(moved)  # grid_sample forgets channels_last
