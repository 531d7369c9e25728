"""Commands on existing runs: diagnose a run, guard the test sets of a folder."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from tyro.conf import Positional, arg

from rungs.cli.study import cell_line, print_parallel, refuse_failed
from rungs.cli.terminal import out, print_json
from rungs.errors import UserError
from rungs.recipe.flags import Try
from rungs.study.cures.options import CureOptions

if TYPE_CHECKING:
    from rungs.run.record import Finding
    from rungs.study.cures.diagnosis import Cures, Diagnosis
    from rungs.study.cures.trial import Tried
    from rungs.study.guard import Opened
    from rungs.study.ladder.outcome import Outcome
    from rungs.study.ladder.record import RungRecord

COLOURS = {"good": "green", "note": "blue", "warning": "yellow"}
SHOWN = 30
"""Rows of a table: those that opened the most come first."""


def diagnose(options: Annotated[CureOptions, arg(name="")], try_: Try = False, json: bool = False) -> None:
    """Diagnose a run: findings, their evidence and a suggested fix for each; with --try, measure what the fixes gain.

    Args:
        options: See `CureOptions`.
        try_: Train the unchanged run and each fix with several seeds, and report what the fixes gain.
        json: Print the findings as JSON.
    """
    if try_:
        _try(options, json)
        return
    given = [field.name for field in dataclasses.fields(options) if field.compare and field.name != "run"]
    given = [name for name in given if getattr(options, name) not in (None, ())]
    if given:
        flags = " ".join(f"--{name}" for name in given)
        raise UserError("applies only with --try", where=flags, do="add --try")
    _diagnose(Path(options.run), json)


def _diagnose(run: Path, as_json: bool) -> None:
    """Print the findings of a run."""
    import msgspec

    from rungs.run.rerun import command
    from rungs.study.cures.diagnosis import diagnose

    found = diagnose(run)
    if as_json:
        commands = [command(found.record, one.cure, str(run)) if one.cure else None for one in found.findings]
        rows = zip(found.findings, commands, strict=True)
        print_json([{**msgspec.to_builtins(finding), "command": whole} for finding, whole in rows])
        return
    for finding in found.findings:
        _print_finding(finding, found, run)


def _print_finding(finding: Finding, found: Diagnosis, run: Path) -> None:
    from rungs.run.rerun import command

    colour = COLOURS[finding.level]
    out.print(f"[bold {colour}]{finding.level}[/] [bold]{escape(finding.title)}[/] [dim]({finding.rule})[/]")
    out.print(Padding(escape(finding.text), (0, 0, 0, 2)))
    if finding.threshold:
        out.print(Padding(f"[dim]Applies when {escape(finding.threshold)}.[/]", (0, 0, 0, 2)))
    if finding.citation:
        out.print(Padding(f"[dim]Source: {escape(finding.citation)}.[/]", (0, 0, 0, 2)))
    if finding.cure:
        out.print(f"  try: [bold]{escape(command(found.record, finding.cure, str(run)))}[/]", soft_wrap=True)
    out.print()


def _try(options: CureOptions, as_json: bool) -> None:
    """Try the suggested fixes of a run, reporting each cell, and print what they gained.

    Raises:
        UserError: No such run or rule; or at the end, when a cell failed.
    """
    from rungs.study.cures import trial

    if as_json:
        raise UserError("--try has no JSON output", where="--json --try", do="read its ladder.json")

    def tell(outcome: Outcome, done: int, of: int) -> None:
        out.print(cell_line(outcome, done, of), markup=False, soft_wrap=True)

    plan = trial.prepare(dataclasses.replace(options, tell=tell))
    if plan.climb is not None:
        print_parallel(plan.climb.plan, "diagnose --try")
    tried = trial.run(plan)
    if not isinstance(tried, trial.Tried):
        out.print("No suggested fix of this run can be tried.")
        _print_left(tried)
        return
    _print_gains(tried)
    _print_left(tried.cures)
    out.print(f"report: {tried.folder.report}", soft_wrap=True)
    refuse_failed(tried.record.rungs, options.run)


def _print_gains(tried: Tried) -> None:
    """Print a table of each fix and the unchanged run."""
    base, *others = tried.record.rungs
    recall = ("mean recall",) if "imbalance" in tried.cures.to_try else ()  # accuracy says little of rare classes
    table = Table("fix for", "sets", "validation", *recall, "gain, points", "95 % interval", "verdict", box=None)
    for rung in (base, *others):
        if rung is not base and rung.name not in tried.cures.to_try:
            continue
        what = ("(unchanged)", "") if rung is base else (rung.name, escape("\n".join(rung.changes)))
        recalls = [_accuracy(rung, "validation_balanced_accuracy")] if recall else []
        compared = ("", "", "") if rung is base else _compared(rung, base)
        table.add_row(*what, _accuracy(rung), *recalls, *compared)
    out.print(table)
    if recall:
        out.print("gains are of accuracy; for imbalanced classes, look at the mean recall of the classes as well")


def _accuracy(rung: RungRecord, metric: str = "validation_accuracy") -> str:
    found = rung.estimates.get(metric)
    if found is None:
        return ", ".join(sorted({cell.status for cell in rung.cells}))
    return f"{100 * found.mean:.2f} % (n = {found.n})"


def _compared(rung: RungRecord, base: RungRecord) -> tuple[str, str, str]:
    from rungs.report import metric

    difference = rung.difference
    if difference is None:
        ended = {cell.status for cell in base.cells} | {cell.status for cell in rung.cells}
        return "", "", f"no pair to compare: {', '.join(sorted(ended - {'finished'}))}"
    interval = metric.difference_bounds(difference.metric, difference.low, difference.high)
    return metric.signed(difference.metric, difference.mean), interval, difference.words


def _print_left(cures: Cures) -> None:
    for rule, why in cures.left.items():
        out.print(f"not tried: {rule}, {escape(why)}", soft_wrap=True)


def guard(folder: Positional[Path] = Path("runs"), /, json: bool = False) -> None:
    """Report how often the runs and studies in a folder opened each test set, which ones and what for.

    Args:
        folder: Folder of runs, climbs or searches, read recursively (default: runs).
        json: Print everything as JSON.
    """
    from rungs.report import format as fmt
    from rungs.study.guard import sum_up, verdict

    found = sum_up(folder)
    if json:
        print_json(found)
        return
    closed = f"; {found.closed} of them opened no test set" if found.closed else ""
    out.print(f"[bold]{escape(found.folder)}[/]: {fmt.many(found.runs, 'run')}{closed}", soft_wrap=True)
    for one in found.sets:
        out.print(f"\n{escape(verdict(one))}", soft_wrap=True)
        out.print(_table(one.opened))
    if not found.sets:
        out.print("No test set was opened here.")
    for line in found.unreadable:
        out.print(f"[yellow]not read[/] {escape(line)}", soft_wrap=True)


def _table(opened: tuple[Opened, ...]) -> Table:
    from rungs.report import format as fmt
    from rungs.study.guard import kinds_of

    table = Table("run or study", "opened", "looks", "last", "last by", box=None)
    ranked = sorted(opened, key=lambda one: -one.openings)
    for one in ranked[:SHOWN]:
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(kinds_of((one,))).items())
        last = one.looks[-1]
        cells = (one.folder, str(one.openings), kinds, last.when[:16].replace("T", " "), fmt.short(last.who, 50))
        table.add_row(*map(escape, cells))
    if len(ranked) > SHOWN:
        table.add_row(f"and {len(ranked) - SHOWN} more")
    return table
