"""How a source is read: which layout or columns it has, and how its pictures are cut to squares."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from rungs.recipe.spec import DataSpec, Layout


@dataclass(frozen=True)
class Reading:
    """The choices of a recipe that decide what a source's files become; see `rungs.recipe.spec.DataSpec`.

    `for_training` requires what training needs: training images of each of several classes.
    """

    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    crop: float = 1.0
    layout: Layout = "auto"
    image_column: str | None = None
    label_column: str | None = None
    group_column: str | None = None
    for_training: bool = True
    cache_gb: float | None = None


DEFAULT = Reading()


FOR_READING_ALONE = ("for_training", "cache_gb")
"""Fields that do not change the images or labels."""


def differing(one: Reading, other: Reading) -> list[str]:
    """Return the fields in which two readings make different images or labels of the same files."""
    return [
        field.name
        for field in fields(Reading)
        if field.name not in FOR_READING_ALONE and getattr(one, field.name) != getattr(other, field.name)
    ]


def reading_of(spec: DataSpec) -> Reading:
    """Return how the source of a recipe is read."""
    return Reading(
        interpolation=spec.interpolation or "bicubic",
        crop=spec.crop or 1.0,
        layout=spec.layout,
        image_column=spec.image_column,
        label_column=spec.label_column,
        group_column=getattr(spec.groups, "column", None),
        cache_gb=spec.cache_gb,
    )
