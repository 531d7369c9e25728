"""The identity of recipes and runs: digests, fingerprints, differences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from rungs.recipe.base import Role
from rungs.recipe.roles import fields_with, has_role, within
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import load, shipped

NO_RESULT: tuple[Role, ...] = ("about", "speed", "path")
"""Roles of the fields that change nothing in a recipe's result, so that they stay out of the fingerprint."""
VERSION = version("rungs")
"""Of the package as it is installed."""
PACKAGES_THAT_COMPUTE = ("data", "models", "optim", "evaluate", "training")
FILES_THAT_COMPUTE = ("base", "augments", "groups", "models", "optimizers", "spec", "seeds")
"""These files of `rungs.recipe` count too: the defaults of a recipe, and how seeds are derived."""


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables by dotted name; a list is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return leaves


def changes(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields in which a recipe differs from the shipped one of its name, dotted; () where there is none.

    Not counted: the seed, where the data is, how results are scored, and what a run resolves by itself.
    """
    if recipe.name not in shipped():
        return ()
    mine, usual = (flat(msgspec.to_builtins(one)) for one in (recipe, load(recipe.name)))
    for leaves in (mine, usual):
        leaves |= {field: leaves[field].partition(":")[0] for field in fields_with("place")}
    resolved = {field for field in fields_with("resolved") if usual.get(field) in (None, "auto", "")}
    return tuple(
        key
        for key in dict.fromkeys((*mine, *usual))
        if mine.get(key) != usual.get(key)
        and not any(within(key, field) for field in resolved)
        and not has_role(key, "seed", "scores", *NO_RESULT)
    )


def differences(one: Recipe, other: Recipe) -> tuple[str, ...]:
    """Return the fields, dotted, in which the results of two recipes may differ."""
    first, second = (flat(msgspec.to_builtins(recipe)) for recipe in (one, other))
    keys = dict.fromkeys((*first, *second))
    return tuple(k for k in keys if not has_role(k, *NO_RESULT) and first.get(k) != second.get(k))


def digest(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of the fields that affect the result: those without a role of `NO_RESULT`.

    A field that is newer than runs on disk is left out while it has its default: it changes nothing.
    """
    table = msgspec.to_builtins(recipe)
    unused = [field for field in fields_with("newer") if _has_default(recipe, field)]
    for field in (*fields_with(*NO_RESULT), *unused):
        *parents, last = field.split(".")
        place = table
        for parent in parents:
            place = place[parent]
        place.pop(last, None)
    return hashlib.sha256(msgspec.json.encode(table, order="sorted")).hexdigest()


def _has_default(recipe: Recipe, field: str) -> bool:
    """Return whether a dotted field of a recipe has its default."""
    *parents, last = field.split(".")
    spec = reduce(getattr, parents, recipe)
    return any(one.name == last and getattr(spec, last) == one.default for one in msgspec.structs.fields(spec))


def code_version() -> str:
    """Return the version of this package with a digest (hex) of the source that decides what a recipe computes."""
    root = Path(__file__).parents[1]
    files = [path for package in PACKAGES_THAT_COMPUTE for path in sorted((root / package).rglob("*.py"))]
    source = b"".join(
        path.read_bytes() for path in (*files, *(root / "recipe" / f"{name}.py" for name in FILES_THAT_COMPUTE))
    )
    return f"{VERSION}+{hashlib.sha256(source).hexdigest()[:12]}"


def fingerprint(recipe: Recipe, data_hash: str, code_version: str) -> str:
    """Return the identity (hex) of a run: the same recipe, data and code give the same one.

    The recipe is resolved: `training.compile`, as chosen by a trial on this machine, is part of it.
    """
    return hashlib.sha256("\n".join((digest(recipe), data_hash, code_version)).encode()).hexdigest()
