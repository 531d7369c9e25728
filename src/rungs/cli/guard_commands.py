"""What `rungs guard` prints: every test set in a folder, and who looked at it how often."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from rungs.cli.terminal import out
from rungs.report import format as fmt
from rungs.run.record import to_json
from rungs.study.guard import Opened, _kinds, sum_up, verdict

SHOWN = 30
"""Rows of a table: those that opened the most come first."""


def guard(folder: Path, *, as_json: bool) -> None:
    """Print what the logs in a folder say.

    Raises:
        UserError: No such folder, or no run in it.
    """
    found = sum_up(folder)
    if as_json:
        sys.stdout.buffer.write(to_json(found))
        return
    closed = f"; {found.closed} of them opened no test set" if found.closed else ""
    out.print(f"[bold]{escape(found.folder)}[/]: {fmt.many(found.runs, 'run')}{closed}", soft_wrap=True)
    for one in found.sets:
        out.print(f"\n{escape(verdict(one))}", soft_wrap=True)
        out.print(_table(one.opened))
    if not found.sets:
        out.print("No test set was looked at here.")
    for line in found.unreadable:
        out.print(f"[yellow]not read[/] {escape(line)}", soft_wrap=True)


def _table(opened: tuple[Opened, ...]) -> Table:
    table = Table("run or study", "opened", "looks", "last", "last by", box=None)
    ranked = sorted(opened, key=lambda one: -one.openings)
    for one in ranked[:SHOWN]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(_kinds((one,))).items())
        last = one.looks[-1]
        cells = (one.folder, str(one.openings), kinds, last.when[:16].replace("T", " "), fmt.short(last.who, 50))
        table.add_row(*map(escape, cells))
    if len(ranked) > SHOWN:
        table.add_row(f"and {len(ranked) - SHOWN} more")
    return table
