"""Recipes: TOML into frozen structs and back, dotted overrides, clear errors, fingerprints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from rungs.errors import UserError
from rungs.recipe import own, presets
from rungs.recipe.augments import CutMix, Mixup
from rungs.recipe.base import name_of
from rungs.recipe.explain import dotted, explain
from rungs.recipe.models import Plain
from rungs.recipe.overrides import override
from rungs.recipe.own import Own
from rungs.recipe.spec import Claim, DataSpec, Recipe, TrainingSpec


def choose(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), *, data: str | None = None, seed: int | None = None
) -> Recipe:
    """Return a recipe with fields changed.

    With another kind of source, part sizes that the recipe gives as numbers of images are reset to the defaults of
    `rungs.recipe.spec.DataSpec`, unless `overrides` set them: they fit the recipe's own source.

    Args:
        recipe: A shipped recipe's name, the path of a TOML file, or a recipe.
        overrides: Assignments `dotted.field=value`, as after `--set`.
        data: A source instead of the recipe's: "cifar10", "folder:PATH", …
        seed: A seed instead of the recipe's.

    Raises:
        UserError: No such recipe, or a wrong field, type or value.
    """
    shortcuts = [f"data.{tomli_w.dumps({'source': data})}"] if data is not None else []
    shortcuts += [f"seed={seed}"] if seed is not None else []
    folder = Path()
    if not isinstance(recipe, Recipe):
        folder = folder if str(recipe) in shipped() else Path(recipe).parent
        recipe = load(recipe)
    if data is not None and data.partition(":")[0] != recipe.data.source.partition(":")[0]:
        usual = DataSpec()
        counted = (part for part in ("train", "validation", "test") if isinstance(getattr(recipe.data, part), int))
        shortcuts += [f"data.{part}={getattr(usual, part)}" for part in counted]
    return parse(to_toml(recipe), recipe.name, [*shortcuts, *overrides], folder)


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the package, name -> file."""
    return presets.shipped("rungs.recipe")


