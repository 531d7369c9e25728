"""Recipes derived from a recipe: fewer epochs, fewer images, the test set closed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from rungs.recipe import identity
from rungs.recipe.optimizers import Plateau, Step
from rungs.recipe.own import Own
from rungs.recipe.roles import has_role
from rungs.recipe.spec import Recipe

INSTEAD = " instead of "
"""Between a study's own source of images and that of its file, in what `reductions` returns."""


PLACEHOLDER = "folder:my-photos"
"""The source of recipes for a user's own photos, which the user puts another in the place of."""


def closed(recipe: Recipe) -> Recipe:
    """Return a recipe that is scored on validation only: its test set stays closed, and no pictures are kept."""
    evaluation = replace(recipe.evaluation, score_test=False, watch_test=False, tta="none", mistakes=0)
    return replace(recipe, evaluation=evaluation)


def stretched(recipe: Recipe, factor: float) -> Recipe:
    """Make training longer or shorter; the schedule's warm-up, milestones and patience and unfreezing scale with it."""
    schedule = replace(recipe.schedule, warmup_epochs=recipe.schedule.warmup_epochs * factor)
    if isinstance(schedule, Step):
        schedule = replace(schedule, milestones=tuple(epoch * factor for epoch in schedule.milestones))
    if isinstance(schedule, Plateau):
        schedule = replace(schedule, patience=max(min(1, schedule.patience), round(schedule.patience * factor)))
    epochs = max(1, round(recipe.training.epochs * factor))
    unfreeze = (max(1, round(epoch * factor)) for epoch in recipe.training.unfreeze_epochs)
    unfreeze_epochs = tuple(epoch for epoch in unfreeze if epoch < epochs)
    training = replace(recipe.training, epochs=epochs, unfreeze_epochs=unfreeze_epochs)
    return replace(recipe, schedule=schedule, training=training)


def thinned(recipe: Recipe, share: float | None) -> Recipe:
    """Train on a share of the images that the recipe would train on."""
    train = recipe.data.train
    if share is None or share == 1:
        return recipe
    thinner = max(1, round(train * share)) if isinstance(train, int) else (1.0 if train is None else train) * share
    return replace(recipe, data=replace(recipe.data, train=thinner))


def reduced(recipe: Recipe, epochs: int | None, images: float | None) -> Recipe:
    """Return a recipe made shorter, its schedule in proportion, and with a share of its training images."""
    return thinned(stretched(recipe, 1.0 if epochs is None else epochs / recipe.training.epochs), images)


def reductions(
    usual: Recipe, base: Recipe, overrides: Sequence[str], *, epochs: int | None, images: float | None
) -> tuple[str, ...]:
    """Return how a climb differs from its ladder file, a phrase each; () where it does not.

    A climb is resumed only where its record has the same phrases: another wording would refuse older records.
    """
    found = []
    if _place_free(base.data.source) != _place_free(usual.data.source):
        found.append(f"{base.data.source}{INSTEAD}{usual.data.source}")
    if epochs is not None and epochs != base.training.epochs:
        found.append(f"{epochs} epoch{'s' * (epochs > 1)} for {base.training.epochs}, and so in proportion")
    if images is not None and images < 1:
        found.append(f"{100 * images:g} % of the training images")
    changed = [field for field in identity.differences(usual, base) if not has_role(field, "seed", "place")]
    return (*found, *(f"with {one}" for one in overrides if any(_reaches(one, field) for field in changed)))


def of_other_data(reductions: Sequence[str]) -> bool:
    """Return whether a climb has another source of images than its file: what is claimed there is about others."""
    return any(INSTEAD in one and not one.startswith("with ") for one in reductions)


def deviations(reductions: Sequence[str]) -> tuple[str, ...]:
    """Return the phrases that tell of another study than the file's: photos in the place of a placeholder do not."""
    return tuple(one for one in reductions if not one.endswith(f"{INSTEAD}{PLACEHOLDER}") or one.startswith("with "))


def _place_free(source: str) -> str:
    """Return a source, without its path if its content is the same everywhere."""
    name, _, argument = source.partition(":")
    return name if name in ("cifar10", "cifar100") else f"{name}:{argument}"


def _reaches(assignment: str, field: str) -> bool:
    """Return whether an assignment is to a field (dotted), to a part of it, or to what it is a part of."""
    place = f"{assignment.partition('=')[0].strip()}."
    return f"{field}.".startswith(place) or place.startswith(f"{field}.")


def digest(base: Recipe, epochs: int | None, images: float | None) -> str:
    """Return six hex digits that change when a study differs from its file, but not when rungs are added or removed."""
    return hashlib.sha256(f"{identity.digest(base)} {epochs} {images}".encode()).hexdigest()[:6]


def split_of(recipe: Recipe) -> tuple[object, ...]:
    """Return what decides, beside the source, which images validation and test hold."""
    data = recipe.data
    return recipe.seed, data.test, data.validation, data.groups, data.folds, data.fold


def beside(recipe: Recipe) -> Recipe:
    """Return a recipe as a run leaves it: the file of a user's own net is its copy in the run's folder."""
    if not isinstance(recipe.model, Own) or not recipe.model.file:
        return recipe
    return replace(recipe, model=replace(recipe.model, file=Path(recipe.model.file).name))
