"""Test-time augmentation: a net's mean logits over several views of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.evaluate.score import score

Views = Literal["mirror", "mirror-translate"]


class Averaged(nn.Module):
    """A net whose logits are the mean over views of each image.

    Args:
        model: From float (B, 3, H, W) to logits (B, K).
        views: "mirror", the image and its mirror image; "mirror-translate", these two with a weight of a half, and a
            quarter each for both moved by a pixel up and left, and down and right, as in airbench (K. Jordan 2024,
            arXiv:2404.00498, section 3.5).
    """

    def __init__(self, model: nn.Module, views: Views) -> None:
        super().__init__()
        self.model, self.views = model, views

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        logits = self._both_ways(x)
        if self.views == "mirror":
            return logits
        padded = F.pad(x, (1,) * 4, "reflect")
        moved = [padded[..., :-2, :-2], padded[..., 2:, 2:]]
        return (logits + sum(self._both_ways(view) for view in moved) / 2) / 2

    def _both_ways(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return (self.model(x) + self.model(x.flip(3))) / 2  # type: ignore[no-any-return]


def second_look(
    model: nn.Module,
    logits: Tensor,
    inputs: Callable[[Tensor], Iterator[tuple[Tensor, Tensor]]],
    autocast: Callable[[], AbstractContextManager[object]],
    *,
    views: Views,
    share: float,
) -> Tensor:
    """Return the logits with those of the least confident images replaced by means over views.

    Args:
        model: The net that gave the logits.
        logits: float32 (N, K), of the original images.
        inputs: Yields batches of the images at positions int64 (M,), and their labels.
        autocast: Creates the context in which the net runs.
        views: Which views to average.
        share: Share of the N images to average, those with the lowest confidence first; 1.0 is all.
    """
    confidence = logits.softmax(1).amax(1)
    uncertain = confidence.argsort(stable=True)[: round(share * len(logits))].sort().values
    if len(uncertain) == 0:
        return logits
    means, _ = score(Averaged(model, views).train(model.training), inputs(uncertain), autocast)
    return logits.index_copy(0, uncertain, means)
