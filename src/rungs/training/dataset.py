"""Load the data of a run: open its source, split it, and record what it holds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from rungs import data
from rungs.data.audit import require_as_asked, require_trainable
from rungs.data.duplicates import leaks
from rungs.data.groups import default_groups, describe_groups
from rungs.data.imageset import Source
from rungs.data.members import members
from rungs.data.split import Parts, pooled, split_source
from rungs.data.stats import mean_std
from rungs.data.twins import compared, near_between, twins, with_pictures
from rungs.errors import UserError
from rungs.models.pretrained import resolved
from rungs.recipe.optimizers import Plateau
from rungs.recipe.spec import Recipe
from rungs.run.record import DataRecord

Ints = npt.NDArray[np.int64]

NEAR_SHOWN = 12
"""Pairs of images that look alike that a record names and shows."""


@dataclass
class Dataset:
    """The data of one run: its parts and their record."""

    parts: Parts
    record: DataRecord
    doubts: int  # number of duplicate and doubtful files in it
    twins: Ints  # positions of test images that have a near or an identical copy among the training images


def open_source(recipe: Recipe) -> Source:
    """Open a recipe's source of images, as large as its net wants them where the recipe does not say.

    Raises:
        UserError: The source is missing or damaged, or pretrained weights cannot be had.
    """
    return data.open_source(resolved(recipe).data)


def load_dataset(
    recipe: Recipe, skip_unreadable: bool, source: Source | None = None, before: Recipe | None = None
) -> tuple[Recipe, Dataset]:
    """Load the recipe's data, split it, and return the recipe with what its net and data decide resolved.

    Args:
        recipe: What will be trained.
        skip_unreadable: Leave unreadable files out.
        source: The recipe's source of images, if already loaded: the runs of a pack share one.
        before: The resolved recipe of the run that is resumed, if it began: its images keep their parts.

    Raises:
        UserError: The source is missing or damaged, is not the recipe's or was read in another way, or has unreadable
            files and they may not be skipped; or pretrained weights cannot be had.
    """
    recipe = resolved(recipe)
    if source is None:
        source = data.open_source(recipe.data)
    require_as_asked(source, recipe.data)
    skipped = require_trainable(source, skip_unreadable)
    groups = recipe.data.groups or (before.data.groups if before else default_groups(source))
    recipe = replace(recipe, data=replace(recipe.data, image_size=source.train.image_size, groups=groups))
    source = source if recipe.data.folds is None else pooled(source)
    parts = split_source(source, recipe.data, recipe.seed)
    _require_watchable(recipe, parts)
    mean, std = mean_std(parts.train.blocks())
    near = near_between(source, parts.present())
    record = DataRecord(
        source=source.name,
        origin=source.origin,
        hash=parts.hash,
        hashes={name: part.hash for name, part in parts.present().items()},
        members=members(source, parts.present()),
        canonical=source.canonical,
        classes=parts.train.classes,
        counts={name: part.counts() for name, part in parts.present().items()},
        image_size=source.train.image_size,
        mean=mean,
        std=std,
        skipped=skipped,
        leaks=leaks(parts.present()),
        near=dict(Counter(pair.part for pair in near if not pair.suspect)),
        near_pairs=tuple(with_pictures(parts.present(), near[:NEAR_SHOWN])),
        near_compared=compared(source),
        suspects=dict(Counter(pair.part for pair in near if pair.suspect)),
        groups=describe_groups(source, recipe.data),
        notes=source.notes,
    )
    doubts = sum(problem.kind in ("duplicate", "doubtful") for problem in source.problems)
    with_twin = np.zeros(0, np.int64) if parts.test is None else twins(source, parts.train, parts.test)
    if not recipe.evaluation.score_test:  # closed: no later code can use it
        parts = dataclasses.replace(parts, test=None)
    return recipe, Dataset(parts, record, doubts, with_twin)


def _require_watchable(recipe: Recipe, parts: Parts) -> None:
    if parts.validation is None and (isinstance(recipe.schedule, Plateau) or recipe.stopping.patience is not None):
        do = "set data.validation above 0, or another schedule and no stopping.patience"
        raise UserError("nothing to monitor: there is no validation set", where=recipe.data.source, do=do)
