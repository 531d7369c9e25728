"""Nets: plain modules with keyword arguments, built from a recipe's spec."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from torch import nn

from rungs.models.layered import LayeredNet
from rungs.models.mixconv import MixConvNet
from rungs.models.own import OwnNet, build_own
from rungs.models.plain import PlainNet
from rungs.models.pretrained import backbone
from rungs.models.resnet import resnet18
from rungs.models.speedrun import SpeedrunNet
from rungs.recipe.base import name_of
from rungs.recipe.models import AnyModel
from rungs.recipe.own import Own

MODELS: dict[str, Callable[..., nn.Module]] = {
    "plain": PlainNet,
    "layered": LayeredNet,
    "mixconv": MixConvNet,
    "resnet18": resnet18,
    "speedrun": SpeedrunNet,
    "backbone": backbone,
}


def build_model(spec: AnyModel, *, image_size: int, classes: int, given: OwnNet | None = None) -> nn.Module:
    """Build the net that `spec` names, freshly initialised from torch's global generator.

    Args:
        spec: One of the models of `rungs.recipe.spec`.
        image_size: Height and width of the images in pixels.
        classes: K, the number of logits.
        given: The user's own net, its class or a function, if given in Python.

    Returns:
        A net from float (B, 3, image_size, image_size), normalised, to logits (B, K).

    Raises:
        UserError: The images are too small for the net, or the user's own net is invalid.
    """
    if isinstance(spec, Own):
        return build_own(spec, given, image_size=image_size, classes=classes)
    make = MODELS[name_of(spec)]
    return make(**msgspec.structs.asdict(spec), image_size=image_size, classes=classes)
