"""Which fields of a recipe have a role, read from the annotations of the structs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta

from rungs.recipe.base import Role, Spec
from rungs.recipe.spec import Recipe


@cache
def fields_with(*roles: Role) -> tuple[str, ...]:
    """Return the fields and tables of a recipe that have any of these roles, dotted, in the order of the structs."""
    return tuple(dict.fromkeys(name for name, has in _roles(Recipe, "") if not has.isdisjoint(roles)))


def within(field: str, table: str) -> bool:
    """Return whether a dotted field is `table` or a part of it."""
    return f"{field}.".startswith(f"{table}.")


def has_role(field: str, *roles: Role) -> bool:
    """Return whether a dotted field, or a table that it is a part of, has any of these roles."""
    return any(within(field, one) for one in fields_with(*roles))


def _roles(kind: type[Spec], prefix: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each field below a struct with its roles; those of a family's structs together, without entering lists."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name not in kind.__struct_fields__:
            continue
        yield f"{prefix}{name}", set(_named(hint))
        for inner in _structs(hint):
            yield from _roles(inner, f"{prefix}{name}.")


def _named(hint: Any) -> Iterator[str]:
    for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        if isinstance(meta, Meta):
            yield from (meta.extra or {}).get("roles", ())


def _structs(hint: Any) -> Iterator[type[Spec]]:
    """Yield the structs that a field's value can be."""
    if isinstance(hint, type) and issubclass(hint, Spec):
        yield hint
    elif get_origin(hint) is Annotated:
        yield from _structs(get_args(hint)[0])
    elif get_origin(hint) is not tuple:
        for option in get_args(hint):
            yield from _structs(option)
