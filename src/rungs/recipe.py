"""Recipes: TOML into frozen structs and back, dotted overrides, clear errors, fingerprints."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from msgspec.structs import replace

from rungs import __version__
from rungs.errors import UserError, did_you_mean
from rungs.explain import dotted, explain, fields_of, structs_at
from rungs.specs import Claim, CutMix, DataSpec, Mixup, Plain, Recipe, name_of

ABOUT_FIELDS = ("name", "about", "source", "assumptions", "claims")
"""The fields of a recipe that change nothing in its result, so that they stay out of the fingerprint."""
FLOORS_THAT_COMPUTE = ("data", "augment", "models", "optim", "evaluate", "training")


RESOLVED = ("data.image_size", "training.precision", "training.compile", "training.convolution")
"""Fields that a run fills in where a recipe leaves them open."""
NO_MATTER = "cuda_graphs"
"""A field of `training` that changes nothing but the speed: a run goes on with or without."""


def choose(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), *, data: str | None = None, seed: int | None = None
) -> Recipe:
    """Return a recipe with fields changed.

    With another kind of source, sizes of parts that the recipe gives as numbers of images, which fit its own
    source, are the usual ones again (see `rungs.specs.DataSpec`), unless `overrides` say otherwise.

    Args:
        recipe: A shipped recipe's name, the path of a TOML file, or a recipe.
        overrides: Assignments `dotted.field=value`, as after `--set`.
        data: Another source than the recipe's: "cifar10", "folder:PATH", …
        seed: Another seed than the recipe's.

    Raises:
        UserError: No such recipe, or a wrong field, type or value.
    """
    shortcuts = [f"data.{tomli_w.dumps({'source': data})}"] if data is not None else []
    shortcuts += [f"seed={seed}"] if seed is not None else []
    if not isinstance(recipe, Recipe):
        recipe = load(recipe)
    if data is not None and data.partition(":")[0] != recipe.data.source.partition(":")[0]:
        usual = DataSpec()
        counted = (part for part in ("train", "validation", "test") if isinstance(getattr(recipe.data, part), int))
        shortcuts += [f"data.{part}={getattr(usual, part)}" for part in counted]
    return parse(to_toml(recipe), recipe.name, [*shortcuts, *overrides])


def closed(recipe: Recipe) -> Recipe:
    """Return a recipe that is judged by validation alone: its test set stays closed, and no picture of it is kept."""
    evaluation = replace(recipe.evaluation, score_test=False, watch_test=False, tta="none", mistakes=0)
    return replace(recipe, evaluation=evaluation)


def shipped() -> dict[str, Path]:
    """Return the recipes that come with the package, name -> file."""
    folder = Path(str(resources.files("rungs") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by its name, or any recipe by its path, and apply `overrides`.

    Args:
        name: A name of `shipped()` or the path of a TOML file.
        overrides: Assignments `dotted.field=value`, the value in TOML; a bare word is a string and
            `none` removes the field.

    Raises:
        UserError: No such recipe, bad TOML, a wrong field, type or value.
    """
    path = shipped().get(str(name), Path(name))
    if not os.path.isfile(path):  # noqa: PTH113 (False, too, for what can be no path at all)
        if (
            re.fullmatch(r"[\w.-]{1,80}", str(name))
            and (resources.files("rungs") / "ladders" / f"{name}.toml").is_file()
        ):
            raise UserError(f"{name} is a ladder, not a recipe", do=f"rungs climb {name}")
        do = f"{did_you_mean(str(name), list(shipped()))}; or give the path of a .toml file"
        raise UserError(f"no recipe {str(name)!r}", do=do)
    return read(path, overrides)


def read(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe in a TOML file; errors name the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"not a text file: {error}", where=path, do="give a recipe, a TOML file in UTF-8") from error
    return parse(text, str(path), overrides)


