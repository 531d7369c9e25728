"""The command that lists what there is by name: recipes in groups, ladders, spaces, models, data, augmentations."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tyro.conf import Positional

from rungs.cli.terminal import out
from rungs.recipe.flags import Family

RECIPES = {
    "start here": ("digits-quick",),
    "photos": ("photos", "photos-*", "resnet18"),
    "speedruns": ("speedrun-*",),
    "the five seeds": ("*-000", "*-001", "*-002", "*-003", "*-004"),
}
"""The groups of shipped recipes, by patterns of their names."""


def list_(family: Positional[Family] = "all", /) -> None:
    """List recipes, by what they are for, then ladders, spaces, models, data sources and augmentations.

    Args:
        family: One of recipes, ladders, spaces, models, data, augments.
    """
    from rich.markup import escape
    from rich.table import Table

    tables: dict[str, Callable[[], Sequence[Sequence[str]]]] = {
        **{f"recipes: {group}": partial(_recipe_rows, patterns) for group, patterns in RECIPES.items()},
        "ladders": _ladder_rows,
        "spaces": _space_rows,
        "models": _model_rows,
        "data": _data_rows,
        "augments": _augment_rows,
    }
    for name, rows in tables.items():
        if family in (name.partition(":")[0], "all"):
            table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
            for row in rows():
                table.add_row(*(escape(cell) for cell in row))
            out.print(table)
            out.print()


def _recipe_rows(patterns: Sequence[str]) -> list[tuple[str, str]]:
    from rungs.recipe import toml as recipes

    return [(name, recipes.load(name).about) for name in matching(patterns, recipes.shipped())]


def matching(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names that match one of the patterns, in the order of the patterns."""
    return [name for pattern in patterns for name in sorted(fnmatch.filter(names, pattern))]


def _ladder_rows() -> list[tuple[str, str, str, str]]:
    from rungs.study.ladder import spec

    found = [spec.load(name)[0] for name in spec.shipped()]
    return [
        (one.name, f"{len(one.rungs)} rung{'s' * (len(one.rungs) != 1)}", one.source, one.headline or one.about)
        for one in found
    ]


def _space_rows() -> list[tuple[str, str, str]]:
    from rungs.study.search import space

    found = [space.load(name) for name in space.shipped()]
    return [(one.name, ", ".join(field.field for field in one.fields), one.about) for one in found]


def _model_rows() -> list[tuple[str, str]]:
    from rungs.recipe.base import alternatives
    from rungs.recipe.models import AnyModel

    return [(tag, _first_line(kind)) for tag, kind in alternatives(AnyModel).items()]


def _augment_rows() -> list[tuple[str, str, str]]:
    import msgspec

    from rungs.recipe.augments import AnyAugment
    from rungs.recipe.base import alternatives

    rows = []
    for tag, kind in alternatives(AnyAugment).items():
        fields = ", ".join(f"{k}={v!r}" for k, v in msgspec.structs.asdict(kind()).items())
        rows.append((tag, _first_line(kind), fields))
    return rows


def _data_rows() -> list[tuple[str, str]]:
    from rungs.data import DATASETS

    return [(name, (load.__doc__ or "").strip().partition("\n")[0]) for name, load in DATASETS.items()]


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