def load(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by its name, or any recipe by its path, and apply `overrides`.

    Args:
        name: A name of `shipped()` or the path of a TOML file.
        overrides: Assignments `dotted.field=value`, the value in TOML; a bare word is a string and
            `none` removes the field.

    Raises:
        UserError: No such recipe, bad TOML, a wrong field, type or value.
    """
    is_ladder = str(name) in presets.shipped("rungs.study.ladder") and str(name) not in shipped()  # a name may be both
    if is_ladder and not os.path.isfile(name):  # noqa: PTH113
        raise UserError(f"{name} is a ladder, not a recipe", do=f"rungs climb {name}")
    return read(presets.find(name, shipped(), "recipe"), overrides)


def read(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe in a TOML file; errors name the file."""
    return parse(presets.read_text(path, "recipe"), str(path), overrides, path.parent)


def parse(text: str, where: str, overrides: Sequence[str] = (), folder: Path = Path()) -> Recipe:
    """Turn TOML text into a `Recipe`; `where` names it in errors; relative paths start in `folder`."""
    table = presets.parse_table(text, where)
    for assignment in overrides:
        override(table, assignment)
    return from_table(table, where, folder)


def from_table(table: Mapping[str, Any], where: str, folder: Path) -> Recipe:
    """Convert a plain table into a checked `Recipe`."""
    if "rungs" in table:
        raise UserError("this is a ladder, not a recipe", where=where, do=f"rungs climb {where}")
    _require_honest(table, where)
    model = table.get("model")
    if isinstance(model, Mapping) and own.is_own(model.get("name")):
        table = {**table, "model": own.from_table(model, folder, dotted(where, ("model",)))}
    elif isinstance(model, Mapping) and model.get("name") == name_of(Own):
        do = 'give a Python file and the class in it: name = "my_net.py:Net"'
        raise UserError("no file named for your own net", where=dotted(where, ("model", "name")), do=do)
    try:
        recipe = msgspec.convert(table, Recipe)
    except msgspec.ValidationError as error:
        explain(str(error), table, where)
    _check(recipe, where)
    return recipe


def _require_honest(table: Mapping[str, Any], where: str) -> None:
    """Refuse a recipe that would choose its epoch on the test set."""
    stopping = table.get("stopping")
    if isinstance(stopping, Mapping) and str(stopping.get("monitor", "")).startswith("test"):
        do = "monitor validation_loss or validation_accuracy; evaluation.watch_test = true shows what it would gain"
        raise UserError("the test set must not choose the epoch", where=dotted(where, ("stopping", "monitor")), do=do)


def require_sane(claims: Sequence[Claim], where: str) -> None:
    """Refuse a claimed accuracy that is not a fraction of 1.

    Raises:
        UserError: One is not.
    """
    for claim in claims:
        place = f"{where}, claim of {claim.metric}"
        if claim.metric.endswith("accuracy") and not -claim.change <= claim.value <= 1:
            do = f"write per cent as a fraction: {claim.value / 100:g}"
            what = "a change of an accuracy" if claim.change else "an accuracy"
            raise UserError(f"{claim.value:g} is not {what}", where=place, do=do)
        if claim.metric == "parameters" and claim.change:
            raise UserError("parameters are counted, so their change is no claim", where=place, do="claim their number")


def to_toml(recipe: Recipe) -> str:
    """Write a recipe, every default included, as TOML that `parse` reads back to an equal recipe."""
    return tomli_w.dumps(to_table(recipe))


def to_table(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a TOML table, without fields that are not set."""
    table: dict[str, Any] = _without_none(msgspec.to_builtins(recipe))
    if isinstance(recipe.model, Own):
        table["model"] = own.to_table(recipe.model)
    return table


def _check(recipe: Recipe, where: str) -> None:
    """Check what the types cannot."""
    require_sane(recipe.claims, where)
    if any(isinstance(augment, Mixup | CutMix) for augment in recipe.augment.validation):
        do = "remove mixup and cutmix: scoring needs one label per image"
        raise UserError("validation images cannot be mixed", where=dotted(where, ("augment", "validation")), do=do)
    if recipe.evaluation.watch_test and not recipe.evaluation.score_test:
        where = dotted(where, ("evaluation", "watch_test"))
        raise UserError("a test set that stays closed cannot be watched", where=where, do="set score_test = true")
    _check_unfreezing(recipe.training, dotted(where, ("training", "unfreeze_epochs")))
    _check_head(recipe.training, dotted(where, ("training", "head_epochs")))
    folds, fold = recipe.data.folds, recipe.data.fold
    if fold is not None and (folds is None or fold >= folds):
        what = f"fold {fold} of {folds}: folds are counted from 0" if folds else "a fold, but no number of folds"
        do = f"give 0 to {folds - 1}" if folds else "set data.folds, too"
        raise UserError(what, where=dotted(where, ("data", "fold")), do=do)
    model = recipe.model
    if isinstance(model, Plain) and len(model.dropout) > len(model.hidden):
        dropouts, hidden = len(model.dropout), len(model.hidden)
        what = f"{dropouts} dropout{'s' * (dropouts != 1)} for {hidden} hidden layer{'s' * (hidden != 1)}"
        raise UserError(what, where=dotted(where, ("model", "dropout")), do="give at most one for each hidden layer")


def _check_head(training: TrainingSpec, where: str) -> None:
    """Refuse to train a head alone before it is trained alone."""
    if training.head_epochs and training.freeze == "backbone" and not training.unfreeze_epochs:
        do = "leave it out, and set training.epochs"
        raise UserError("the head is all that is trained here, so nothing comes after it", where=where, do=do)


def _check_unfreezing(training: TrainingSpec, where: str) -> None:
    """Refuse to unfreeze what is not frozen, or when nothing is trained any more."""
    if training.unfreeze_epochs and training.freeze == "none":
        do = "set training.freeze, or leave it out"
        raise UserError("nothing is frozen that could be unfrozen", where=where, do=do)
    freeze, times = training.freeze, len(training.unfreeze_epochs)
    if isinstance(freeze, int) and times > freeze:
        what = f"a stage is unfrozen {times} times, but {freeze} {'is' if freeze == 1 else 'are'} frozen"
        do = f"give at most {freeze} epoch{'s' * (freeze != 1)}, or freeze more stages"
        raise UserError(what, where=where, do=do)
    if late := [epoch for epoch in training.unfreeze_epochs if epoch >= training.epochs]:
        what = f"after epoch {late[0]} no epoch is left to train the unfrozen stage: there are {training.epochs}"
        raise UserError(what, where=where, do="unfreeze earlier, or train for more epochs")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value
