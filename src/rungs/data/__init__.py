"""Data sources: every name that `--data` accepts, and the function that opens them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from rungs.errors import UserError, closest, did_you_mean

if TYPE_CHECKING:
    from rungs.data.imageset import Source
    from rungs.data.reading import Reading
    from rungs.recipe.spec import DataSpec

Loader: TypeAlias = "Callable[[str | None, int | None, Reading], Source]"
"""The text after the colon (or None), the image size in pixels (or None: the source's own), how to read -> a source."""


def _cifar10(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """CIFAR-10, local or downloaded; cifar10:PATH sets the location."""
    from rungs.data.sources.cifar10 import load_cifar10

    return load_cifar10(argument, image_size, reading)


def _cifar100(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """CIFAR-100 with its fine classes; cifar100:PATH sets the location."""
    from rungs.data.sources.cifar10 import load_cifar100

    return load_cifar100(argument, image_size, reading)


def _digits(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """The 8x8 digits embedded in scikit-learn."""
    from rungs.data.sources import digits

    return digits.load(argument, image_size, reading)


def _folder(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """folder:PATH, a folder or zip with a folder per class, with or without train/val/test above."""
    from rungs.data.sources import folder

    return folder.load(argument, image_size, reading)


def _csv(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """csv:PATH, a table of images and labels; the images are below its folder."""
    from rungs.data.sources import table

    return table.load(argument, image_size, reading)


def _parquet(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """parquet:PATH, files in the Hugging Face Hub's layout: image bytes and label."""
    from rungs.data.sources import parquet

    return parquet.load(argument, image_size, reading)


def _hub(argument: str | None, image_size: int | None, reading: Reading) -> Source:
    """hub:OWNER/NAME, a data set of the Hugging Face Hub (extra: hub)."""
    from rungs.data.sources import hub

    return hub.load(argument, image_size, reading)


DATASETS: dict[str, Loader] = {
    "cifar10": _cifar10,  # cifar10 or cifar10:PATH
    "cifar100": _cifar100,  # cifar100 or cifar100:PATH
    "digits": _digits,
    "folder": _folder,  # folder:PATH
    "csv": _csv,  # csv:PATH
    "parquet": _parquet,  # parquet:PATH
    "hub": _hub,  # hub:OWNER/NAME
}


GRAMMAR = {
    "cifar10": "cifar10:PATH, or cifar10 alone",
    "cifar100": "cifar100:PATH, or cifar100 alone",
    "digits": "digits alone",
    "folder": "folder:PATH",
    "csv": "csv:PATH",
    "parquet": "parquet:PATH",
    "hub": "hub:OWNER/NAME",
}
"""How each source is written."""


def open_source(spec: DataSpec) -> Source:
    """Open the data source of a recipe.

    Raises:
        UserError: As for `load`.
    """
    from rungs.data.reading import reading_of

    return load(spec.source, spec.image_size, reading_of(spec))


def load(source: str, image_size: int | None = None, reading: Reading | None = None) -> Source:
    """Open a data source.

    Args:
        source: "NAME" or "NAME:ARGUMENT", NAME one of `DATASETS`.
        image_size: Height and width in pixels that all images get; None keeps the source's own.
        reading: How its files are read; None: by the defaults.

    Raises:
        UserError: An unknown name, nothing after the colon, or an error of the source itself.
    """
    from dataclasses import replace

    from rungs.data.reading import Reading

    reading = reading or Reading()
    require_known(source)
    name, colon, argument = source.partition(":")
    if colon and not argument:
        raise UserError("nothing after the colon", where=source, do=f"give {GRAMMAR[name]}")
    return replace(DATASETS[name](argument or None, image_size, reading), reading=reading)


def require_known(source: str) -> None:
    """Refuse an unknown kind of data source, before any process is started for it.

    Raises:
        UserError: No such kind of source.
    """
    name = source.partition(":")[0]
    if name in DATASETS:
        return
    do = did_you_mean(name, list(DATASETS))
    if os.path.exists(source) or not closest(name, DATASETS):  # noqa: PTH110 (`Path.exists` raises on invalid names)
        kind = {".parquet": "parquet", ".csv": "csv"}.get(os.path.splitext(source)[1], "folder")  # noqa: PTH122
        do = f"did you mean '{kind}:{source}'? a path needs its kind in front (cifar10:{source} for CIFAR-10)"
    elif ":" not in source:
        do += f"; photos in a folder: 'folder:{source}'"
    raise UserError(f"no data source {name!r}", where=source, do=do)
