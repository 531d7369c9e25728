"""Short trainings of a recipe, to time it: one batch an epoch, at a rate that cannot diverge."""

from __future__ import annotations

import dataclasses

import torch
from msgspec.structs import replace
from torch import Tensor

from rungs.data.split import Parts
from rungs.optim import slowed
from rungs.recipe.spec import Recipe
from rungs.training.dataset import load_dataset, open_source
from rungs.training.device import World
from rungs.training.features import on_features
from rungs.training.pack import join
from rungs.training.setup import Setup, assemble

SCORED = 500
"""Validation images scored to measure the speed of scoring."""


def shortened(recipe: Recipe, world: World, pack: int) -> tuple[Setup, dict[str, int]]:
    """Return a setup that trains one batch an epoch and scores a few images, and the number of images in each part.

    Args:
        recipe: Trained at full image size.
        world: Where.
        pack: How many seeds are trained together.

    Raises:
        UserError: Bad data, or a net that does not fit it.
    """
    training, setups = replace(recipe.training, image_scales=()), []
    source, moved = open_source(recipe), dict[int, Tensor]()
    for seed in range(recipe.seed, recipe.seed + pack):
        resolved, dataset = load_dataset(replace(recipe, seed=seed, training=training), True, source)
        setups.append(on_features(assemble(resolved, dataset, world, moved)))
    images = {name: len(part) for name, part in setups[0].parts.present().items()}
    return join([_one_batch(setup, images["train"]) for setup in setups]), images


def _one_batch(setup: Setup, images: int) -> Setup:
    train = setup.parts.train.take(torch.arange(min(setup.recipe.training.batch_size, images)))
    judged = setup.parts.train if setup.parts.validation is None else setup.parts.validation
    judged = judged.take(torch.arange(min(SCORED, len(judged))))
    return dataclasses.replace(setup, parts=Parts(train, judged, None), steps_per_epoch=1)


def harmless(recipe: Recipe) -> Recipe:
    """Return an equally fast recipe that cannot diverge."""
    return replace(recipe, optim=slowed(recipe.optim, 1e-6 / recipe.optim.lr))
