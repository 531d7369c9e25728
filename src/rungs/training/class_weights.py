"""How much an image counts in the loss, by its class."""

from __future__ import annotations

import torch
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.errors import UserError
from rungs.recipe.spec import Recipe


def class_weights(recipe: Recipe, train: ImageSet, device: torch.device) -> Tensor | None:
    """Return the weight of an image of each class, float32 (K,), 1 on average over an epoch; None: all count alike.

    So steps are as large as without weights, whatever the scale of those given. Balanced weights are proportional to
    1 / n of a class of n images (G. King and L. Zeng 2001, doi:10.1093/oxfordjournals.pan.a004868; "balanced" in
    scikit-learn): they are all 1 where the sampling is balanced.

    Raises:
        UserError: There are more or fewer weights than classes.
    """
    chosen, images = recipe.training.class_weights, torch.tensor(train.counts(), dtype=torch.float64)
    if chosen == "none":
        return None
    if chosen != "balanced" and len(chosen) != len(images):
        what, names = f"{len(chosen)} weights for {len(images)} classes", ", ".join(train.classes[:20])
        raise UserError(what, where="training.class_weights", do=f"give one for each class, in this order: {names}")
    if recipe.data.balance == "sampling":
        images = (images > 0).double()  # as frequent as each other
    raw = 1 / images.clamp(min=1) if chosen == "balanced" else torch.tensor(chosen, dtype=torch.float64)
    return (raw * images.sum() / (raw * images).sum()).float().to(device)
