"""Overrides of a recipe's fields: `optim.lr=0.05` applied to a table."""

from __future__ import annotations

import tomllib
from typing import Any

from rungs.errors import UserError
from rungs.recipe.base import name_of
from rungs.recipe.explain import allowed, fields_of, structs_at
from rungs.recipe.own import is_own


def override(table: dict[str, Any], assignment: str) -> None:
    """Apply one assignment, `dotted.field=value`, to the table of a recipe.

    `none` is a value where the field has it, as `evaluation.tta` does; elsewhere it takes the field out.

    Raises:
        UserError: Not an assignment, or its field is inside a value.
    """
    key, equals, text = assignment.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError("not an assignment", where=f"--set {assignment}", do="write it as field=value, optim.lr=0.05")
    *parents, last = key.strip().split(".")
    place: Any = table
    for step in parents:
        place = _step_into(place, step, key)
    value = _value(text.strip(), (*parents, last))
    if isinstance(place, list):
        place[_index(place, last, key)] = value
    elif value is None:
        place.pop(last, None)
    elif last == "name" and len(parents) > 0:
        _rename(place, tuple(parents), value)
    else:
        place[last] = value


def _step_into(place: Any, step: str, key: str) -> Any:
    inner = place[_index(place, step, key)] if isinstance(place, list) else place.setdefault(step, {})
    if not isinstance(inner, dict | list):
        raise UserError(f"{step!r} is a value and has no fields", where=f"--set {key}", do="see rungs show RECIPE")
    return inner


def _index(place: list[Any], step: str, key: str) -> int:
    if step.isdecimal() and int(step) < len(place):
        return int(step)
    raise UserError(f"{step!r} is not a position in a list of {len(place)}", where=f"--set {key}", do="count from 0")


def _value(text: str, path: tuple[str, ...]) -> Any:
    if text.lower() == "none":
        return "none" if "none" in allowed(path) else None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _rename(place: dict[str, Any], path: tuple[str, ...], name: Any) -> None:
    """Choose another alternative of a family: fields that it does not have are dropped."""
    alternatives = {name_of(kind): kind for kind in structs_at(path)}
    if path == ("model",) and is_own(name):  # its fields are not known here
        place.clear()
    place["name"] = name
    if isinstance(name, str) and name in alternatives:
        for field in set(place) - set(fields_of(alternatives[name])):
            del place[field]
