"""First weights: each layer draws its own, so that a change elsewhere in the net does not change them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


def draw_weights(net: nn.Module, seed_of: Callable[[str], int]) -> None:
    """Draw the weights of every convolution and linear layer anew, each from a seed of its own name.

    Built one after the other, layers share one stream of random numbers, and whatever follows a changed layer changes
    with it. So two nets get equal weights wherever name and shape agree. How a layer draws is its own
    `reset_parameters`, or the net's `draw_layer(layer)` where it has one.

    Args:
        net: Changed in place. It may lie on any device; draws are those of that device's global generator.
        seed_of: From the dotted name of a layer to a 63-bit seed.
    """
    draw: Callable[[nn.Module], None] = getattr(net, "draw_layer", _usual)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            torch.manual_seed(seed_of(name))
            draw(layer)


def _usual(layer: nn.Module) -> None:
    layer.reset_parameters()  # type: ignore[operator]
