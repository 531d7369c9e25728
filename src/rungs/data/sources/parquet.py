"""`parquet:PATH`: a Parquet file or a folder of shards, in the layout of the Hugging Face Hub.

The part comes from the file's name (train-00000-of-00002.parquet, validation.parquet) or its folder's
(test/0000.parquet); if no name gives one, everything is train. Columns: an image (its bytes, or a struct with `bytes`)
and a label (an integer with names in the Hub's metadata, an integer, or a string). Rows without a label (none, or -1)
are not used.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungs.data.cache import user_path
from rungs.data.imageset import Source
from rungs.data.mapped import read_listing
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.listing import Listing, Part, Read, stamp
from rungs.data.sources.names import PARTS, natural, part_of
from rungs.data.sources.tree import read_image
from rungs.errors import UserError
from rungs.run.record import Problem

if TYPE_CHECKING:
    import pyarrow as pa

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")

BATCH_ROWS = 64
"""Rows read at once: large enough for Parquet, small enough for large photos to fit into memory."""


@dataclass(frozen=True)
class Shard:
    """A table of images of one part.

    Attributes:
        name: For display; rows are called "name:7".
        part: "train", "validation" or "test".
        schema: Its columns, with the Hub's metadata.
        stamp: Changes whenever the table may have changed.
        column: Yields the batches of one column, in order.
        files_in: Folders whose files a row may name instead of its bytes; no others may be read.
    """

    name: str
    part: str
    schema: pa.Schema
    stamp: str
    column: Callable[[str], Iterable[pa.Array]]
    files_in: tuple[Path, ...] = ()


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Read a Parquet file or a folder of them.

    Args:
        argument: The path.
        image_size: Pixels; None takes the size that all pictures share if they are square, else 64.
        reading: How to read them.

    Raises:
        UserError: No such path, no or damaged Parquet files, no image or label column.
    """
    if not argument:
        raise UserError("no path", where="parquet", do="give one: parquet:PATH")
    path = user_path(argument, f"parquet:{argument}")
    if not path.exists():
        raise UserError("no such path", where=path, do="give a .parquet file or a folder that holds some")
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"), key=lambda file: natural(str(file)))
    files = [file for file in files if not any(step.startswith(".") for step in file.relative_to(path).parts)]
    if not files:
        raise UserError("no Parquet files here", where=path, do="give a .parquet file or a folder that holds some")
    root = path.parent if path.is_file() else path
    named = {file: _part(file, root) for file in files}
    unused = [file for file in files if any(named.values()) and not named[file]]
    problems = [
        Problem(path=str(file.relative_to(root)), kind="doubtful", reason="not used: its name gives no part")
        for file in unused
    ]
    shards = [_shard(file, root, named[file] or "train") for file in files if file not in unused]
    return read_shards(f"parquet:{argument}", str(path.resolve()), str(root), shards, image_size, problems, reading)


def read_shards(
    name: str,
    origin: str,
    root: str,
    shards: Sequence[Shard],
    image_size: int | None,
    problems: Sequence[Problem] = (),
    reading: Reading = DEFAULT,
) -> Source:
    """Read the images and labels of all `shards`; the other arguments are those of `Listing` and `load`.

    Raises:
        UserError: No rows, no image or label column, labels of a wrong kind.
    """
    raw = {shard.name: _labels(shard) for shard in shards}
    if not any(raw.values()):
        raise UserError("no rows", where=origin, do="give files that hold images and labels")
    known = {value for values in raw.values() for value in values if value is not None}
    if len({type(value) for value in known}) > 1:
        raise UserError("some labels are numbers and some are names", where=origin, do="use one kind in all shards")
    order = {word: i for shard in shards for i, word in enumerate(_class_names(shard) or ())}  # the Hub's own
    words = {str(value) for value in known}
    classes = tuple(sorted(words, key=lambda word: (order.get(word, len(order)), natural(word))))
    number = {word: i for i, word in enumerate(classes)}
    labels = {name: [None if v is None else number[str(v)] for v in values] for name, values in raw.items()}
    parts = {
        part: _join([shard for shard in shards if shard.part == part], labels)
        for part in PARTS
        if any(shard.part == part and set(labels[shard.name]) - {None} for shard in shards)
    }
    left_out = [
        Problem(path=f"{shard.name}:{row}", kind="doubtful", reason="not used: it has no label")
        for shard in shards
        for row, value in enumerate(labels[shard.name])
        if value is None
    ]
    stamp = repr([(shard.name, shard.stamp) for shard in shards])
    return read_listing(
        Listing(name, origin, root, classes, parts, f"{origin} {stamp}", (*problems, *left_out)), image_size, reading
    )