def parse(text: str, where: str, overrides: Sequence[str] = ()) -> Recipe:
    """Turn TOML text into a `Recipe`; `where` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"not valid TOML: {error}", where=where, do="mend that line") from error
    for assignment in overrides:
        _override(table, assignment)
    return from_table(table, where)


def from_table(table: Mapping[str, Any], where: str) -> Recipe:
    """Convert a plain table into a checked `Recipe`."""
    if "rungs" in table:
        raise UserError("this is a ladder, not a recipe", where=where, do=f"rungs climb {where}")
    _require_honest(table, where)
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
        do = "monitor validation_loss or validation_accuracy; evaluation.watch_test = true shows what it would flatter"
        raise UserError("the test set chooses nothing", where=dotted(where, ("stopping", "monitor")), do=do)


def require_sane(claims: Sequence[Claim], where: str) -> None:
    """Refuse a claimed accuracy that is no fraction of 1.

    Raises:
        UserError: One is not.
    """
    for claim in claims:
        if claim.metric.endswith("accuracy") and not 0 <= claim.value <= 1:
            do = f"write per cent as a fraction: {claim.value / 100:g}"
            raise UserError(f"{claim.value:g} is no accuracy", where=f"{where}, claim of {claim.metric}", do=do)


def to_toml(recipe: Recipe) -> str:
    """Write a recipe, every default included, as TOML that `parse` reads back to an equal recipe."""
    return tomli_w.dumps(_without_none(msgspec.to_builtins(recipe)))


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
    root = Path(__file__).parent
    files = [path for floor in FLOORS_THAT_COMPUTE for path in sorted((root / floor).rglob("*.py"))]
    source = b"".join(path.read_bytes() for path in (*files, *sorted((root / "specs").glob("*.py")), root / "seeds.py"))
    return f"{__version__}+{hashlib.sha256(source).hexdigest()[:12]}"


def fingerprint(recipe: Recipe, data_hash: str, code_version: str) -> str:
    """Return the identity (hex) of a run: the same recipe, data and code give the same one.

    The recipe is resolved: what a trial on this machine found, `training.compile`, is part of it.
    """
    return hashlib.sha256("\n".join((digest(recipe), data_hash, code_version)).encode()).hexdigest()


# --- overrides ----------------------------------------------------------------------------------------


def _override(table: dict[str, Any], assignment: str) -> None:
    key, equals, text = assignment.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError("not an assignment", where=f"--set {assignment}", do="write it as field=value, optim.lr=0.05")
    *parents, last = key.strip().split(".")
    place: Any = table
    for step in parents:
        place = _step_into(place, step, key)
    value = _value(text.strip())
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
        raise UserError(f"{step!r} is a value, it has no fields", where=f"--set {key}", do="see rungs show RECIPE")
    return inner


def _index(place: list[Any], step: str, key: str) -> int:
    if step.isdecimal() and int(step) < len(place):
        return int(step)
    raise UserError(f"{step!r} is no position in a list of {len(place)}", where=f"--set {key}", do="count from 0")


def _value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _rename(place: dict[str, Any], path: tuple[str, ...], name: Any) -> None:
    """Choose another alternative of a family: fields that it does not have are dropped."""
    alternatives = {name_of(kind): kind for kind in structs_at(path)}
    place["name"] = name
    if isinstance(name, str) and name in alternatives:
        for field in set(place) - set(fields_of(alternatives[name])):
            del place[field]


def _check(recipe: Recipe, where: str) -> None:
    """Check what the types cannot."""
    require_sane(recipe.claims, where)
    if any(isinstance(augment, Mixup | CutMix) for augment in recipe.augment.validation):
        do = "take mixup and cutmix out: scoring needs one label an image"
        raise UserError("validation images cannot be mixed", where=dotted(where, ("augment", "validation")), do=do)
    if recipe.evaluation.watch_test and not recipe.evaluation.score_test:
        where = dotted(where, ("evaluation", "watch_test"))
        raise UserError("a test set that stays closed cannot be watched", where=where, do="set score_test = true")
    model = recipe.model
    if isinstance(model, Plain) and len(model.dropout) > len(model.hidden):
        what = f"{len(model.dropout)} dropouts for {len(model.hidden)} hidden layers"
        raise UserError(what, where=dotted(where, ("model", "dropout")), do="give at most one for each hidden layer")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list | tuple) else value
