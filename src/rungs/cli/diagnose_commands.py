"""What `rungs diagnose` prints: the findings, and with --try what their cures bought."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from rungs.cli.climb_commands import cell_line
from rungs.cli.terminal import out
from rungs.errors import UserError
from rungs.report import metric
from rungs.run.record import Finding
from rungs.run.rerun import command
from rungs.study.ladder.record import RungRecord

if TYPE_CHECKING:
    from rungs.study.cures import Cures, Diagnosis, Tried
    from rungs.study.ladder.workers import Outcome

COLOURS = {"good": "green", "note": "blue", "warning": "yellow"}


def diagnose(run: Path, *, as_json: bool) -> None:
    """Print what a run shows.

    Raises:
        UserError: This is no run.
    """
    from rungs.study import cures as diagnosing

    found = diagnosing.diagnose(run)
    if as_json:
        rows = [_plain(finding, found, run) for finding in found.findings]
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        return
    for finding in found.findings:
        _tell(finding, found, run)


def _plain(finding: Finding, found: Diagnosis, run: Path) -> dict[str, Any]:
    whole = command(found.record, finding.cure, str(run)) if finding.cure else None
    return {**msgspec.to_builtins(finding), "command": whole}


def _tell(finding: Finding, found: Diagnosis, run: Path) -> None:
    colour = COLOURS[finding.level]
    out.print(f"[bold {colour}]{finding.level}[/] [bold]{escape(finding.title)}[/] [dim]({finding.rule})[/]")
    out.print(Padding(escape(finding.text), (0, 0, 0, 2)))
    if finding.threshold:
        out.print(Padding(f"[dim]Speaks when {escape(finding.threshold)}.[/]", (0, 0, 0, 2)))
    if finding.citation:
        out.print(Padding(f"[dim]Source: {escape(finding.citation)}.[/]", (0, 0, 0, 2)))
    if finding.cure:
        out.print(f"  try: [bold]{escape(command(found.record, finding.cure, str(run)))}[/]", soft_wrap=True)
    out.print()


def try_cures(run: Path, options: dict[str, Any]) -> None:
    """Try the cures of a run, telling of each cell, and print what they bought.

    Args:
        run: Its folder.
        options: Keyword arguments of `rungs.study.cures.try_cures`.

    Raises:
        UserError: No such run or rule; or at the end, when a cell failed.
    """
    from rungs.study import cures as diagnosing

    def tell(outcome: Outcome, done: int, of: int) -> None:
        out.print(cell_line(outcome, done, of), markup=False, soft_wrap=True)

    tried = diagnosing.try_cures(run, **options, tell=tell)
    if isinstance(tried, diagnosing.Cures):
        out.print("No cure of this run can be tried.")
        _tell_left(tried)
        return
    _bought(tried)
    _tell_left(tried.cures)
    out.print(f"report: {tried.folder.path / 'report.html'}", soft_wrap=True)
    failed = [(rung.name, cell) for rung in tried.record.rungs for cell in rung.cells if cell.status == "failed"]
    if failed:
        lines = "".join(f"\n  {name}, seed {cell.seed}: {cell.ending}" for name, cell in failed)
        raise UserError(f"cells failed:{lines}", where=run, do="mend the cause and give the same command again")


def _bought(tried: Tried) -> None:
    """Print a table: each cure beside the run as it was."""
    base, *others = tried.record.rungs
    table = Table("tried against", "sets", "validation", "gain, points", "95 % interval", "verdict", box=None)
    table.add_row("(as it was)", "", _accuracy(base), "", "", "")
    for rung in others:
        if rung.name not in tried.cures.to_try:
            continue
        table.add_row(rung.name, escape("\n".join(rung.changes)), _accuracy(rung), *_compared(rung, base))
    out.print(table)


def _accuracy(rung: RungRecord) -> str:
    found = rung.estimates.get("validation_accuracy")
    if found is None:
        return ", ".join(sorted({cell.status for cell in rung.cells}))
    return f"{100 * found.mean:.2f} % (n = {found.n})"


def _compared(rung: RungRecord, base: RungRecord) -> tuple[str, str, str]:
    difference = rung.difference
    if difference is None:
        ended = {cell.status for cell in base.cells} | {cell.status for cell in rung.cells}
        return "", "", f"no pair to compare: {', '.join(sorted(ended - {'finished'}))}"
    interval = metric.difference_bounds(difference.metric, difference.low, difference.high)
    return metric.signed(difference.metric, difference.mean), interval, difference.words


def _tell_left(cures: Cures) -> None:
    for rule, why in cures.left.items():
        out.print(f"not tried: {rule}, {escape(why)}", soft_wrap=True)


def require_one_form(as_json: bool, flags: Sequence[tuple[str, object]], trying: bool) -> None:
    """Refuse JSON of a trial, and options of a trial without one.

    Raises:
        UserError: There are such.
    """
    if as_json and trying:
        raise UserError("what cures bought has no JSON of its own", where="--json --try", do="read its ladder.json")
    given = [flag for flag, value in flags if value not in (None, ())]
    if given and not trying:
        raise UserError("this is for trying the cures", where=" ".join(given), do="add --try")
