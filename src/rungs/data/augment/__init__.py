"""Augmentations: functions on a whole batch of float images, their randomness passed in.

Each takes `x`, float (B, 3, H, W) in [0, 1], and `y`, int64 (B,) classes or (after mixup or cutmix)
float (B, K) probabilities, and returns new ones on the same device, in the same memory format. None
loops over images, changes its input, or draws from anything but `draw.generator`, so that the same
state of the generator gives the same bits. The keyword arguments are the fields of the spec.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from torch import Tensor

from rungs.data.augment.colour import colour_jitter, cutout, greyscale
from rungs.data.augment.draw import Draw
from rungs.data.augment.geometric import crop, flip, resized_crop, rotate
from rungs.data.augment.mix import cutmix, mixup
from rungs.recipe.augments import AnyAugment
from rungs.recipe.base import name_of

__all__ = ["AUGMENTS", "Draw", "apply"]

Augmentation: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

AUGMENTS: Mapping[str, Augmentation] = {
    "crop": crop,
    "resized-crop": resized_crop,
    "flip": flip,
    "rotate": rotate,
    "greyscale": greyscale,
    "colour-jitter": colour_jitter,
    "cutout": cutout,
    "mixup": mixup,
    "cutmix": cutmix,
}


def apply(augments: Sequence[AnyAugment], x: Tensor, y: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
    """Apply augmentations in their order.

    Args:
        augments: Specs of a recipe.
        x: Float (B, 3, H, W) in [0, 1].
        y: int64 (B,) classes, or float (B, K) probabilities.
        draw: The randomness of this batch; its generator advances.

    Returns:
        Images like `x`, and labels: float (B, K) where an augmentation mixes them.
    """
    for spec in augments:
        fields: dict[str, Any] = msgspec.structs.asdict(spec)
        x, y = AUGMENTS[name_of(spec)](x, y, draw, **fields)
    return x, y
