"""Folders that are dear to make, each made once for all tests and all processes of a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from rungs.recipe.identity import digest
from rungs.recipe.spec import Recipe


class Bank:
    """A folder of folders. Tests read them; one that changes something copies it first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of this name; `make` fills it where no process has done so.

        Args:
            name: A path inside the bank.
            make: Is given the folder, which is empty. If it fails, the next who asks tries again.
        """
        folder = self.root / name
        made = folder.with_name(f"{folder.name}.made")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    def run(self, recipe: Recipe) -> Path:
        """Return the run folder of a recipe, trained once."""
        from small import run

        return self.folder(f"runs/{digest(recipe)}", lambda folder: run(recipe, folder))
