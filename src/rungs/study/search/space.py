"""Search spaces: TOML into frozen structs, checked against a recipe before anything runs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeAlias

import msgspec
from msgspec import Meta

from rungs.errors import UserError
from rungs.recipe import presets
from rungs.recipe.base import Name, Role, Spec
from rungs.recipe.explain import explain
from rungs.recipe.roles import fields_with, within

Scalar: TypeAlias = bool | int | float | str
"""Type of a trial's value; a choice that is a list or a table is represented by its JSON."""
FITS = 1e-9  # 0.3 / 0.1 is not a whole number in floating point

OTHER_IMAGES = "trials that are scored on other images cannot be compared"
NO_TEST = "the test set is not for selection, and a search does not open it"
DECIDES = "it decides which epoch's weights are kept; trials that choose differently cannot be compared"
REFUSED: dict[Role, str] = {
    "images": OTHER_IMAGES,
    "test set": NO_TEST,
    "seed": "a seed that wins is lucky, not better: the finals re-run the best trials on fresh seeds",
    "scores": "it changes how a net is scored, not the net",
    "chooses": DECIDES,
    "about": "it does not change the result",
}
"""Roles of the fields that a search cannot vary, and why."""


class Field(Spec, kw_only=True, frozen=True):
    """One field of a recipe that a search varies: a range, from `low` to `high`, or `choices`.

    `log`: sample on a logarithmic scale. `step`: only multiples of it above `low`. Whole numbers at both ends make a
    range of whole numbers. `points`: number of values of a range in a grid.
    """

    field: str  # dotted, optim.lr
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Any, ...] = ()
    points: Annotated[int, Meta(ge=2, le=100)] = 5


class Space(Spec, kw_only=True, frozen=True):
    """The fields that a search varies."""

    name: Name
    about: str
    source: str = ""
    fields: Annotated[tuple[Field, ...], Meta(min_length=1)]


def shipped() -> dict[str, Path]:
    """Return the spaces that come with the package, name -> file."""
    return presets.shipped("rungs.study.search")


def load(name: str | Path) -> Space:
    """Read a shipped space by name, or any space by path.

    Raises:
        UserError: No such space, bad TOML, a wrong field or value, an empty range, a field given twice, a field
            that a search cannot vary.
    """
    path = presets.find(name, shipped(), "space", "--space")
    return parse(presets.read_text(path, "space"), str(path))


def parse(text: str, where: str) -> Space:
    """Turn TOML text into a checked `Space`; `where` names it in errors."""
    table = presets.parse_table(text, where)
    for other, command in (("rungs", "rungs climb"), ("model", "rungs train")):
        if other in table:
            kind = "a ladder" if other == "rungs" else "a recipe"
            raise UserError(f"this is {kind}, not a space", where=where, do=f"{command} {where}; rungs list spaces")
    try:
        space = msgspec.convert(table, Space)
    except msgspec.ValidationError as error:
        _explain(error, table, where)
    require_sane(space, where)
    return space


def require_sane(space: Space, where: str) -> None:
    """Reject a space that is invalid for every recipe; `where` names it in errors.

    Raises:
        UserError: An empty range, a range and choices, a field given twice, a field that a search cannot vary.
    """
    names: list[str] = []
    for field in space.fields:
        _require_sane(field, f"{where}, field {field.field}")
        _require_allowed(field.field, f"{where}, field {field.field}")
        for name in names:
            if within(name, field.field) or within(field.field, name):
                what = f"{field.field} is given twice" if name == field.field else f"{field.field} overlaps {name}"
                raise UserError(what, where=f"{where}, field {field.field}", do="vary each field once")
        names.append(field.field)


def _explain(error: msgspec.ValidationError, table: dict[str, Any], where: str) -> NoReturn:
    """Raise a UserError for an invalid space, with fields called by name."""
    try:
        explain(str(error), table, where, Space)
    except UserError as plain:
        place = plain.where or ""
        if found := re.search(r"fields\.(\d+)\.", place):
            name = table["fields"][int(found[1])].get("field") or f"number {int(found[1]) + 1}"
            place = place.replace(found[0], f"field {name}, ")
        raise UserError(plain.what, where=place, do=plain.do) from error


def _require_sane(field: Field, where: str) -> None:
    """Reject a field without a valid range or choices."""
    if field.choices:
        if any(v is not None for v in (field.low, field.high, field.step)) or field.log:
            raise UserError("both choices and a range", where=where, do="remove low, high, log and step, or choices")
        for choice in field.choices:
            _require_plain(choice, where)
        keys = [key(choice) for choice in field.choices]
        if len(keys) == 1 or len(set(keys)) < len(keys):
            what = "a single choice" if len(keys) == 1 else "a choice is given twice"
            raise UserError(what, where=where, do="give two or more different choices")
        return
    low, high = field.low, field.high
    if low is None or high is None:
        what = "neither a range (low and high) nor choices"
        raise UserError(what, where=where, do="give low and high, or choices")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"the range {low} to {high} is not finite", where=where, do="give two finite numbers")
    if low >= high:
        raise UserError(f"an empty range: low {low:g} is not below high {high:g}", where=where, do="fix low or high")
    if field.log and low <= 0:
        raise UserError(f"log needs low above 0, got {low:g}", where=where, do="give a low above 0, or remove log")
    if isinstance(low, int) != isinstance(high, int):
        whole = f"both whole ({low:g}, {high:g}) or " if low == int(low) and high == int(high) else ""
        do = f"write {whole}both with a decimal point ({float(low)}, {float(high)})"
        raise UserError("low and high are of different types: one is a whole number", where=where, do=do)
    if field.step is not None:
        _require_step(field, low, high, where)


def _require_plain(choice: Any, where: str) -> None:
    """Reject a choice of an unsupported type, such as a date."""
    if isinstance(choice, list | tuple | dict):
        for part in choice.values() if isinstance(choice, dict) else choice:
            _require_plain(part, where)
    elif not isinstance(choice, bool | int | float | str):
        what = f"{choice} is a {type(choice).__name__}, which no field accepts"
        raise UserError(what, where=where, do="give true or false, a number, a string, a list or a table")


def _require_step(field: Field, low: float, high: float, where: str) -> None:
    """Reject a step that does not lead from low to high."""
    step = field.step or 0
    if field.log:
        raise UserError("log and step cannot be combined", where=where, do="remove log or step")
    if isinstance(low, int) and not isinstance(step, int):
        raise UserError(f"step {step:g} is not a whole number, but the range is", where=where, do="give a whole step")
    steps = (high - low) / step if step > 0 and math.isfinite(step) else 0.0
    if steps < 1 - FITS or abs(steps - round(steps)) > FITS * max(1, steps):
        do = "give a step that divides the range evenly"
        raise UserError(f"a step of {step:g} does not lead from {low:g} to {high:g}", where=where, do=do)


def refusals() -> dict[str, str]:
    """Return the dotted fields and tables that a search cannot vary, and why."""
    return {field: why for role, why in REFUSED.items() for field in fields_with(role)}


def _require_allowed(name: str, where: str) -> None:
    """Reject a field that decides what is trained on or how it is scored."""
    for refused, why in refusals().items():
        if within(name, refused) or within(refused, name):
            do = "search another field" if within(name, refused) else f"search fields inside it other than {refused}"
            raise UserError(f"a search cannot vary {refused}: {why}", where=where, do=do)


def key(choice: Any) -> Scalar:
    """Return the key of a choice: itself, or the compact JSON of a list or a table."""
    return choice if isinstance(choice, bool | int | float | str) else json.dumps(choice, separators=(",", ":"))
