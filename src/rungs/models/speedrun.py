"""The net of the CIFAR-10 speedruns: a whitening layer, then three groups of two convolutions.

It is based on T. Munyan's hlb-CIFAR10 and K. Jordan's airbench (2024, arXiv:2404.00498). Its features:
a first layer that whitens patches of pixels, with filters computed from images and never trained; convolutions that
start as a partial identity; BatchNorms with scale fixed at 1; GELU; and logits scaled down by the width of the head.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.errors import UserError

WHITENING_EPS = 5e-4
"""Added to the variances that the whitening divides by; those of the finest patterns are near 0 (airbench)."""

CHUNK = 100
"""Images whose patches are in memory together: each position of an image has a patch of 3 * patch^2 values."""


class ConvGroup(nn.Module):
    """Convolutions, each followed by a norm and a GELU; the first has a 2x2 max pool before its norm.

    With three convolutions, a shortcut bypasses the second and third, as in airbench96.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, *, pool: bool, norm_memory: float) -> None:
        super().__init__()
        channels = [inputs] + [outputs] * depth
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in pairwise(channels))
        self.norms = nn.ModuleList(_norm(outputs, norm_memory) for _ in range(depth))
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, inputs, H, W) to (B, outputs, H // 2, W // 2), or to H, W without a pool."""
        x = self.convs[0](x)
        x = x if min(x.shape[2:]) < 2 else self.pool(x)  # small images may leave nothing to pool
        x = shortcut = F.gelu(self.norms[0](x))
        for number, (conv, norm) in enumerate(zip(self.convs[1:], self.norms[1:], strict=True), 2):
            x = norm(conv(x))
            x = F.gelu(x + shortcut if number == 3 else x)
        return x


class SpeedrunNet(nn.Module):
    """Whitening, three groups, a global max pool, and a linear head without bias.

    Args:
        widths: Channels of the three groups.
        depth: Convolutions in each group; one fewer in the first if the whitening has stride 2.
        patch: Height and width of the whitened patches.
        patterns: Filters of the whitening, at most 3 * patch^2, those of the largest variance; all by default. Twice as
            many channels come out: each filter and its negative.
        stride: Pixels between patches. With 2 the first group does not pool.
        norm_memory: Share of its running mean and variance that a BatchNorm keeps per step: small, since the
            training is short.
        image_size: Any: a map of one pixel is not pooled, and the net ends in a global max pool.
        classes: K, the number of logits.

    Raises:
        UserError: Too many patterns.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int],
        depth: int,
        patch: int,
        patterns: int | None,
        stride: int,
        norm_memory: float,
        image_size: int,
        classes: int,
    ) -> None:
        super().__init__()
        most = 3 * patch**2
        if (patterns or 0) > most:
            raise UserError(
                f"{patterns} patterns exceed {most}", where="model.patterns", do=f"give at most {most} (3 x patch^2)"
            )
        self.whiten = nn.Conv2d(3, 2 * (patterns or most), patch, stride)
        self.whiten.weight.requires_grad_(False)  # its bias is trained
        channels = (self.whiten.out_channels, *widths)
        first = depth if stride == 1 else depth - 1
        self.groups = nn.Sequential(
            *(
                ConvGroup(i, o, many, pool=pool, norm_memory=norm_memory)
                for (i, o), many, pool in zip(
                    pairwise(channels), (first, depth, depth), (stride == 1, True, True), strict=True
                )
            )
        )
        self.head = nn.Linear(widths[-1], classes, bias=False)

    def draw_layer(self, layer: nn.Conv2d | nn.Linear) -> None:
        """PyTorch's default, then a partial identity for convolutions, and unit variance in the head."""
        layer.reset_parameters()
        with torch.no_grad():
            if layer is self.head:
                layer.weight /= layer.weight.std()
            elif layer is not self.whiten:
                nn.init.dirac_(layer.weight[: layer.weight.shape[1]])

    @torch.no_grad()
    def see(self, images: Tensor) -> None:
        """Set the first layer to whiten patches of normalised images, float (B, 3, H, W), with each filter's negative.

        The filters are the eigenvectors of the patches' covariance (without subtracting their mean), each divided by
        the root of its eigenvalue: outputs are uncorrelated with variance 1 (T. Munyan; D. Page's "How to
        train your ResNet", 8).
        """
        filters = self.whiten.weight
        covariance, many = torch.zeros(len(filters[0].flatten()), len(filters[0].flatten())), 0
        for chunk in torch.split(images, CHUNK):
            patches = F.unfold(chunk, filters.shape[2:]).transpose(1, 2).flatten(0, 1)  # (b * positions, 3 * patch^2)
            covariance += patches.T @ patches
            many += len(patches)
        variances, vectors = torch.linalg.eigh(covariance / many)
        whitening = (vectors / (variances + WHITENING_EPS).sqrt()).T.view(-1, *filters.shape[1:])
        whitening = whitening[-len(filters) // 2 :]  # variances come in ascending order
        filters.copy_(torch.cat([whitening, -whitening]))

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised float (B, 3, H, W) to logits (B, K)."""
        x = self.groups(F.gelu(self.whiten(x)))  # (B, widths[-1], H', W')
        # Not amax: its gradient looks for the maximum again, and compiled in bf16, among numbers less rounded than it,
        # finds none and divides by 0.
        x = x.flatten(2).max(2).values
        return self.head(x) / self.head.in_features  # type: ignore[no-any-return]


def _norm(channels: int, memory: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-12, momentum=1 - memory)
    norm.weight.requires_grad_(False)
    return norm
