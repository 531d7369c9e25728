"""Turn a message of msgspec into an error that names the field, what it allows and the closest valid name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from rungs.errors import UserError, did_you_mean, not_allowed
from rungs.recipe.base import Spec, name_of
from rungs.recipe.spec import Recipe

SYNONYMS = {
    "learning_rate": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "size": "image_size",
    "imgsz": "image_size",
    "img_size": "image_size",
    "epoch": "epochs",
    "wd": "weight_decay",
    "early_stopping": "patience",
}
"""What other libraries call a field of a recipe, and its name here."""


def explain(message: str, table: Mapping[str, Any], where: str, root: type[Spec] = Recipe) -> NoReturn:
    """Raise the UserError for a msgspec message such as "Expected `float`, got `str` - at `$.optim.lr`".

    Args:
        message: Of the `msgspec.ValidationError`.
        table: The table that was converted.
        where: Its name in errors.
        root: The struct that it was converted to.
    """
    what, _, at = message.partition(" - at ")
    path = tuple(re.findall(r"[^.\[\]$`]+", at))
    if unknown := re.search(r"unknown field `(.+)`", what):
        field = unknown[1]
        known = fields_of(_struct_of(table, path, root))
        meant = _elsewhere(field, table) if root is Recipe else ""
        do = f"did you mean {meant!r}? see rungs show RECIPE" if meant else did_you_mean(field, known)
        raise UserError("no such field", where=dotted(where, (*path, field)), do=do)
    if missing := re.search(r"missing required field `(.+)`", what):
        raise UserError("this field is missing", where=dotted(where, (*path, missing[1])), do="add it")
    choices = allowed(path, root)
    given = _dig(table, path)
    if choices:
        raise not_allowed(given, choices, dotted(where, path))
    raise UserError(
        f"{what.replace('`', '')} ({given!r})",
        where=dotted(where, path),
        do="see rungs show RECIPE for its current value" if root is Recipe else "fix that value",
    )


def _elsewhere(field: str, table: Mapping[str, Any]) -> str:
    """Return the place (dotted) that a recipe has for a field, by its name or a synonym of it; "" if there is none."""
    name = SYNONYMS.get(field, field)
    sections = [section for section in Recipe.__struct_fields__ if structs_at((section,))]
    found = (f"{section}.{name}" for section in sections if name in fields_of(_struct_of(table, (section,), Recipe)))
    return "" if name == "name" else next(found, "")


def dotted(where: str, path: tuple[str, ...]) -> str:
    """Return the name of a file, followed by a dotted place in its table."""
    return f"{where}, {'.'.join(path)}" if path else where


def _dig(table: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if isinstance(table, Mapping):
            table = table.get(step)
        elif isinstance(table, list | tuple) and step.isdecimal() and int(step) < len(table):
            table = table[int(step)]
        else:
            return table
    return table


def _types_at(path: tuple[str, ...], root: type[Spec] = Recipe) -> list[Any]:
    """Return the alternatives (types) that `root` allows at a path of field names and list positions."""
    found: list[Any] = [root]
    for step in path:
        inner: list[Any] = []
        for kind in found:
            if isinstance(kind, type) and issubclass(kind, Spec):
                if step == "name" and name_of(kind):
                    inner.append(Literal[name_of(kind)])
                elif step in kind.__struct_fields__:
                    inner.append(get_type_hints(kind)[step])
            elif get_origin(kind) is tuple:
                inner.extend(get_args(kind)[:1])
        found = [option for kind in inner for option in _options(kind)]
    return found


def _options(kind: Any) -> list[Any]:
    return (
        [kind] if get_origin(kind) in (None, tuple, Literal) else [o for arg in get_args(kind) for o in _options(arg)]
    )


def structs_at(path: tuple[str, ...], root: type[Spec] = Recipe) -> list[type[Spec]]:
    """Return the structs that `root` allows at a path."""
    return [kind for kind in _types_at(path, root) if isinstance(kind, type) and issubclass(kind, Spec)]


def _struct_of(table: Mapping[str, Any], path: tuple[str, ...], root: type[Spec] = Recipe) -> type[Spec]:
    """Return the struct that `table` chose at `path`."""
    structs = structs_at(path, root)
    name = (_dig(table, path) or {}).get("name")
    return next((kind for kind in structs if name_of(kind) == name), structs[0])


def allowed(path: tuple[str, ...], root: type[Spec] = Recipe) -> list[str]:
    """Return the names that a field may have as its value; none where it takes numbers or any text."""
    kinds = [Literal["true", "false"] if kind is bool else kind for kind in _types_at(path, root)]
    return [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]


def fields_of(kind: type[Spec]) -> list[str]:
    """Return the names of a struct's fields, as a recipe writes them."""
    return [*(["name"] if name_of(kind) else []), *kind.__struct_fields__]
