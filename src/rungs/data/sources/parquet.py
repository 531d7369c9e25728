"""`parquet:PATH`: a Parquet file or a folder of shards, in the layout of the Hugging Face Hub.

The part comes from the file's name (train-00000-of-00002.parquet, validation.parquet) or its folder's
(test/0000.parquet); if no name gives one, everything is train. The columns are those of `shards`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rungs.data.cache import user_path
from rungs.data.imageset import Source
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.listing import stamp
from rungs.data.sources.names import natural, part_of
from rungs.data.sources.shards import Shard, beside, read_shards
from rungs.errors import UserError
from rungs.run.record import Problem

if TYPE_CHECKING:
    import pyarrow as pa


BATCH_ROWS = 64
"""Rows read at once: large enough for Parquet, small enough for large photos to fit into memory."""


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
    shards = [_shard(file, root, named[file] or "train", reading) for file in files if file not in unused]
    return read_shards(f"parquet:{argument}", str(path.resolve()), str(root), shards, image_size, problems, reading)


def _part(file: Path, root: Path) -> str | None:
    """Return the part from the file's name, else from its folders."""
    words = [re.split(r"[-_.]", file.name)[0], *reversed(file.parent.relative_to(root).parts)]
    return next((part for word in words if (part := part_of(word))), None)


def _shard(file: Path, root: Path, part: str, reading: Reading) -> Shard:
    import pyarrow.parquet as pq

    with _readable(file):
        schema = pq.read_schema(file)
    name = str(file.relative_to(root))
    shard = Shard(name, part, schema, "", partial(_batches, file), (file.parent, root), reading)
    return replace(shard, stamp=_stamp(file, shard))


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


def _stamp(file: Path, shard: Shard) -> str:
    """Return a stamp that changes with a table, and with the files that it names instead of holding their bytes."""
    import pyarrow as pa

    field, kind = shard.image, shard.schema.field(shard.image).type
    if pa.types.is_struct(kind):
        if kind.get_field_index("path") < 0 or _has_all_bytes(file, field):
            return repr(stamp(file))
        field = f"{field}.path"
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return repr(stamp(file))
    cells = [cell for batch in shard.column(field) for cell in batch.to_pylist()]
    names = [cell.get("path") if isinstance(cell, dict) else cell for cell in cells]
    return repr([stamp(file), *(_stamp_of(name, shard.files_in) for name in names)])


def _stamp_of(name: str | None, folders: tuple[Path, ...]) -> tuple[int, ...]:
    try:
        return stamp(beside(name or "", folders))
    except OSError:
        return ()


def _has_all_bytes(file: Path, column: str) -> bool:
    """Return whether no picture in a column of structs lacks its bytes, by the file's own statistics."""
    import pyarrow.parquet as pq

    with _readable(file):
        groups = pq.read_metadata(file)
    chunks = [groups.row_group(i).column(j) for i in range(groups.num_row_groups) for j in range(groups.num_columns)]
    known = [chunk.statistics for chunk in chunks if chunk.path_in_schema == f"{column}.bytes"]
    return all(one is not None and one.has_null_count and one.null_count == 0 for one in known)
