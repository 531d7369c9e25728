"""Reading the TOML files of recipes, ladders and spaces: those that come with the package, and a user's own."""

from __future__ import annotations

import os
import shlex
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from rungs.errors import UserError, did_you_mean


def shipped(package: str) -> dict[str, Path]:
    """Return the presets in a package's folder `presets`, name -> file."""
    folder = Path(str(resources.files(package) / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name: str | Path, presets: dict[str, Path], kind: str, flag: str | None = None) -> Path:
    """Return the file of a preset, or the one at a path.

    Args:
        name: A preset's name, or a path.
        presets: What `shipped` found.
        kind: "recipe", "ladder" or "space".
        flag: The flag that named it, if any.

    Raises:
        UserError: Neither exists.
    """
    path = presets.get(str(name), Path(name))
    if str(name).startswith("folder:"):
        raise UserError(f"this is a source of images, not a {kind}", where=name, do=_with_images(str(name), kind))
    if os.path.isdir(path):  # noqa: PTH112 (for the reason of the next line)
        own = path / "recipe.toml"  # of a run
        do = f"did you mean {own}?" if own.is_file() else _with_images(f"folder:{name}", kind)
        raise UserError("this is a folder", where=path, do=do)
    if not os.path.isfile(path):  # noqa: PTH113 (also False for what cannot be a path)
        do = f"{did_you_mean(str(name), list(presets))}; or give the path of a .toml file"
        if Path(name).suffix == ".toml":
            raise UserError("no such file", where=name, do=do)
        raise UserError(f"no {kind} {str(name)!r}", where=flag, do=do)
    return path


def _with_images(source: str, kind: str) -> str:
    """Return what to do where images were given instead of a recipe."""
    usual = {"recipe": "rungs train photos", "ladder": "rungs climb photos"}.get(kind, "")
    images = f"did you mean {usual} --data {shlex.quote(source)}? " if usual else ""
    return f"{images}a {kind} is a TOML file, or a name of rungs list"


def read_text(path: Path, kind: str) -> str:
    """Return the text of a file.

    Raises:
        UserError: It cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        do = f"give a {kind}, a TOML file in UTF-8"
        raise UserError(f"not a text file: {error}", where=path, do=do) from error


def parse_table(text: str, where: str) -> dict[str, Any]:
    """Return TOML text as a table; `where` names it in errors.

    Raises:
        UserError: It is not valid TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"not valid TOML: {error}", where=where, do="fix that line") from error
