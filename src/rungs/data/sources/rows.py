"""The rows of a table of images: which image, which label, which part, which group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rungs.data.reading import Reading
from rungs.data.sources import columns
from rungs.data.sources.columns import find_column, fitting, without_fractions
from rungs.data.sources.delimited import Table, read_table
from rungs.data.sources.names import class_name, parts_among
from rungs.run.record import Problem

NO_LABEL = ("", "nan", "none", "null")
"""What pandas and others write for a missing value, in lower case."""


@dataclass(frozen=True)
class Row:
    """A row: its place, "train.csv:7", and what its cells say."""

    place: str
    image: str
    label: str
    part: str
    group: str


@dataclass(frozen=True)
class Content:
    """What tables hold: the rows with a label, what is odd, and how they were read."""

    rows: list[Row]
    problems: list[Problem]
    notes: list[str]


def read_rows(path: Path, name: str, part: str, reading: Reading) -> Content:
    """Read the rows of a table.

    Args:
        path: The file.
        name: Its name for display.
        part: Which part its rows are of, where no column says.
        reading: The columns that the user named.

    Raises:
        UserError: No table, or columns that are not there or not to be told apart.
    """
    table = read_table(path, name)
    image = find_column(table.columns, columns.IMAGES, "image", path, reading.image_column)
    label = find_column(table.columns, columns.LABELS, "label", path, reading.label_column)
    group = None
    if reading.group_column is not None:
        group = find_column(table.columns, (), "group", path, reading.group_column)
    parts, of_parts = _parts(table)
    notes = [f"{name}: images from column {table.columns[image]}, labels from {table.columns[label]}{of_parts}"]
    labelled = [(line, cells) for line, cells in table.rows if cells[label].strip().lower() not in NO_LABEL]
    bare = {line for line, _ in table.rows} - {line for line, _ in labelled}
    problems = [*table.problems, *(_no_label(name, line) for line in sorted(bare))]
    names = without_fractions([cells[label] for _, cells in labelled])
    rows = []
    for (line, cells), word in zip(labelled, names, strict=True):
        place = f"{name}:{line}"
        of_group = place if group is None else cells[group].strip() or place  # without one, it stands alone
        rows.append(Row(place, cells[image], class_name(word), parts.get(line, part), of_group))
    return Content(rows, problems, [*notes, *table.notes])


def _no_label(name: str, line: int) -> Problem:
    return Problem(path=f"{name}:{line}", kind="doubtful", reason="not used: it has no label")


def _parts(table: Table) -> tuple[dict[int, str], str]:
    """Return the part of each line, if a column says it, and how to tell."""
    fits = fitting(table.columns, columns.PARTS)
    if len(fits) != 1:
        return {}, ""
    column, name = fits[0], table.columns[fits[0]]
    parts = {word: parts_among([word]).get(word) for word in {cells[column] for _, cells in table.rows}}
    if other := sorted(word for word, part in parts.items() if part is None):
        return {}, f"; column {name} is not used: {other[0]!r} is not the name of a part (train, val, test)"
    lines = {line: part for line, cells in table.rows if (part := parts[cells[column]])}
    return lines, f", parts from {name}"
