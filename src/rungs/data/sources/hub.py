"""`hub:OWNER/NAME`: a data set of the Hugging Face Hub, through its `datasets` library (the extra `hub`)."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungs.data.imageset import Source
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.columns import HUB_IMAGES, find_column
from rungs.data.sources.names import part_of
from rungs.data.sources.parquet import BATCH_ROWS
from rungs.data.sources.shards import Shard, read_shards
from rungs.errors import UserError
from rungs.run.record import Problem

if TYPE_CHECKING:
    import pyarrow as pa

EXTRA = "install the extra, in the folder of rungs: pip install -e '.[hub]'"
WAYS_OUT = (
    "check the name and the network (HF_HUB_OFFLINE=1 uses earlier downloads without trying the network); "
    "or download the set elsewhere and give it as parquet:PATH or folder:PATH; "
    "without any network, `digits` is built in"
)


def load(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Download a data set of the Hub, or find it in the Hub's own cache, and read it.

    Args:
        argument: OWNER/NAME.
        image_size: Pixels; None takes the size that all pictures share if they are square, else 64.
        reading: How to read them.

    Raises:
        UserError: Not OWNER/NAME, the library is not installed, no such data set, no network, no image or label column.
    """
    if not argument:
        raise UserError("no data set named", where="hub", do="give one: hub:OWNER/NAME")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", argument):
        raise UserError("not OWNER/NAME", where=f"hub:{argument}", do="name both, as in hub:ylecun/mnist")
    try:
        import datasets
    except ImportError as error:
        raise UserError("needs the library datasets", where="hub", do=EXTRA) from error
    try:
        with _quiet():
            found = datasets.load_dataset(argument)
    except Exception as error:  # the library raises whatever its network and readers raise
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UserError(f"cannot be loaded: {reason}", where=f"hub:{argument}", do=WAYS_OUT) from error
    return read_splits(argument, found, image_size, reading)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the Hub's library from logging each retry; it has no setting for fewer."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def read_splits(name: str, splits: Mapping[str, Any], image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Read the splits (`datasets.Dataset`) of a data set, with pictures as the bytes of their files.

    Raises:
        UserError: No image or label column.
    """
    shards = [_shard(split, data, name, reading) for split, data in splits.items() if part_of(split)]
    problems = [
        Problem(path=split, kind="doubtful", reason="not used: not the name of a part (train, validation, test)")
        for split in splits
        if not part_of(split)
    ]
    return read_shards(f"hub:{name}", f"the Hugging Face Hub, {name}", name, shards, image_size, problems, reading)


def _shard(split: str, data: Any, name: str, reading: Reading) -> Shard:
    import datasets
    import huggingface_hub

    columns = data.column_names
    image = columns[find_column(columns, HUB_IMAGES, "image", f"hub:{name} {split}", reading.image_column)]
    if isinstance(data.features[image], datasets.Image):
        data = data.cast_column(image, datasets.Image(decode=False))
    schema, stamp = data.features.arrow_schema, data._fingerprint
    cache = (Path(datasets.config.HF_DATASETS_CACHE), Path(huggingface_hub.constants.HF_HUB_CACHE))
    return Shard(split, part_of(split) or "train", schema, stamp, partial(_column, data), cache, reading)


def _column(data: Any, column: str) -> Iterator[pa.Array]:
    for table in data.select_columns([column]).with_format("arrow").iter(BATCH_ROWS):
        yield from table.column(0).chunks
