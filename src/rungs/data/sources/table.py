"""`csv:PATH`: a table of images and labels, a row per image; the images are below the table's folder.

    image,label                 id;breed;split              train.csv, test.csv in one folder: csv:FOLDER
    photos/1.jpg,cat            000bec18;collie;train
    photos/2.png,dog            001513df;beagle;val

The columns are found by their usual names, or named by the recipe. An image is named by its path, its file name or its
file name without ending; a column of parts (split: train, val, test) and a column to group by are optional.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rungs.data.cache import user_path
from rungs.data.imageset import Source
from rungs.data.mapped import read_listing
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.finder import Finder, NotFoundError
from rungs.data.sources.listing import Listing, Part, stamp
from rungs.data.sources.names import PARTS, look_alikes, natural, part_of, parts_among, printable
from rungs.data.sources.rows import Content, Row, read_rows
from rungs.data.sources.tree import File, walk
from rungs.errors import UserError
from rungs.run.record import Problem

ENDINGS = (".csv", ".tsv")
GIVE = "give a CSV file with a column of images and one of labels, or a folder with train.csv and test.csv"


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Read the images that a table names.

    Args:
        argument: The path of the table, or of a folder with one for each part.
        image_size: Pixels; None takes the size that all pictures share if they are square, else 64.
        reading: How to read them; it may name the columns.

    Raises:
        UserError: No such table, columns that are not there or not to be told apart, no image that it names.
    """
    if not argument:
        raise UserError("no path", where="csv", do="give one: csv:PATH")
    path = user_path(argument, f"csv:{argument}")
    if not path.exists():
        raise UserError("no such table", where=path, do=GIVE)
    root = path if path.is_dir() else path.parent
    tables = _tables(path) if path.is_dir() else {path: part_of(path.stem) or "train"}
    content = _content(tables, root, reading)
    found, content = _found(content, root, path)
    stamps = [stamp(table) for table in tables], [file.stamp for _, file in found]
    source = read_listing(_listing(argument, path, root, content, found, repr(stamps)), image_size, reading)
    if reading.group_column is None or source.train.paths is None:
        return source
    groups = {f"{printable(str(root))}/{file.name}": row.group for row, file in found}
    return dataclasses.replace(source, groups=[groups[path] for path in source.train.paths])


def _tables(folder: Path) -> dict[Path, str]:
    """Return the tables of a folder that name a part, by their own name or their folder's; a single one is train's.

    Raises:
        UserError: No table, or several and none for training, or two for one part.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
    below = [inner for inner in sorted(folder.iterdir()) if inner.is_dir() and part_of(inner.name)]
    files += sorted(file for inner in below for file in inner.iterdir() if file.suffix.lower() in ENDINGS)
    words = parts_among(file.stem for file in files if file.parent == folder)
    named = {file: words.get(file.stem) or part_of(file.parent.name) for file in files}
    tables = {file: part for file, part in named.items() if part}
    if len(files) == 1:
        return {files[0]: tables.get(files[0], "train")}
    if "train" not in tables.values() or len(set(tables.values())) < len(tables):
        listed = ", ".join(printable(str(file.relative_to(folder))) for file in files[:10])
        what = f"several tables, not one for each part: {listed}" if files else "no table here"
        raise UserError(what, where=folder, do=GIVE)
    return tables


def _content(tables: dict[Path, str], root: Path, reading: Reading) -> Content:
    """Read all tables; one of another part than train's may have no labels."""
    rows: list[Row] = []
    problems: list[Problem] = []
    notes: list[str] = []
    for table, part in tables.items():
        name = printable(str(table.relative_to(root)))
        try:
            found = read_rows(table, name, part, reading)
        except UserError as error:
            if len(tables) == 1 or part == "train":
                raise
            problems.append(Problem(path=name, kind="doubtful", reason=f"not used: {error.what}"))
            continue
        rows += found.rows
        problems += found.problems
        notes += found.notes
    return Content(rows, problems, notes)


def _found(content: Content, root: Path, path: Path) -> tuple[list[tuple[Row, File]], Content]:
    """Return the rows with their files, each pair of file and label once, and the content with what is odd about them.

    Raises:
        UserError: No file is found.
    """
    tree = walk(root)
    finder = Finder(tree, root)
    found: dict[tuple[str, str, str], tuple[Row, File]] = {}
    missing: list[Problem] = []
    for row in content.rows:
        try:
            file = finder.find(row.image, row.part)
        except NotFoundError as error:
            missing.append(Problem(path=row.place, kind="unreadable", reason=str(error)))
        else:
            found.setdefault((file.name, row.label, row.part), (row, file))
    if not found and missing:
        none = "the only image is not" if len(missing) == 1 else f"none of the {len(missing):,} images is"
        what = f"{none} there; {missing[0].path}: {missing[0].reason}"
        raise UserError(what, where=path, do="name images by their path below the table's folder, or by file name")
    if not found:
        raise UserError("no row has a label", where=path, do=GIVE)
    repeated = len(content.rows) - len(missing) - len(found)
    others = tree.images[()] - len({file.name for _, file in found.values()})
    notes = [
        *content.notes,
        *finder.notes(),
        *([f"rows that repeat an image and its label, used once: {repeated:,}"] if repeated else []),
        *([f"{others:,} picture{'s are' if others > 1 else ' is'} in no row of the table: not used"] if others else []),
    ]
    return list(found.values()), Content(content.rows, [*content.problems, *missing], notes)


def _listing(
    argument: str, path: Path, root: Path, content: Content, found: Sequence[tuple[Row, File]], stamps: str
) -> Listing:
    first: dict[str, str] = {}
    for row, _ in found:
        first.setdefault(row.label, row.place)
    classes = tuple(sorted(first, key=natural))
    label = {name: i for i, name in enumerate(classes)}
    parts: dict[str, Part] = {}
    for part in PARTS:
        if some := [(label[row.label], file) for row, file in found if row.part == part]:
            reads = [file.read for _, file in some]
            parts[part] = Part([file.name for _, file in some], [i for i, _ in some], partial(iter, reads))
    return Listing(
        name=f"csv:{printable(argument)}",
        origin=printable(str(path.resolve())),
        root=printable(str(root)),
        classes=classes,
        parts=parts,
        stamp=f"{path.resolve()} {stamps}",
        problems=(*content.problems, *look_alikes(first)),
        notes=tuple(content.notes),
    )
