"""Augmentations that mix images with each other: mixup, cutmix. They turn labels into probabilities."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.data.augment.draw import Draw


def mixup(x: Tensor, y: Tensor, draw: Draw, *, alpha: float, p: float) -> tuple[Tensor, Tensor]:
    """Blend each image and label with another's, with probability `p` per batch (Zhang et al. 2017, arXiv:1710.09412).

    The whole batch shares one weight from Beta(alpha, alpha); the partners are a permutation of it.
    """
    weight, partner, labels = _draw_mix(x, y, draw, alpha, p)
    mixed = x[partner].lerp(x, weight.to(x))
    return mixed, labels[partner].lerp(labels, weight.to(labels))


def cutmix(x: Tensor, y: Tensor, draw: Draw, *, alpha: float, p: float) -> tuple[Tensor, Tensor]:
    """Paste a box of another image into each, with probability `p` per batch (Yun et al. 2019, arXiv:1905.04899).

    The whole batch shares one box: its sides are sqrt(1 - lambda) of the image's, lambda from
    Beta(alpha, alpha), its centre is uniform, and what falls outside is cut off. The labels are mixed by
    the area that was actually pasted.
    """
    weight, partner, labels = _draw_mix(x, y, draw, alpha, p)
    inside = []
    for side in x.shape[2:]:
        half = side * (1 - weight).sqrt() / 2
        centre = torch.rand((), generator=draw.generator, device=x.device) * side
        pixels = torch.arange(side, device=x.device) + 0.5  # their middles
        inside.append((pixels - centre).abs() < half)
    box = inside[0][:, None] & inside[1][None, :]  # (H, W)
    kept = 1 - box.to(labels.dtype).mean()
    return torch.where(box, x[partner], x), labels[partner].lerp(labels, kept)


def _draw_mix(x: Tensor, y: Tensor, draw: Draw, alpha: float, p: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the batch's own weight, float64 (); its partners, int64 (B,); its labels as probabilities, (B, K)."""
    chosen = torch.rand((), generator=draw.generator, device=x.device) < p
    weight = torch.where(chosen, beta(alpha, draw.generator), 1.0)
    partner = torch.randperm(len(x), generator=draw.generator, device=x.device)
    labels = y if y.is_floating_point() else F.one_hot(y, draw.classes).to(x.dtype)
    return weight, partner, labels


def beta(alpha: float, generator: torch.Generator) -> Tensor:
    """Draw one number from Beta(alpha, alpha), float64 (), on the generator's device.

    `torch.distributions` cannot be given a generator. Here X / (X + Y) of two Gamma(alpha) variates, each
    as Gamma(alpha + 1) * U^(1 / alpha) (Marsaglia & Tsang 2000), in logarithms: exact, and finite
    where a small alpha would make 0 / 0 of the plain formula.
    """
    device = generator.device
    shape = torch.full((2,), alpha + 1, dtype=torch.float64, device=device)
    gamma = torch._standard_gamma(shape, generator=generator)
    u = torch.rand(2, dtype=torch.float64, generator=generator, device=device)
    first, second = gamma.log() + u.log() / alpha
    share: Tensor = (first - second).sigmoid()  # X / (X + Y) = 1 / (1 + exp(log Y - log X))
    return share
