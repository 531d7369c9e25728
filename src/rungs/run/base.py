"""The base of all records, and their reading and writing as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rungs.errors import UserError

PLAIN = 300
"""Characters of a record that IPython shows as text."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records: immutable, written by name."""

    def _repr_html_(self) -> str | None:
        """Return the record as a notebook shows it; drawing is not its own work, so it asks `rungs.html`."""
        import rungs

        shown: str | None = rungs.html(self)
        return shown

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the beginning of the record where IPython shows it as text: all of it may be a megabyte."""
        text = repr(self)
        printer.text(text if len(text) <= PLAIN else f"{text[:PLAIN]}…")


T = TypeVar("T", bound=Record)


def to_json(record: Record) -> bytes:
    """Write a record as JSON, indented so that a person can read it and git can compare it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def from_json(data: bytes, kind: type[T], where: str | Path) -> T:
    """Read a record back.

    Raises:
        UserError: It is not JSON, or not a record of this kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise UserError(
            f"not a {kind.__name__}: {error}",
            where=where,
            do="check that the file is complete and was written by rungs",
        ) from error
