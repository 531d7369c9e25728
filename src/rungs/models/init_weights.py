"""Initial weights: each layer has its own seed, so that a change elsewhere in the net does not change them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def draw_weights(net: nn.Module, seed_of: Callable[[str], int]) -> None:
    """Initialise every convolution and linear layer, each from a seed derived from its name.

    By default layers share one stream of random numbers, so that a changed layer changes all later ones. With one seed
    per layer, two nets get equal weights wherever name and shape agree. A layer is initialised by its own
    `reset_parameters`, or by the net's `draw_layer(layer)` if it has one.

    Args:
        net: Changed in place. It may be on any device; random numbers come from that device's global generator.
        seed_of: From the dotted name of a layer to a 63-bit seed.
    """
    draw: Callable[[nn.Module], None] = getattr(net, "draw_layer", _usual)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            torch.manual_seed(seed_of(name))
            draw(layer)


def _usual(layer: nn.Module) -> None:
    layer.reset_parameters()  # type: ignore[operator]
