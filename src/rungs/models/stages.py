"""The stages of a net, from its input to its head: what fine-tuning freezes, unfreezes and gives its own rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import nn

from rungs.models.normalized import Normalized

Stages: TypeAlias = Sequence[Sequence[nn.Module]]
"""The modules of each stage, from input to output; the last stage is the head."""

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def stages(net: nn.Module) -> Stages:
    """Return the stages of a net: its own `stages()` if it has such a method, else its children that have weights.

    A normalisation joins the layer before it. The last child is taken apart until the last layer with weights stands
    alone: that is the head. Children must be registered in the order in which they are computed. Weights that are in
    no child, such as a class token, belong to the first stage.
    """
    net = net.net if isinstance(net, Normalized) else net
    own: Callable[[nn.Module], Stages] | None = getattr(type(net), "stages", None)  # a layer may have this name
    return own(net) if callable(own) else _of_children(net)


def _of_children(net: nn.Module) -> list[list[nn.Module]]:
    found: list[list[nn.Module]] = []
    for child in net.children():
        if not list(child.parameters()):
            continue
        if isinstance(child, NORMS) and found:
            found[-1].append(child)
        else:
            found.append([child])
    if not found:
        return [[net]]
    *body, (last, *norms) = found
    return [*body, [last, *norms]] if norms else [*body, *_of_children(last)]


def parameters_of(stage: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Return the weights of a stage, in order."""
    return [parameter for module in stage for parameter in module.parameters()]
