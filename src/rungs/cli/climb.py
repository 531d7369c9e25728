"""What `rungs climb` prints besides its table: the estimate, the status, and its progress while it runs."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rungs.cli.terminal import out
from rungs.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from rungs.study.ladder.climb import ClimbPlan
    from rungs.study.ladder.estimate import Forecast, Planned
    from rungs.study.ladder.spec import Cell

EVERY_S, EVERY_S_ON_TERMINAL = 60.0, 5.0
"""Seconds between two progress lines, and between two updates of the line on a terminal."""


@contextmanager
def progress_shown(
    plan: ClimbPlan, failed: Collection[Cell], *, quiet: bool, every_s: float = EVERY_S
) -> Iterator[None]:
    """Print the progress of a climb each minute while the body runs; on a terminal, keep a line of it up to date.

    Args:
        plan: Of the climb.
        failed: The cells that have failed so far; it may grow.
        quiet: Show nothing.
        every_s: Seconds between two lines.
    """
    from rungs.study.ladder import progress

    if quiet:
        yield
        return
    device = _device()

    def now() -> str:
        return progress.line(progress.read(plan, device, failed))

    if sys.stdout.isatty():
        # a line of `out` itself, so that what is printed meanwhile appears above it
        with out.status("") as shown, progress.told_every(EVERY_S_ON_TERMINAL, lambda: shown.update(now())):
            yield
    else:
        with progress.told_every(every_s, lambda: out.print(now(), markup=False, soft_wrap=True)):
            yield


def print_status(plan: ClimbPlan) -> None:
    """Print how far a climb has got; it may be running."""
    from rungs.report import format as fmt
    from rungs.study.ladder import progress

    if plan.folder.path.is_dir():
        lines = progress.status(progress.read(plan, _device(), progress.failed_before(plan)))
    else:
        lines = [f"nothing is trained yet: {fmt.many(len(plan.cells), 'cell')} to train"]
        beside = sorted(path.name for path in plan.folder.path.parent.glob(f"{plan.ladder.name}*") if path.is_dir())
        lines += [f"other climbs of it, perhaps with other flags: {', '.join(beside)}"] if beside else []
    for line in (*lines, f"folder: {plan.folder.path}"):
        out.print(line, markup=False, soft_wrap=True)


def _device() -> str:
    """Return the name of this machine's chip."""
    from rungs.evaluate.device import open_device
    from rungs.training.device import device_name

    return device_name(open_device())


def print_outdated(plan: ClimbPlan) -> None:
    """Print which rungs have cells in the record that another recipe trained."""
    from rungs.report.format import many

    for rung, number in plan.outdated.items():
        what = f"{rung}: the ladder has changed; {many(number, 'cell')} of its former recipe will not be reported"
        out.print(what, markup=False, soft_wrap=True)


def print_unpacked(plan: ClimbPlan) -> None:
    """Print which rungs train their seeds one by one though a pack was asked for."""
    from rungs.study.ladder.workers import unpacked

    for rung, reason in unpacked(plan.cells, plan.pack).items():
        out.print(f"{rung}: seeds are trained one by one, not packed: {reason}", markup=False, soft_wrap=True)


def print_estimate(plan: ClimbPlan) -> None:
    """Print every cell, its state and its estimated time."""
    from rungs.report import format as fmt
    from rungs.study.ladder.estimate import estimate
    from rungs.study.ladder.power import findable
    from rungs.study.ladder.workers import packs

    forecast = estimate(plan)
    steps = forecast.steps
    out.print(_steps_table(steps))
    left = [step for step in steps if step.state in ("to do", "started")]
    at_once = f"{plan.jobs} in parallel" if plan.jobs > 1 else "one after the other"
    own = {step.cell: step.estimate_s for step in left}
    of_packs = [sum(own[cell] for cell in group) for group in packs(own, plan.pack)] or [0.0]
    total = fmt.seconds(max(sum(of_packs) / min(max(1, plan.jobs), len(of_packs)), *of_packs, 0.0))
    cells = fmt.many(len(steps), "cell")
    out.print(f"{cells}, {len(left)} to train, {at_once}: about {total}, less with early stopping")
    if left:
        out.print(_basis(forecast), markup=False, soft_wrap=True)
    if any(len(group) > 1 for group in packs(own, plan.pack)):
        size = f"up to {plan.pack} seeds of a rung"
        out.print(f"packs of {size}: an estimate is a cell's share of its pack")
    if words := findable(plan):
        out.print(words, soft_wrap=True)
    out.print(f"folder: {plan.folder.path}", soft_wrap=True)
    broken = {step.state for step in steps if step.state.startswith("cannot run")}
    if broken and not left:
        raise UserError(
            "nothing can be trained:\n  " + "\n  ".join(sorted(broken)), where=plan.options.ladder, do="fix the cause"
        )


def _steps_table(steps: Sequence[Planned]) -> Table:
    """Return a table with a row for each cell."""
    from rich.markup import escape
    from rich.table import Table

    from rungs.report import format as fmt

    table = Table("cell", "rung", steps[0].cell.unit if steps else "seed", "epochs", "state", "estimate", box=None)
    for i, step in enumerate(steps, 1):
        time_s = fmt.seconds(step.estimate_s) if step.estimate_s else ""
        epochs = str(step.cell.recipe.training.epochs)
        table.add_row(str(i), step.cell.rung, step.cell.of.split()[1], epochs, escape(step.state), time_s)
    return table


def _basis(forecast: Forecast) -> str:
    """Return in a sentence what the estimates rest on."""
    left = [step for step in forecast.steps if step.estimate_s]
    measured = dict.fromkeys(step.cell.rung for step in left if step.measured)
    others = "short probes"
    if forecast.correction is not None:
        others += f" times {forecast.correction:.2f}, the ratio of measured pace to probe in this climb"
    if not measured:
        return f"estimates rest on {others}"
    if all(step.measured for step in left):
        return "estimates rest on the measured pace of this climb's trained cells"
    return (
        f"estimates rest on the measured pace of this climb's trained cells ({', '.join(measured)}), else on {others}"
    )
