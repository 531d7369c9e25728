"""What `rungs climb` prints: a line a cell, then the table; or the plan alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from rungs.cli.terminal import out
from rungs.errors import UserError, require_between

if TYPE_CHECKING:
    from rungs.study.ladder.spec import Cell
    from rungs.study.ladder.workers import Outcome


def climb(
    ladder: str,
    overrides: Sequence[str],
    options: dict[str, Any],
    how: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Climb a ladder, telling of each cell, and print its table.

    Args:
        ladder: Name or path.
        overrides: As after `--set`.
        options: What is climbed, the keyword arguments of `rungs.study.ladder.options.prepare_climb`.
        how: The others of `rungs.study.ladder.climb.climb`.
        quiet: Print errors alone.

    Raises:
        UserError: At the end, when a cell failed; or at once, for bad input.
    """
    from rungs.study.ladder import climb
    from rungs.study.ladder import options as ladder_options
    from rungs.study.ladder import tables as ladder_tables

    began = time.monotonic()

    def tell(outcome: Outcome, done: int, of: int) -> None:
        if not quiet:
            out.print(cell_line(outcome, done, of, time.monotonic() - began), markup=False, soft_wrap=True)

    if not quiet:
        _tell_unpacked(ladder_options.prepare_climb(ladder, overrides, **options).cells, how["pack"])
    record = climb.climb(ladder, overrides, **options, **how, tell=tell)
    failed = [(rung.name, cell) for rung in record.rungs for cell in rung.cells if cell.status == "failed"]
    if not quiet:
        out.print(ladder_tables.summary(record, out.width))
        folder = ladder_options.prepare_climb(ladder, overrides, **options).folder
        out.print(f"record: {folder.record}\nreport: {folder.path / 'report.html'}", soft_wrap=True)
    if failed:
        lines = "".join(f"\n  {name}, seed {cell.seed}: {cell.ending}" for name, cell in failed)
        do = "mend the cause and give the same command again: the cells that are done are kept"
        raise UserError(f"{len(failed)} cell{'s' * (len(failed) > 1)} failed{lines}", where=ladder, do=do)


def cell_line(outcome: Outcome, done: int, of: int, elapsed_s: float | None = None) -> str:
    """Return what is said of a cell that came to an end; `elapsed_s` since the climb began."""
    name, record = f"[{done}/{of}] {outcome.cell.rung}, seed {outcome.cell.seed}", outcome.record
    if record is None:
        return f"{name}: FAILED, {outcome.ending}"
    score = record.validation or record.test
    result = f"{100 * score.accuracy:.2f} %" if score and record.status == "finished" else record.status
    if outcome.kept:
        return f"{name}: {result} (trained before)"
    return f"{name}: {result}" + (f"; {elapsed_s:.0f} s in all" if elapsed_s is not None else "")


def _tell_unpacked(cells: Sequence[Cell], pack: int | None) -> None:
    """Say which rungs train their seeds one by one though a pack was asked for."""
    from rungs.study.ladder.workers import PACK_ALLOWED, unpacked

    if pack is not None:
        require_between(pack, 1, PACK_ALLOWED, "--pack")
    for rung, reason in unpacked(cells, pack or 1).items():
        out.print(f"{rung}: its seeds train one by one, not packed: {reason}", markup=False, soft_wrap=True)


def plan(
    ladder: str,
    overrides: Sequence[str],
    options: dict[str, Any],
    jobs: int | None,
    pack: int | None,
    *,
    skip_unreadable: bool,
) -> None:
    """Print every cell, what there is of it, and how long it would take."""
    from rungs.report import format as fmt
    from rungs.study.ladder import estimate as plans
    from rungs.study.ladder import options as ladder_options
    from rungs.study.ladder.workers import packs
    from rungs.study.processes import JOBS_ALLOWED, default_jobs

    if jobs is not None:
        require_between(jobs, 0, JOBS_ALLOWED, "--jobs")
    jobs = default_jobs() if jobs is None else max(1, jobs)
    chosen = ladder_options.prepare_climb(ladder, overrides, **options)
    _tell_unpacked(chosen.cells, pack)
    steps = plans.plan(chosen.cells, chosen.folder.path, jobs, skip_unreadable=skip_unreadable, pack=pack or 1)
    table = Table("cell", "rung", "seed", "epochs", "state", "estimate", box=None)
    for i, step in enumerate(steps, 1):
        estimate = fmt.seconds(step.estimate_s) if step.estimate_s else ""
        epochs = str(step.cell.recipe.training.epochs)
        table.add_row(str(i), step.cell.rung, str(step.cell.seed), epochs, escape(step.state), estimate)
    out.print(table)
    left = [step for step in steps if step.state in ("to do", "begun")]
    at_once = f"{jobs} at once" if jobs > 1 else "one after the other"
    own = {step.cell: step.estimate_s for step in left}
    of_packs = [sum(own[cell] for cell in group) for group in packs(own, pack or 1)] or [0.0]
    total = fmt.seconds(max(sum(of_packs) / min(jobs, len(of_packs)), *of_packs, 0.0))
    out.print(f"{len(steps)} cells, {len(left)} to train, {at_once}: about {total}, less where training stops early")
    if any(len(group) > 1 for group in packs(own, pack or 1)):
        size = f"up to {pack} seeds of a rung"
        out.print(f"packs of {size}: an estimate is a cell's share of its pack, as two steps of one took")
    out.print(f"folder: {chosen.folder.path}", soft_wrap=True)
    broken = {step.state for step in steps if step.state.startswith("cannot run")}
    if broken and not left:
        raise UserError("nothing can be trained:\n  " + "\n  ".join(sorted(broken)), where=ladder, do="mend the cause")
