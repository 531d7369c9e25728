"""What `rungs guard` prints: every test set in a folder, and who looked at it how often."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from rungs.commands import out
from rungs.diagnose.guard import Opened, SetUse, sum_up
from rungs.looks import times
from rungs.records import to_json
from rungs.report import format as fmt

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
    closed = f", {found.closed} of them without opening a test set" if found.closed else ""
    out.print(f"[bold]{escape(found.folder)}[/]: {fmt.many(found.runs, 'run')}{closed}", soft_wrap=True)
    for one in found.sets:
        out.print(f"\n{escape(verdict(one))}", soft_wrap=True)
        out.print(_table(one.opened, "run"))
    if found.studies:
        out.print("\nStudies that looked at test scores:")
        out.print(_table(found.studies, "study"))
    if not found.sets:
        out.print("No test set was opened here.")


def verdict(one: SetUse) -> str:
    """Say in sentences how a test set was used."""
    openings, kinds = sum(run.openings for run in one.opened), Counter(_kinds(one.opened))
    said = [
        f"{one.source}, test set of {fmt.count(one.images)} images: opened {times(openings)} by "
        f"{fmt.many(len(one.opened), 'run')}."
    ]
    once = openings == len(one.opened)
    said += ["Each opened it once, after its epoch was chosen."] if once and not kinds["watched"] else []
    flattered = [run.flattery for run in one.opened if run.flattery is not None]
    if flattered:
        mean = 100 * sum(flattered) / len(flattered)
        who = "One watched it" if len(flattered) == 1 else f"{len(flattered)} watched it"
        said.append(f"{who} over the epochs; the epoch that is best on test would have flattered by {mean:.2f} points.")
    if kinds["evaluated"]:
        said.append(f"Trained nets were scored on it once more {times(kinds['evaluated'])}.")
    if kinds["compared"]:
        side_by_side = f"Its scores were set side by side {times(kinds['compared'])}"
        said.append(f"{side_by_side}: what is chosen so is chosen on test.")
    if one.runs > 1:
        said.append(
            f"Whoever picks the best of these {one.runs} by it flatters it: of {one.runs} equally good nets the best "
            f"shows about {100 * one.luck:.2f} points too much, by the luck of the images alone."
        )
    return " ".join(said)


def _kinds(opened: tuple[Opened, ...]) -> list[str]:
    return [look.kind for one in opened for look in one.looks]


def _table(opened: tuple[Opened, ...], name: str) -> Table:
    table = Table(name, "opened", "looks", "last", "last by", box=None)
    ranked = sorted(opened, key=lambda one: -one.openings)
    for one in ranked[:SHOWN]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(_kinds((one,))).items())
        last = one.looks[-1]
        cells = (one.folder, str(one.openings), kinds, last.when[:16].replace("T", " "), fmt.short(last.who, 50))
        table.add_row(*map(escape, cells))
    if len(ranked) > SHOWN:
        table.add_row(f"and {len(ranked) - SHOWN} more")
    return table
