"""Normalisation as part of the net, so that training, export and serving use the same input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalized(nn.Module):
    """A net behind `(x - mean) / std`, both kept as buffers and so saved with the weights.

    Args:
        net: From normalised float (B, 3, H, W) to logits (B, K).
        mean: Per channel, of pixels in [0, 1], (3,).
        std: Likewise, positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) in [0, 1] to logits (B, K)."""
        return self.net(self.normalise(x))  # type: ignore[no-any-return]

    def normalise(self, x: Tensor) -> Tensor:
        """Return (x - mean) / std, in the shape of x."""
        return (x - self.mean) / self.std
