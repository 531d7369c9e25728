"""Find the files that a table's cells name, below the table's folder and nowhere else."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from pathlib import Path, PurePosixPath, PureWindowsPath

from rungs.data.sources.names import parts_among
from rungs.data.sources.tree import File, Tree


class NotFoundError(Exception):
    """A cell names no file, or not one; the text says why."""


class Finder:
    """The pictures below a folder, by path and by name.

    Args:
        tree: The files.
        root: Their folder.
    """

    def __init__(self, tree: Tree, root: Path) -> None:
        self.root = root
        self.paths = {"/".join(file.steps): file for file in tree.files}
        self.names: dict[str, list[File]] = defaultdict(list)
        self.stems: dict[str, list[File]] = defaultdict(list)
        self.by_name: list[str] = []  # found so, not by their path: for the notes
        self.by_stem: list[str] = []
        for file in tree.files:
            if file.is_image:
                self.names[file.steps[-1].casefold()].append(file)
                self.stems[PurePosixPath(file.steps[-1]).stem.casefold()].append(file)

    def find(self, cell: str, part: str) -> File:
        """Return the file that a cell names: by its path, by the end of its path, or so without an ending.

        Args:
            cell: A path, a file's name, or one without its ending, as ids often are.
            part: "train", "validation" or "test"; of several files one below a folder of this part is meant.

        Raises:
            NotFoundError: No file, several, or a path that leads out of the folder.
        """
        path = self._inside(cell)
        if path in self.paths:
            return self.paths[path]
        name = posixpath.basename(path).casefold()
        for candidates, whole in ((self.names, True), (self.stems, False)):
            fits = [file for file in candidates.get(name, []) if _ends_with(file, path, whole=whole)]
            fits = fits if len(fits) < 2 else [file for file in fits if _part_above(file) == part] or fits
            if len(fits) > 1:
                raise NotFoundError(f"{cell} may be {fits[0].name} or {fits[1].name}")
            if fits:
                (self.by_name if whole else self.by_stem).append(f"{cell} is {fits[0].name}")
                return fits[0]
        raise NotFoundError(f"no file {cell}")

    def notes(self) -> list[str]:
        """Return how files were found that their cells do not name by path."""
        said = []
        for found, way in ((self.by_name, "by {} file name"), (self.by_stem, "without the ending of {} name")):
            if len(found) == 1:
                said.append(f"1 image is found {way.format('its')}: {found[0]}")
            elif found:
                said.append(f"{len(found):,} images are found {way.format('their')}: {found[0]}")
        return said

    def _inside(self, cell: str) -> str:
        """Return a cell's path below the root."""
        text = cell.strip().replace("\\", "/")
        if text.startswith("/"):
            for root in (str(self.root), str(self.root.resolve())):
                text = text.removeprefix(root.rstrip("/") + "/")
        path = posixpath.normpath(text)
        if path.startswith("/") or path.split("/")[0] == ".." or PureWindowsPath(text).drive:
            raise NotFoundError(f"{cell} is outside the folder of the table")
        return path


def _ends_with(file: File, path: str, *, whole: bool) -> bool:
    have = "/".join(file.steps)
    if not whole:
        have = have[: -len(PurePosixPath(have).suffix)]
    return f"/{have.casefold()}".endswith(f"/{path.casefold()}")


def _part_above(file: File) -> str | None:
    """Return the part that a folder above a file names."""
    above = [parts_among([step]).get(step) for step in file.steps[:-1]]
    return next((part for part in above if part), None)
