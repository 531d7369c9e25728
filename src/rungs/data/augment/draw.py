"""The randomness of one batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draw:
    """All that an augmentation gets besides its batch.

    Attributes:
        generator: The only source of randomness, on the device of the images.
        epoch: The current epoch; its parity drives the alternating flip.
        index: int64 (B,), positions of the images in the training set, on the device of the images.
        classes: K.
        salt: Derived from the run's seed; decides which half of the images the alternating flip mirrors first.
    """

    generator: torch.Generator
    epoch: int
    index: Tensor
    classes: int
    salt: int = 0

    def uniform(self, like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Return a number per image of `like`, uniform in [low, high): (B, 1, 1, 1), of its dtype and device."""
        u = torch.rand(len(like), 1, 1, 1, generator=self.generator, device=like.device, dtype=like.dtype)
        return low + (high - low) * u

    def integers(self, like: Tensor, high: int) -> Tensor:
        """Return an integer per image of `like`, uniform in [0, high): int64 (B,)."""
        return torch.randint(high, (len(like),), generator=self.generator, device=like.device)
