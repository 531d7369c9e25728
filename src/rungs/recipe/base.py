"""The base of all structs of a recipe, and the ranges of the numbers in them."""

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
    "about",  # where a recipe comes from; no effect on the result
    "seed",
    "place",  # where the data is on this machine
    "path",  # where a file is; its hash identifies its content
    "speed",  # affects only the speed
    "rounding",  # how a result is computed, equal up to rounding
    "resolved",  # filled in by a run where a recipe leaves it open
    "images",  # which images are scored, or how they are preprocessed
    "test set",  # which images are kept for the test
    "scores",  # how a trained net is scored
    "judge",  # how runs are evaluated: two that differ in it cannot be compared
    "chooses",  # which epoch's weights are kept
    "loss",  # what a loss value means
    "newer",  # added after runs were kept: a digest leaves it out at its default, so that older ones stay valid
]
"""What a field of a recipe means when runs are compared, searched or resumed; see `rungs.recipe.roles`."""


def role(*names: Role) -> Meta:
    """Return the metadata that gives a field its roles, to be put in the field's `Annotated`."""
    return Meta(extra={"roles": names})


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all structs of a recipe: immutable, and an unknown field is an error."""


def name_of(spec: Spec | type[Spec]) -> str:
    """Return the name that a recipe gives to one alternative of a family; "" for a struct without one."""
    return str(spec.__struct_config__.tag or "")


def alternatives(family: Any) -> dict[str, type[Spec]]:
    """Return the structs of a family such as `AnyModel`, by the name that a recipe gives them."""
    return {name_of(kind): kind for kind in get_args(family)}
