"""Which columns of a table hold the images and their labels, and what the labels mean."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rungs.errors import UserError, did_you_mean

Tiers = Sequence[Sequence[str]]
"""Usual names of a column, in small letters without spaces and signs; a later tier counts
if no name of an earlier one fits."""

IMAGES: Tiers = (
    (
        *("image", "images", "img", "file", "files", "filename", "filenames", "filepath", "filepaths", "path", "paths"),
        *("imageid", "imagename", "imagepath", "imagefile", "imgid", "imgname", "imgpath", "photo", "picture"),
    ),
    ("id", "name"),
)
LABELS: Tiers = (
    (
        *("label", "labels", "labelname", "class", "classes", "classname", "classid", "target", "targets", "category"),
        *("categories", "breed", "species", "variety", "diagnosis"),
    ),
)
HUB_IMAGES: Tiers = (("image",), ("img",), ("imagepath", "filename", "filepath", "path", "file"))
HUB_LABELS: Tiers = (("label",), ("labels",), ("finelabel",), ("target", "class", "classname", "category"))
"""Of Parquet files and sets of the Hub, which have fewer usual names: of several that fit, they mean the first."""
PARTS: Tiers = (("split", "part", "set", "dataset", "subset", "usage", "partition"),)


def find_column(columns: Sequence[str], usual: Tiers, kind: str, where: object, chosen: str | None = None) -> int:
    """Return the position of a column: the chosen one, or the only one with a usual name.

    Args:
        columns: The names of all.
        usual: The usual names of the one wanted.
        kind: What it holds, "image" or "label".
        where: The table, for messages.
        chosen: The name that the user gave.

    Raises:
        UserError: No such column, none with a usual name, or several; the message lists the columns.
    """
    listed = f"the columns are {', '.join(columns)}"
    if chosen is not None:
        if list(columns).count(chosen) == 1:
            return list(columns).index(chosen)
        raise UserError(f"no one column {chosen!r}; {listed}", where=where, do=did_you_mean(chosen, columns))
    fits = fitting(columns, usual)
    if len(fits) == 1:
        return fits[0]
    several = f"several columns may be the {kind} ({', '.join(columns[i] for i in fits)})"
    do = f"name it: --set data.{kind}_column=NAME (rungs data … --{kind}-column NAME)"
    raise UserError(f"{several if fits else f'no {kind} column'}; {listed}", where=where, do=do)


def fitting(columns: Sequence[str], usual: Tiers) -> list[int]:
    """Return the positions of the columns with a usual name, of the first tier that has any."""
    bare = [re.sub(r"[\W_]", "", name.casefold()) for name in columns]
    found = ([i for i, name in enumerate(bare) if name in tier] for tier in usual)
    return next((positions for positions in found if positions), [])


def without_fractions(labels: Sequence[str]) -> list[str]:
    """Return labels without the .0 that spreadsheets and pandas add, if all are whole numbers: 1.0 -> 1."""
    if labels and all(re.fullmatch(r"\d+(\.0*)?", label) for label in labels):
        return [label.partition(".")[0] for label in labels]
    return list(labels)
