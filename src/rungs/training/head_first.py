"""Fine-tuning that begins with a trained head: what is below it is then not spoilt by the gradients of a random one.

Linear probing, then fine-tuning (Kumar et al. 2022, arXiv:2202.10054).
"""

from __future__ import annotations

import dataclasses
from collections import deque

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.augments import AugmentSpec
from rungs.recipe.spec import Recipe
from rungs.training.features import on_features, trains_head_alone
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import Setup


def train_head(setup: Setup, screen: Screen) -> None:
    """Train the head of a net alone, in place, where the recipe's `training.head_epochs` wants it.

    Args:
        setup: Of the whole net, before its first epoch.
        screen: Is told.

    Raises:
        UserError: The net does not say where its head begins, or several ranks train it.
        Diverged: The loss stopped being finite.
    """
    epochs = setup.recipe.training.head_epochs
    if not epochs:
        return
    parts = dataclasses.replace(setup.parts, test=None)
    alone = dataclasses.replace(setup, recipe=_of_head(setup.recipe), parts=parts, ema=None)
    if not trains_head_alone(alone):
        what = "the head of this net cannot be trained alone"
        do = "choose a model that names its features and head, an optimiser other than muon, and one process"
        raise UserError(what, where="training.head_epochs", do=do)
    screen.say(f"first the head alone: {epochs} epoch{'s' * (epochs > 1)} on features that are computed once")
    head = on_features(alone)
    deque(train_epochs(head, (), Screen()), maxlen=0)
    head.as_whole()
    if setup.ema is not None:
        setup.ema.module.load_state_dict(setup.model.state_dict())


def _of_head(recipe: Recipe) -> Recipe:
    """Return the recipe of a head alone, on images as they are."""
    training = replace(
        recipe.training,
        epochs=recipe.training.head_epochs,
        freeze="backbone",
        unfreeze_epochs=(),
        image_scales=(),
        ema_decay=None,
    )
    return replace(recipe, augment=AugmentSpec(), training=training)
