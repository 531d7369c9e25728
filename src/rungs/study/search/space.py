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
"""What a value of a trial can be; a choice that is a list or a table is called by its JSON."""
FITS = 1e-9  # 0.3 / 0.1 is no whole number on a computer

OTHER_IMAGES = "trials that are scored on other images cannot be compared"
NO_TEST = "the test set chooses nothing, and a search does not open it"
DECIDES = "the recipe says which epoch's weights count; trials that are judged otherwise cannot be compared"
REFUSED: dict[Role, str] = {
    "images": OTHER_IMAGES,
    "test set": NO_TEST,
    "seed": "a seed that wins is luck, not a finding: the finals re-run the best trials on fresh seeds",
    "scores": "how a net is scored is no property of the net",
    "chooses": DECIDES,
    "about": "it changes nothing in the result",
}
"""Roles of the fields that no search may vary, and why."""


class Field(Spec, kw_only=True, frozen=True):
    """One field of a recipe that a search varies: a range, from `low` to `high`, or `choices`.

    `log`: the logarithm of a range is searched. `step`: only every so much of a range. Whole numbers at both ends
    make a range of whole numbers. `points`: how many values of a range a grid takes.
    """

    field: str  # dotted, optim.lr
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Any, ...] = ()
    points: Annotated[int, Meta(ge=2, le=100)] = 5


class Space(Spec, kw_only=True, frozen=True):
    """What a search may change."""

    name: Name
    about: str
    source: str = ""
    fields: Annotated[tuple[Field, ...], Meta(min_length=1)]


def shipped() -> dict[str, Path]:
    """Return the spaces that come with the package, name -> file."""
    return presets.shipped("rungs.study.search")


def load(name: str | Path) -> Space:
    """Read a shipped space by its name, or any by its path.

    Raises:
        UserError: No such space, bad TOML, a wrong field or value, an empty range, two fields of one name, a field
            that no search may vary.
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
    """Refuse what makes no sense for any recipe; `where` names the space in errors.

    Raises:
        UserError: An empty range, a range and choices, two fields of one name, a field that no search may vary.
    """
    names: list[str] = []
    for field in space.fields:
        _require_sane(field, f"{where}, field {field.field}")
        _require_allowed(field.field, f"{where}, field {field.field}")
        for name in names:
            if within(name, field.field) or within(field.field, name):
                what = f"{field.field} is varied twice" if name == field.field else f"{name} is a part of it, or it of"
                raise UserError(what, where=f"{where}, field {field.field}", do="vary each field once")
        names.append(field.field)


def _explain(error: msgspec.ValidationError, table: dict[str, Any], where: str) -> NoReturn:
    """Raise the UserError for what is wrong in a space; fields are called by their names."""
    try:
        explain(str(error), table, where, Space)
    except UserError as plain:
        place = plain.where or ""
        if found := re.search(r"fields\.(\d+)\.", place):
            name = table["fields"][int(found[1])].get("field") or f"number {int(found[1]) + 1}"
            place = place.replace(found[0], f"field {name}, ")
        raise UserError(plain.what, where=place, do=plain.do) from error


def _require_sane(field: Field, where: str) -> None:
    """Refuse what is neither a range nor choices, or an empty one."""
    if field.choices:
        if any(v is not None for v in (field.low, field.high, field.step)) or field.log:
            raise UserError("both choices and a range", where=where, do="leave low, high, log and step out")
        for choice in field.choices:
            _require_plain(choice, where)
        keys = [key(choice) for choice in field.choices]
        if len(keys) == 1 or len(set(keys)) < len(keys):
            what = "one choice is none" if len(keys) == 1 else "a choice stands there twice"
            raise UserError(what, where=where, do="give two or more different choices")
        return
    low, high = field.low, field.high
    if low is None or high is None:
        what = "neither a range, with a low and a high, nor any choices"
        raise UserError(what, where=where, do="give low and high, or choices")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{low} to {high} does not end", where=where, do="give two finite numbers")
    if low >= high:
        raise UserError(f"an empty range: low {low:g} is not below high {high:g}", where=where, do="fix low or high")
    if field.log and low <= 0:
        raise UserError(f"no logarithm of low = {low:g}", where=where, do="give a low above 0, or leave log out")
    if isinstance(low, int) != isinstance(high, int):
        whole = f"both whole ({low:g}, {high:g}) or " if low == int(low) and high == int(high) else ""
        do = f"write {whole}both with a point ({float(low)}, {float(high)})"
        raise UserError("one end is a whole number, the other is not", where=where, do=do)
    if field.step is not None:
        _require_step(field, low, high, where)


def _require_plain(choice: Any, where: str) -> None:
    """Refuse a choice that no field can have, such as a date."""
    if isinstance(choice, list | tuple | dict):
        for part in choice.values() if isinstance(choice, dict) else choice:
            _require_plain(part, where)
    elif not isinstance(choice, bool | int | float | str):
        what = f"{choice} is no value of a field, but a {type(choice).__name__}"
        raise UserError(what, where=where, do="give true or false, a number, a string, a list or a table")


def _require_step(field: Field, low: float, high: float, where: str) -> None:
    """Refuse a step that does not lead from low to high."""
    step = field.step or 0
    if field.log:
        raise UserError("a step on a logarithm", where=where, do="leave log or step out")
    if isinstance(low, int) and not isinstance(step, int):
        raise UserError(f"step {step:g} leaves the whole numbers", where=where, do="give a whole step")
    steps = (high - low) / step if step > 0 and math.isfinite(step) else 0.0
    if steps < 1 - FITS or abs(steps - round(steps)) > FITS * max(1, steps):
        do = "give a step that divides the range without a rest"
        raise UserError(f"a step of {step:g} does not lead from {low:g} to {high:g}", where=where, do=do)


def refusals() -> dict[str, str]:
    """Return the fields and tables, dotted, that no search may vary, and why."""
    return {field: why for role, why in REFUSED.items() for field in fields_with(role)}


def _require_allowed(name: str, where: str) -> None:
    """Refuse a field that decides what is seen or scored."""
    for refused, why in refusals().items():
        if within(name, refused) or within(refused, name):
            do = "search another field" if within(name, refused) else f"search the fields inside it, but not {refused}"
            raise UserError(f"no search may vary {refused}: {why}", where=where, do=do)


def key(choice: Any) -> Scalar:
    """Return what a choice is called: itself, or the compact JSON of a list or a table."""
    return choice if isinstance(choice, bool | int | float | str) else json.dumps(choice, separators=(",", ":"))
