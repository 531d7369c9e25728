"""Search spaces: TOML into frozen structs, checked against a recipe before anything runs."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from rungs.specs import Name, Spec

Scalar = bool | int | float | str
"""What a value of a trial can be; a choice that is a list or a table is called by its JSON."""


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
