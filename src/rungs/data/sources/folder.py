"""`folder:PATH`: a folder (or zip) with a folder of pictures per class, with or without train, val and test.

    photos/cat/1.jpg            photos/train/cat/1.jpg          photos/cat/train/1.jpg
    photos/dog/a/2.png          photos/val/dog/2.png            photos/cat/test/2.png
                                photos/test/cat/3.webp          photos/dog/train/3.webp

Hidden files are skipped, and folders that wrap the one with the pictures. A zip is read in place.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from rungs.data.cache import user_path
from rungs.data.imageset import Source
from rungs.data.mapped import read_listing
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.layout import Arrangement, arrange
from rungs.data.sources.listing import ENDINGS, Listing, Part
from rungs.data.sources.names import look_alikes, natural, part_of, parts_among, printable, says_nothing
from rungs.data.sources.tree import File, Steps, Tree, unzip, walk
from rungs.errors import UserError
from rungs.run.record import Problem

TABLES = (".csv", ".tsv")


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Read a folder or zip of pictures, a folder per class.

    Args:
        argument: The path.
        image_size: Pixels; None takes the size that all pictures share if they are square, else 64.
        reading: How to read them.

    Raises:
        UserError: No such path, a damaged zip, no class folders, only one class, or folders with several readings.
    """
    if not argument:
        raise UserError("no path", where="folder", do="give one: folder:PATH")
    path = user_path(argument, f"folder:{argument}")
    if path.is_dir():
        tree = walk(path)
    elif path.is_file():
        tree = unzip(path)
    else:
        raise UserError("no such folder or zip", where=path, do="check the path, or give your own: --data folder:PATH")
    root = printable(str(path))
    if reading.layout == "auto":
        _require_no_table(tree, root, packed=path.is_file())
    arranged = arrange(tree, reading.layout, root)
    place = user_path(argument, f"folder:{argument}").resolve()
    return read_listing(_listing(tree, arranged, argument, root, place), image_size, reading)


def _require_no_table(tree: Tree, root: str, *, packed: bool) -> None:
    """Refuse pictures that are in no class folders and have a table beside them.

    Raises:
        UserError: Their labels seem to be in the table.
    """
    holders = list(tree.direct)
    if not holders or not (len(holders) == 1 or all(map(_is_no_class, holders))):
        return
    above = {holder[:i] for holder in holders for i in range(len(holder) + 1)}
    tables = [file for file in tree.files if file.steps[-1].lower().endswith(TABLES) and file.steps[:-1] in above]
    if not tables:
        return
    best = min(tables, key=lambda file: (len(file.steps), part_of(Path(file.name).stem) != "train"))
    do = f"{'unpack the zip, and ' if packed else ''}give the table: csv:{root}/{best.name}"
    what = f"the pictures are in no class folders, but labels seem to be in {best.name}"
    raise UserError(what, where=root, do=do)


def _is_no_class(folder: Steps) -> bool:
    return all(says_nothing(step) or parts_among([step]) for step in folder)


def _listing(tree: Tree, arranged: Arrangement, argument: str, root: str, place: Path) -> Listing:
    """Return the files of the class folders; those without pictures are problems."""
    problems = list(arranged.problems)
    files = {part: tree.below(folders) for part, folders in arranged.parts.items()}
    folders: dict[str, str] = {}
    for part, found in files.items():
        for folder in [folder for folder, inside in found.items() if not any(file.is_image for file in inside)]:
            problems += [_empty(folder), *(_no_image(file) for file in found.pop(folder))]
        for folder in found:
            folders.setdefault(arranged.parts[part][folder], printable("/".join(folder)))
    classes = tuple(sorted(folders, key=natural))
    parts = {part: _part(found, arranged.parts[part], classes) for part, found in files.items()}
    inside = [file for found in files.values() for some in found.values() for file in some]
    problems += [_no_image(file) for file in inside if not file.is_image]
    stamp = hashlib.sha256(os.fsencode(place))
    for file in tree.files:
        stamp.update(repr((file.steps, file.stamp)).encode())
    return Listing(
        name=f"folder:{printable(argument)}",
        origin=printable(str(place)),
        root=root,
        classes=classes,
        parts=parts,
        stamp=stamp.hexdigest(),
        problems=(*problems, *look_alikes(folders)),
        notes=tuple(arranged.notes),
    )


def _part(found: dict[Steps, list[File]], names: dict[Steps, str], classes: tuple[str, ...]) -> Part:
    """Return the images of the class folders of one part."""
    label = {name: i for i, name in enumerate(classes)}
    images = [(label[names[folder]], file) for folder, inside in found.items() for file in inside if file.is_image]
    return Part([file.name for _, file in images], [i for i, _ in images], partial(iter, [f.read for _, f in images]))


def _empty(folder: Steps) -> Problem:
    reason = f"an empty class folder: put images ({' '.join(ENDINGS)}) into it, or remove it"
    return Problem(path=printable("/".join(folder)), kind="empty", reason=reason)


def _no_image(file: File) -> Problem:
    return Problem(path=file.name, kind="doubtful", reason="not used: not an image by its extension")
