"""One pass of a net over a dataset: logits and labels, from which all metrics are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def score(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], autocast: Callable[[], AbstractContextManager[object]]
) -> tuple[Tensor, Tensor]:
    """Run `model` in evaluation mode over `batches` of (float (B, 3, H, W) in [0, 1], labels (B,)).

    Returns:
        logits float32 (N, K) and labels int64 (N,), on the CPU.
    """
    was_training = model.training
    model.eval()
    logits, labels = [], []
    with torch.inference_mode():
        for x, y in batches:
            with autocast():
                logits.append(model(x).float())
            labels.append(y)
    model.train(was_training)
    return torch.cat(logits).cpu(), torch.cat(labels).cpu()
