"""What all structs of a recipe are, and the ranges that numbers in them may take."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

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

Role: TypeAlias = Literal[
    "about",  # says where a recipe comes from and changes nothing
    "seed",
    "place",  # where the same thing lies on this machine
    "path",  # where a file lies; what is in it is told by its hash
    "speed",  # changes nothing but the speed
    "rounding",  # how the same is computed, equal up to rounding
    "resolved",  # a run fills it in where a recipe leaves it open
    "images",  # decides which images are scored, or what is done to them before
    "test set",  # decides which images are kept for the test
    "scores",  # how a trained net is scored
    "judge",  # changes who judges: two runs that differ in it cannot be compared
    "chooses",  # decides which epoch's weights count
    "loss",  # decides what a loss means
]
"""What a field of a recipe is to those who compare, search or resume; `rungs.recipe.roles` asks for it."""


def role(*names: Role) -> Meta:
    """Return the mark that gives a field its roles; it stands in the field's `Annotated`."""
    return Meta(extra={"roles": names})


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all structs of a recipe: immutable, and an unknown field is an error."""


def name_of(spec: Spec | type[Spec]) -> str:
    """Return the name that a recipe gives to one alternative of a family; "" for a struct that is none."""
    return str(spec.__struct_config__.tag or "")


def alternatives(family: Any) -> dict[str, type[Spec]]:
    """Return the structs of a family such as `AnyModel`, by the name that a recipe gives them."""
    return {name_of(kind): kind for kind in get_args(family)}