def find_column(names: Sequence[str], accepted: Sequence[str], kind: str, where: str) -> str:
    """Return the first of the accepted column names that is there.

    Raises:
        UserError: None of them is; the message lists the columns.
    """
    for name in accepted:
        if name in names:
            return name
    what = f"no {kind} column; the columns are {', '.join(names)}"
    raise UserError(what, where=where, do=f"name it {' or '.join(accepted)}")


def _part(file: Path, root: Path) -> str | None:
    """Return the part from the file's name, else from its folders."""
    words = [re.split(r"[-_.]", file.name)[0], *reversed(file.parent.relative_to(root).parts)]
    return next((part for word in words if (part := part_of(word))), None)


def _shard(file: Path, root: Path, part: str) -> Shard:
    import pyarrow.parquet as pq

    with _readable(file):
        schema = pq.read_schema(file)
    name = str(file.relative_to(root))
    return Shard(name, part, schema, repr(stamp(file)), partial(_batches, file))


def _batches(file: Path, column: str) -> Iterator[pa.Array]:
    import pyarrow.parquet as pq

    with _readable(file), pq.ParquetFile(file) as table:
        for batch in table.iter_batches(BATCH_ROWS, columns=[column]):
            yield batch.column(0)


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn pyarrow's exceptions on a damaged file into an error that names it."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        what = f"not a whole Parquet file: {error}"
        raise UserError(what, where=file, do="fix it or download it again") from error


def _labels(shard: Shard) -> list[str | int | None]:
    """Return each row's label: a class name, a number if it has no name, None if it is missing."""
    import pyarrow as pa

    column = find_column(shard.schema.names, LABEL_COLUMNS, "label", shard.name)
    kind = shard.schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return [None for batch in shard.column(column) for _ in batch]
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UserError(f"column {column} holds {kind}", where=shard.name, do="a label is an integer or a string")
    values: list[Any] = [value for batch in shard.column(column) for value in batch.to_pylist()]
    if not pa.types.is_integer(kind):
        return values
    values = [None if value == -1 else value for value in values]
    names = _class_names(shard)
    if names is None:
        return values
    if wrong := sorted({value for value in values if value is not None and not 0 <= value < len(names)}):
        what = f"label {wrong[0]}, but the metadata names {len(names)} classes"
        raise UserError(what, where=shard.name, do="fix the label or the metadata")
    return [None if value is None else names[value] for value in values]


def _class_names(shard: Shard) -> list[str] | None:
    """Return the names that the Hub's metadata gives the numbers of the label column."""
    try:
        features = json.loads((shard.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[find_column(shard.schema.names, LABEL_COLUMNS, "label", shard.name)]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _join(shards: Sequence[Shard], labels: dict[str, list[int | None]]) -> Part:
    """Join shards to one part, without the rows that have no label."""
    rows = [(shard.name, row, value) for shard in shards for row, value in enumerate(labels[shard.name])]
    used = [(f"{name}:{row}", value) for name, row, value in rows if value is not None]
    return Part([name for name, _ in used], [value for _, value in used], partial(_files, shards, labels))


def _files(shards: Sequence[Shard], labels: dict[str, list[int | None]]) -> Iterator[Read]:
    for shard in shards:
        column = find_column(shard.schema.names, IMAGE_COLUMNS, "image", shard.name)
        values = (value for batch in shard.column(column) for value in batch)
        for value, label in zip(values, labels[shard.name], strict=True):
            if label is not None:
                yield partial(_bytes, value.as_py(), shard.files_in)


def _bytes(value: object, files_in: tuple[Path, ...]) -> bytes:
    """Return the bytes in a cell: binary, or a struct of bytes and path, as the Hub has it."""
    if isinstance(value, dict):
        if files_in and value.get("bytes") is None and value.get("path"):
            path = Path(value["path"]).resolve()
            if not any(path.is_relative_to(folder.resolve()) for folder in files_in):
                raise OSError("names a file outside the cache of the Hub's library")
            return read_image(path)
        value = value.get("bytes")
    if value is None:
        return b""
    if not isinstance(value, bytes):
        raise OSError(f"the cell holds {type(value).__name__}, not the bytes of an image")
    return value
