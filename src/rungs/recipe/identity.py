"""What makes two recipes, or two runs, the same: digests, fingerprints, differences."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rungs import __version__
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import load, shipped

ABOUT_FIELDS = ("name", "about", "source", "assumptions", "claims")
"""The fields of a recipe that change nothing in its result, so that they stay out of the fingerprint."""
FLOORS_THAT_COMPUTE = ("data", "models", "optim", "evaluate", "training")
FILES_THAT_COMPUTE = ("base", "augments", "models", "optimizers", "spec", "seeds")
"""Beside them these files of `rungs.recipe`: what a recipe's defaults are, and how seeds are derived."""


RESOLVED = ("data.image_size", "training.precision", "training.compile", "training.convolution")
"""Fields that a run fills in where a recipe leaves them open."""
NO_MATTER = "cuda_graphs"
"""A field of `training` that changes nothing but the speed: a run goes on with or without."""


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested tables by their dotted names; a list is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return leaves


def changes(recipe: Recipe) -> tuple[str, ...]:
    """Return the fields in which a recipe differs from the shipped one of its name, dotted; () where there is none.

    Not counted: the seed, where the same data lies, how results are scored, and what a run resolves by itself.
    """
    if recipe.name not in shipped():
        return ()
    mine, usual = (flat(msgspec.to_builtins(one)) for one in (recipe, load(recipe.name)))
    for leaves in (mine, usual):
        leaves["data.source"] = leaves["data.source"].partition(":")[0]
    resolved = {key for key in RESOLVED if usual[key] in (None, "auto")}
    skipped = {
        "seed",
        f"training.{NO_MATTER}",
        *ABOUT_FIELDS,
        *resolved,
        *(key for key in mine if key.startswith("evaluation.")),
    }
    keys = dict.fromkeys((*mine, *usual))
    return tuple(key for key in keys if key not in skipped and mine.get(key) != usual.get(key))


def differences(one: Recipe, other: Recipe) -> tuple[str, ...]:
    """Return the fields, dotted, in which the results of two recipes may differ."""
    first, second = (flat(msgspec.to_builtins(recipe)) for recipe in (one, other))
    keys = dict.fromkeys((*first, *second))
    silent = {*ABOUT_FIELDS, f"training.{NO_MATTER}"}
    return tuple(k for k in keys if not {k, k.partition(".")[0]} & silent and first.get(k) != second.get(k))


def digest(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of all that influences the result: the recipe without `ABOUT_FIELDS` and `NO_MATTER`."""
    table = {k: v for k, v in msgspec.to_builtins(recipe).items() if k not in ABOUT_FIELDS}
    table["training"].pop(NO_MATTER)
    return hashlib.sha256(msgspec.json.encode(table, order="sorted")).hexdigest()


def code_version() -> str:
    """Return the version of this package with a digest (hex) of the source that decides what a recipe computes."""
    root = Path(__file__).parents[1]
    files = [path for floor in FLOORS_THAT_COMPUTE for path in sorted((root / floor).rglob("*.py"))]
    source = b"".join(
        path.read_bytes() for path in (*files, *(root / "recipe" / f"{name}.py" for name in FILES_THAT_COMPUTE))
    )
    return f"{__version__}+{hashlib.sha256(source).hexdigest()[:12]}"


def fingerprint(recipe: Recipe, data_hash: str, code_version: str) -> str:
    """Return the identity (hex) of a run: the same recipe, data and code give the same one.

    The recipe is resolved: what a trial on this machine found, `training.compile`, is part of it.
    """
    return hashlib.sha256("\n".join((digest(recipe), data_hash, code_version)).encode()).hexdigest()
