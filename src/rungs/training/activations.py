"""Activation statistics of a trained net: units that never fire, and saturated ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rungs.data.batches import to_float
from rungs.run.record import ActivationRow
from rungs.training.setup import Setup

SEEN = 256
"""Training images used: a unit that is idle for all of these is idle for nearly all images."""
LOW, HIGH = 0.05, 0.95
"""A sigmoid beyond these has less than a fifth of its steepest slope, s (1 - s) < 0.0475 against 0.25."""


def activations(setup: Setup) -> tuple[ActivationRow, ...]:
    """Run some training images through the scored net of a setup; return a row for each ReLU and sigmoid layer.

    Activations that a net computes by a function call (ResNet, the speedrun's GELU) are not layers and not covered.
    """
    layers = {path: m for path, m in setup.scored_net.named_modules() if isinstance(m, nn.ReLU | nn.Sigmoid)}
    if not layers:
        return ()
    seen: dict[str, ActivationRow] = {}

    def hook(path: str, layer: nn.Module) -> Any:
        return layer.register_forward_hook(lambda _m, _i, out: seen.__setitem__(path, _row(path, layer, out)))

    handles = [hook(path, layer) for path, layer in layers.items()]
    train = setup.parts.train
    x = to_float(train.at(torch.arange(min(SEEN, len(train)))).to(setup.world.device))
    was_training = setup.scored_net.training
    try:
        with torch.inference_mode(), setup.autocast():
            setup.scored_net.eval()(x.contiguous(memory_format=torch.channels_last))
    finally:
        setup.scored_net.train(was_training)
        for handle in handles:
            handle.remove()
    return tuple(seen.values())


def _row(path: str, layer: nn.Module, out: Tensor) -> ActivationRow:
    """Summarise the output of a layer, (B, C, H, W) or (B, F)."""
    name = path.removeprefix("net.")
    if isinstance(layer, nn.ReLU):
        silent = (out == 0).transpose(0, 1).flatten(1).all(1)  # (C,)
        return ActivationRow(name=name, kind="relu", idle=float(silent.float().mean()), saturated=0.0)
    ends = (out < LOW) | (out > HIGH)
    return ActivationRow(name=name, kind="sigmoid", idle=0.0, saturated=float(ends.float().mean()))
