"""Applying the values of a space to a recipe: checks before anything runs, assignments, grids."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from rungs.errors import UserError
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.roles import has_role
from rungs.recipe.spec import Recipe
from rungs.study.search.space import FITS, Field, Scalar, Space, key

COMBINATIONS_CHECKED = 500
"""Most combinations of choices and range ends to check before anything runs; about half a millisecond each."""
DIGITS = 6
"""Significant digits of a value sampled from a range."""


def check(space: Space, recipe: Recipe, metric: str = "validation_accuracy") -> None:
    """Check every field, both ends of each range and each choice against a recipe, before anything runs.

    Args:
        space: The search space.
        recipe: The base recipe of its trials.
        metric: The metric to optimise.

    Raises:
        UserError: A field that the recipe does not have, or a value that is invalid for it, alone or with others.
    """
    where = f"space {space.name}"
    text = recipes.to_toml(recipe)
    for field in space.fields:
        if metric == "validation_loss" and has_role(field.field, "loss"):
            what = "losses of different kinds cannot be compared"
            raise UserError(what, where=f"{where}, field {field.field}", do="use --metric validation_accuracy")
        for value in _values_to_check(field):
            _check(text, recipe.name, (assignment(field, value),), f"{where}, field {field.field}")
    for together in itertools.islice(_corners(space), COMBINATIONS_CHECKED):
        chosen = tuple(assignment(f, v) for f, v in zip(space.fields, together, strict=True))
        _check(text, recipe.name, chosen, f"{where}, {' with '.join(chosen)}")


def _values_to_check(field: Field) -> tuple[Scalar, ...]:
    """Return the values of a field to check against a recipe: each choice, or both ends and one in between."""
    if field.choices:
        return tuple(key(choice) for choice in field.choices)
    assert field.low is not None and field.high is not None
    if isinstance(field.low, int) or field.step is not None:
        return field.low, field.high
    return field.low, field.low + (field.high - field.low) / math.pi, field.high  # not a whole number


def _corners(space: Space) -> Iterator[tuple[Scalar, ...]]:
    """Return the combinations over all fields of range ends and choices."""
    ends = [
        values if field.choices else (values[0], values[-1])
        for field in space.fields
        for values in [_values_to_check(field)]
    ]
    return itertools.product(*ends)


def _check(text: str, name: str, chosen: tuple[str, ...], where: str) -> None:
    try:
        recipes.parse(text, name, chosen)
    except UserError as error:
        place = (error.where or "").removeprefix(f"{name}, ")
        raise UserError(f"{place}: {error.what}" if place else error.what, where=where, do=error.do) from error


def choice_of(field: Field, value: Scalar) -> Any:
    """Return the choice with this key."""
    return next(one for one in field.choices if key(one) == value)


def assignment(field: Field, value: Scalar) -> str:
    """Return FIELD=VALUE for a trial's value, in TOML, as after `--set`.

    A number inside a range is rounded to `DIGITS` significant digits, to keep it readable.
    """
    if field.choices:
        return f"{field.field}={toml(choice_of(field, value))}"
    if isinstance(value, float) and value not in (field.low, field.high):
        value = float(f"{value:.{DIGITS}g}")
    return f"{field.field}={toml(value)}"


def assignments(space: Space, params: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Return the overrides that turn the base recipe into a trial's, in the order of the space's fields.

    Args:
        space: The search space.
        params: Field -> value, for every field.
    """
    return tuple(assignment(field, params[field.field]) for field in space.fields)


def toml(value: Any) -> str:
    """Return a value as one-line TOML; the word "none" stays unquoted, because it removes a field."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value.lower() == "none" else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {toml(inner)}' for name, inner in value.items())} }}"
    return repr(value)


def own_values(space: Space, recipe: Recipe) -> dict[str, Scalar] | None:
    """Return the recipe's own values, if all of them lie in the space."""
    found: dict[str, Scalar] = {}
    leaves = recipes.to_table(recipe)
    for field in space.fields:
        value = _own_choice(field, recipe) if field.choices else _own_number(field, leaves)
        if value is None:
            return None
        found[field.field] = value
    return found


def _own_choice(field: Field, recipe: Recipe) -> Scalar | None:
    """Return the choice that equals the recipe's own value."""
    text, mine = recipes.to_toml(recipe), identity.digest(recipe)
    for choice in map(key, field.choices):
        if identity.digest(recipes.parse(text, recipe.name, (assignment(field, choice),))) == mine:
            return choice
    return None


def _own_number(field: Field, leaves: Any) -> Scalar | None:
    """Return the recipe's number, if it lies in the range and on a step."""
    for step in field.field.split("."):
        is_position = isinstance(leaves, list | tuple) and step.isdecimal() and int(step) < len(leaves)
        leaves = leaves[int(step)] if is_position else leaves.get(step) if isinstance(leaves, dict) else None
    low, high = field.low, field.high
    if isinstance(leaves, bool) or not isinstance(leaves, int | float) or low is None or high is None:
        return None
    value = leaves if isinstance(low, int) else float(leaves)
    steps = (value - low) / field.step if field.step else 0.0
    return value if low <= value <= high and abs(steps - round(steps)) < FITS * max(1, steps) else None


def grid(space: Space) -> list[dict[str, Scalar]]:
    """Return every point of the grid: each choice, or `points` of a range, or each of its steps."""
    names = [field.field for field in space.fields]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*map(grid_values, space.fields))]


def grid_values(field: Field) -> tuple[Scalar, ...]:
    """Return the grid values of a field, both ends of a range included."""
    if field.choices:
        return tuple(key(choice) for choice in field.choices)
    low, high = field.low, field.high
    assert low is not None and high is not None
    if field.step is not None:
        steps = [low + i * field.step for i in range(round((high - low) / field.step) + 1)]
        return tuple(steps if isinstance(low, int) else (float(f"{value:.10g}") for value in steps))
    shares = [i / (field.points - 1) for i in range(field.points)]
    between = [low * (high / low) ** s if field.log else low + (high - low) * s for s in shares]
    if isinstance(low, int):
        return tuple(dict.fromkeys(round(value) for value in between))
    return (low, *(float(f"{value:.4g}") for value in between[1:-1]), high)
