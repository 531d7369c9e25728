"""Tables of images and labels in columns: what Parquet files and sets of the Hub have in common.

Columns: an image (its bytes, a struct with `bytes`, or the path of a file) and a label (an integer with names in the
Hub's metadata, a whole number, true or false, or a string). Rows without a label (none, NaN, or -1) are not used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungs.data.imageset import Source
from rungs.data.mapped import read_listing
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.columns import HUB_IMAGES, HUB_LABELS, find_column
from rungs.data.sources.listing import Listing, Part, Read
from rungs.data.sources.names import PARTS, look_alikes, natural
from rungs.data.sources.tree import read_image
from rungs.errors import UserError
from rungs.run.record import Problem

if TYPE_CHECKING:
    import pyarrow as pa


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
        reading: The columns that the user named.
    """

    name: str
    part: str
    schema: pa.Schema
    stamp: str
    column: Callable[[str], Iterable[pa.Array]]
    files_in: tuple[Path, ...] = ()
    reading: Reading = DEFAULT

    @property
    def image(self) -> str:
        """The name of the column of images."""
        names: list[str] = self.schema.names
        return names[find_column(names, HUB_IMAGES, "image", self.name, self.reading.image_column)]

    @property
    def label(self) -> str:
        """The name of the column of labels."""
        names: list[str] = self.schema.names
        return names[find_column(names, HUB_LABELS, "label", self.name, self.reading.label_column)]


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
    for shard in shards:
        _require_images(shard)
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
    stamps = repr([(shard.name, shard.stamp) for shard in shards])
    alike = look_alikes(dict.fromkeys(classes, f"column {shards[0].label}"))
    listing = Listing(name, origin, root, classes, parts, f"{origin} {stamps}", (*problems, *left_out, *alike))
    source = read_listing(listing, image_size, reading)
    if reading.group_column is None or source.train.paths is None:
        return source
    groups = _groups(root, shards, reading.group_column)
    return replace(source, groups=[groups[path] for path in source.train.paths])


def _labels(shard: Shard) -> list[str | int | None]:
    """Return each row's label: a class name, a number if it has no name, None if it is missing."""
    import pyarrow as pa

    column = shard.label
    kind = shard.schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    values: list[Any] = [value for batch in shard.column(column) for value in batch.to_pylist()]
    if pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    if pa.types.is_boolean(kind):
        return [None if value is None else str(value).lower() for value in values]
    if pa.types.is_floating(kind):
        values = [_whole(value, column, kind, shard.name) for value in values]
    elif not pa.types.is_integer(kind):
        do = "a label is a whole number, true or false, or a string"
        raise UserError(f"column {column} holds {kind}", where=shard.name, do=do)
    values = [None if value == -1 else value for value in values]
    names = _class_names(shard)
    if names is None:
        return values
    if wrong := sorted({value for value in values if value is not None and not 0 <= value < len(names)}):
        what = f"label {wrong[0]}, but the metadata names {len(names)} classes"
        raise UserError(what, where=shard.name, do="fix the label or the metadata")
    return [None if value is None else names[value] for value in values]


def _whole(value: float | None, column: str, kind: object, where: str) -> int | None:
    """Return a label that pandas turned into a float because some rows have none."""
    if value is None or math.isnan(value):
        return None
    if not value.is_integer():
        do = "a label is a whole number, true or false, or a string; name its column: --set data.label_column=NAME"
        raise UserError(f"column {column} holds {kind}, such as {value:g}", where=where, do=do)
    return int(value)


def _class_names(shard: Shard) -> list[str] | None:
    """Return the names that the Hub's metadata gives the numbers of the label column."""
    try:
        features = json.loads((shard.schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[shard.label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _groups(root: str, shards: Sequence[Shard], column: str) -> dict[str, str]:
    """Return the path of each row -> its group; a row without one stands alone.

    Raises:
        UserError: No such column.
    """
    found = {}
    for shard in shards:
        find_column(shard.schema.names, (), "group", shard.name, column)
        values = (value for batch in shard.column(column) for value in batch.to_pylist())
        for row, value in enumerate(values):
            path = f"{root}/{shard.name}:{row}"
            found[path] = path if value is None else str(value)
    return found


def _join(shards: Sequence[Shard], labels: dict[str, list[int | None]]) -> Part:
    """Join shards to one part, without the rows that have no label."""
    rows = [(shard.name, row, value) for shard in shards for row, value in enumerate(labels[shard.name])]
    used = [(f"{name}:{row}", value) for name, row, value in rows if value is not None]
    return Part([name for name, _ in used], [value for _, value in used], partial(_files, shards, labels))


def _files(shards: Sequence[Shard], labels: dict[str, list[int | None]]) -> Iterator[Read]:
    for shard in shards:
        values = (value for batch in shard.column(shard.image) for value in batch)
        for value, label in zip(values, labels[shard.name], strict=True):
            if label is not None:
                yield partial(_bytes, value.as_py(), shard.files_in)


def _require_images(shard: Shard) -> None:
    """Refuse a column of images that holds something else.

    Raises:
        UserError: It holds neither bytes nor paths.
    """
    import pyarrow as pa

    kind = shard.schema.field(shard.image).type
    fits = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_null,
    )
    if not any(fit(kind) for fit in fits) and not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
        do = "store the bytes of image files, or their paths; name the column: --set data.image_column=NAME"
        raise UserError(f"column {shard.image} holds {kind}, not images", where=shard.name, do=do)


def _bytes(value: object, files_in: tuple[Path, ...]) -> bytes:
    """Return the bytes in a cell: binary, the path of a file, or a struct of bytes and path, as the Hub has it."""
    if isinstance(value, dict):
        data, name = value.get("bytes"), value.get("path")
        if data is None and name and not Path(name).is_absolute() and not beside(name, files_in).exists():
            return b""  # the name that the file once had
        value = name if data is None else data
    if isinstance(value, str) and value:
        return read_image(beside(value, files_in))
    return value if isinstance(value, bytes) else b""


def beside(name: str, folders: tuple[Path, ...]) -> Path:
    """Return the file that a cell names, in one of the folders.

    Raises:
        OSError: It is in none of them: it could be any file of this machine.
    """
    inside = [path for folder in folders if (path := (folder / name).resolve()).is_relative_to(folder.resolve())]
    if not inside:
        raise OSError("names a file outside the cache of the Hub's library, or the folder of the table")
    return next((path for path in inside if path.exists()), inside[0])
