"""What all structs of a recipe are, and the ranges that numbers in them may take."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, get_args

from msgspec import Meta, Struct

Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e100)]  # finite
NonNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e100)]
Epochs: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$", max_length=80)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Below1: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
CountOrZero: TypeAlias = Annotated[int, Meta(ge=0)]
ImageSize: TypeAlias = Annotated[int, Meta(ge=8, le=1024)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)] | Annotated[int, Meta(ge=0)]  # a fraction, or a number of images


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all structs of a recipe: immutable, and an unknown field is an error."""


def name_of(spec: Spec | type[Spec]) -> str:
    """Return the name that a recipe gives to one alternative of a family; "" for a struct that is none."""
    return str(spec.__struct_config__.tag or "")


def alternatives(family: Any) -> dict[str, type[Spec]]:
    """Return the structs of a family such as `AnyModel`, by the name that a recipe gives them."""
    return {name_of(kind): kind for kind in get_args(family)}
