"""The command `cache`: what rungs keeps on this machine, and clearing it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tyro.conf import Positional

from rungs.cli.terminal import out
from rungs.errors import UserError, closest

if TYPE_CHECKING:
    from rungs.data.room import Held

ALL = "all"


def cache(what: Positional[str | None] = None, /, clear: bool = False) -> None:
    """List what the cache holds: decoded images, features, near duplicates, measured answers, downloads; or clear it.

    Sets that a running process uses are kept.

    Args:
        what: decoded, features, near-duplicates, measured, downloads, all, or the name of a set, such as folder:photos
            (default: all that can be made again without a network, so not the downloads).
        clear: Remove it, without asking.
    """
    from rungs.data import room
    from rungs.data.cache import cache_dir

    chosen = _chosen(room.contents(), what)
    if clear:
        freed, left = room.clear(chosen)
        kept = f"; in use and kept: {', '.join(one.name for one in left)}" if left else ""
        out.print(f"freed {room.size(freed)} in {cache_dir()}{kept}", markup=False, soft_wrap=True)
        return
    _list(chosen)
    total = sum(one.bytes for one in chosen)
    counted = sum(one.bytes for one in chosen if one.kind in room.SETS)
    limit = room.limit_bytes()
    source = room.VARIABLE if os.environ.get(room.VARIABLE) else f"a quarter of the free disk; {room.VARIABLE} sets it"
    out.print(f"{room.size(total)} in {cache_dir()}", markup=False, soft_wrap=True)
    out.print(f"decoded images and features: {room.size(counted)} of at most {room.size(limit)} ({source})")


def _chosen(held: list[Held], what: str | None) -> list[Held]:
    """Return what a word stands for: a kind, a set, all, or all but downloads."""
    from rungs.data import room

    if what is None:
        return [one for one in held if one.kind not in ("downloads", "other")]
    if what == ALL:
        return held
    kinds = (ALL, *room.KINDS.values())
    if not what.strip():  # a variable of the shell that is not set
        raise UserError("an empty name", where="cache", do=f"name a set, or {', '.join(kinds)}")
    chosen = [one for one in held if what in (one.kind, one.name, _source_of(one))]
    if not chosen and what not in kinds:
        near = closest(what, [*kinds, *map(_source_of, held)])
        do = f"{near}name a set, as rungs cache lists it, or {', '.join(kinds)}"
        raise UserError("nothing of this name in the cache", where=what, do=do)
    return chosen


def _source_of(one: Held) -> str:
    """Return the name of a set without the size of its images or features; of other things the whole name."""
    from rungs.data import room

    return one.name.rpartition(", ")[0] or one.name if one.kind in room.SETS else one.name


def _list(held: list[Held]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from rungs.data import room

    table = Table("kind", box=None)
    table.add_column("what", overflow="fold")
    for column in ("images", "size", "last used"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in held:
        images = "" if one.images is None else f"{one.images:,}"
        table.add_row(one.kind, escape(one.name), images, room.size(one.bytes), _day(one.used))
    out.print(table)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
