"""Read a CSV file as people have it: with commas, semicolons or tabs, from a spreadsheet or pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungs.errors import UserError
from rungs.run.record import Problem

DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        columns: C names.
        rows: Of each: its line, and its C cells.
        problems: Lines that are no rows of the table.
        notes: What was found out about the file, for people.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[int, list[str]]]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def read_table(path: Path, name: str) -> Table:
    """Read a file of a header and rows.

    Args:
        path: The file.
        name: Its name in problems.

    Raises:
        UserError: It cannot be read, is no text, has no header or no rows.
    """
    text, encoding = _decoded(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UserError(f"not a table: {error}", where=f"{path}:{reader.line_num}", do="fix this line") from error
    if len(lines) < 2:
        do = "give a table with a line of column names and a row per image"
        raise UserError("no rows" if lines else "an empty table", where=path, do=do)
    columns = tuple(cell.strip() for cell in lines[0][1])
    whole = [(line, cells) for line, cells in lines[1:] if len(cells) == len(columns)]
    problems = tuple(
        Problem(
            path=f"{name}:{line}",
            kind="doubtful",
            reason=f"not used: {len(cells)} cell{'s' * (len(cells) != 1)}, but {len(columns)} columns",
        )
        for line, cells in lines[1:]
        if len(cells) != len(columns)
    )
    return Table(columns, whole, problems, () if encoding == "utf-8-sig" else (f"{name} is read as {encoding}",))


def _decoded(path: Path) -> tuple[str, str]:
    """Return a file's text and its encoding: UTF-8, UTF-16 with a mark, else that of Windows in the west."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=path, do="check the path") from error
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data and not utf16:
        raise UserError("not a text", where=path, do="give a CSV file; a spreadsheet can be saved as one")
    for encoding in ("utf-16",) if utf16 else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise UserError("not a text in UTF-8", where=path, do="save it as UTF-8")
