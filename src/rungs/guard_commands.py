"""What `rungs guard` prints: every test set in a folder, and who looked at it how often."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from rungs.commands import out
from rungs.diagnose.guard import Opened, SetUse, sum_up
from rungs.report import format as fmt
from rungs.run.looks import times
from rungs.run.record import to_json

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


def verdict(one: SetUse) -> str:
    """Say in sentences how a test set was used."""
    openings, kinds = sum(who.openings for who in one.opened), Counter(_kinds(one.opened))
    runs, studies = one.of("run"), one.of("study")
    who = [fmt.many(len(runs), "run")] * bool(runs)
    who += [f"{len(studies)} stud{'y' if len(studies) == 1 else 'ies'}"] * bool(studies)
    said = [
        f"{one.source}, test set of {fmt.count(one.images)} images: opened {times(openings)} by {' and '.join(who)}."
    ]
    once = all(run.openings == 1 for run in one.opened)
    said += ["Each opened it once, after its epoch was chosen."] if once and not kinds["watched"] else []
    flattered = [run.flattery for run in one.opened if run.flattery is not None]
    if flattered:
        mean = 100 * sum(flattered) / len(flattered)
        watchers = "One watched it" if len(flattered) == 1 else f"{len(flattered)} watched it"
        would = f"the epoch that is best on test would have flattered by {mean:.2f} points"
        said.append(f"{watchers} over the epochs; {would}.")
    if kinds["evaluated"]:
        said.append(f"Trained nets were scored on it again, {times(kinds['evaluated'])}.")
    compared = {(look.when, look.who) for who in one.opened for look in who.looks if look.kind == "compared"}
    if compared:  # a comparison is in the log of each of its runs
        side_by_side = f"Its scores were set side by side {times(len(compared))}"
        said.append(f"{side_by_side}: what is chosen so is chosen on test.")
    scored = sum(run.accuracy is not None for run in one.opened)
    if scored > 1:
        said.append(
            f"Whoever picks the best of these {scored} by it flatters it: of {scored} equally good nets the best "
            f"shows about {100 * one.luck:.2f} points too much, by the luck of the images alone."
        )
    return " ".join(said)


def _kinds(opened: tuple[Opened, ...]) -> list[str]:
    return [look.kind for one in opened for look in one.looks]


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
