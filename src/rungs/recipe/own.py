"""A net of the user's own: in a recipe the name of a Python file and of the class or function in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from rungs.errors import UserError
from rungs.recipe.base import Spec, name_of, role

FROM_PYTHON = "python"
"""What stands in the place of a file's name where the net was given to `rungs.train` in Python."""
OURS = ("image_size", "classes")
"""Keyword arguments that rungs gives to every net."""
WRITTEN = re.compile(rf"(?P<file>.+\.py|{FROM_PYTHON}):(?P<attribute>[^\W\d]\w*)")


class Own(Spec, tag="own", tag_field="name", frozen=True):
    """A net of your own: name = "my_net.py:Net", a class or function in a file, and its keyword arguments.

    `file` is absolute, or a bare name in what a run leaves, where it means the copy beside it; it is empty for a net
    that came from Python. `sha256` is that of the file's content, or of the source of what came from Python; empty
    where that could not be read.
    """

    attribute: str
    file: Annotated[str, role("path")] = ""
    sha256: str = ""
    arguments: dict[str, Any] = {}  # noqa: RUF012 (msgspec copies it)

    def __hash__(self) -> int:  # its arguments may hold lists, which have none
        return hash((self.attribute, self.sha256))


def is_own(name: object) -> bool:
    """Tell whether the name of a model in a recipe is that of a user's own net."""
    return isinstance(name, str) and (WRITTEN.fullmatch(name) is not None or name.endswith(".py"))


def called(model: Spec) -> str:
    """Return what a person calls a model: its name, or FILE.py:NAME without the folder."""
    if isinstance(model, Own):
        return f"{Path(model.file).name if model.file else FROM_PYTHON}:{model.attribute}"
    return name_of(model)


def from_table(table: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Return the fields of `Own` for the table of a recipe's model.

    Args:
        table: As TOML has it: the name, the net's keyword arguments, perhaps a `sha256` that the file must have.
        folder: Where a relative path starts.
        where: Names the table in errors.

    Raises:
        UserError: No such file, a name that names no class, or an argument that is not the recipe's to give.
    """
    found = WRITTEN.fullmatch(table["name"])
    if found is None:
        do = f'write it as name = "{table["name"]}:Net", with the name of the class or function'
        raise UserError("which net of this file?", where=f"{where}.name", do=do)
    arguments = {key: value for key, value in table.items() if key not in ("name", "sha256")}
    for key in OURS:
        if key in arguments:
            do = "take it out; data.image_size sets the size of the images" if key == "image_size" else "take it out"
            raise UserError("rungs gives this argument itself, from the data", where=f"{where}.{key}", do=do)
    file = "" if found["file"] == FROM_PYTHON else str((folder / found["file"]).absolute())
    sha256 = table.get("sha256")
    if sha256 is None:
        sha256 = hashlib.sha256(read_source(file, f"{where}.name")).hexdigest() if file else ""
    return {
        "name": name_of(Own),
        "attribute": found["attribute"],
        "file": file,
        "sha256": sha256,
        "arguments": arguments,
    }


def to_table(model: Own) -> dict[str, Any]:
    """Return a model as TOML has it, which `from_table` reads back."""
    file = model.file or FROM_PYTHON
    pinned = {"sha256": model.sha256} if model.sha256 or not model.file else {}
    return {"name": f"{file}:{model.attribute}", **pinned, **model.arguments}


def read_source(file: str, where: str) -> bytes:
    """Return the content of a Python file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return Path(file).read_bytes()
    except OSError as error:
        what = f"the file of your own net cannot be read: {error.strerror}"
        do = "give its path from the recipe's folder, or an absolute one"
        raise UserError(what, where=f"{where}, {file}", do=do) from error
