"""Commands of studies: climb, tune, lr-find, bench, compare. Each prepares a plan, runs it and prints what it found."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from rungs.cli.terminal import out, print_json, status_line
from rungs.errors import UserError
from rungs.study.bench.options import BenchOptions
from rungs.study.comparison.options import CompareOptions
from rungs.study.ladder.options import ClimbOptions, MergeOptions
from rungs.study.rates.options import RateOptions
from rungs.study.search.options import SearchOptions

if TYPE_CHECKING:
    from rungs.study.comparison.record import CompareRecord, Flip, Flips
    from rungs.study.ladder.climb import ClimbPlan
    from rungs.study.ladder.outcome import Outcome
    from rungs.study.ladder.record import RungRecord
    from rungs.study.ladder.spec import Cell
    from rungs.study.search.record import TrialRecord
    from rungs.study.search.study import Search


def climb(
    options: Annotated[ClimbOptions, arg(name="")], dry_run: bool = False, status: bool = False, quiet: bool = False
) -> None:
    """Climb a ladder: train every rung with several seeds and report what each change gains.

    The same command resumes an interrupted climb; trained cells are kept.

    Args:
        options: See `ClimbOptions`.
        dry_run: List all cells and estimate the time from measured epochs, else from a short probe; train nothing.
        status: Print how far the climb has got, what is running and when it will end; train nothing.
        quiet: Show errors only.
    """
    from rungs.cli import climb as printing
    from rungs.study.ladder import climb as climbing
    from rungs.study.ladder import tables

    if status and (dry_run or quiet):
        other = "--dry-run" if dry_run else "--quiet"
        raise UserError(f"{other} and --status were given together", do="give one of them")
    began = time.monotonic()
    failed: set[Cell] = set()

    def tell(outcome: Outcome, done: int, of: int) -> None:
        if outcome.record is None:
            failed.add(outcome.cell)
        if not quiet:
            out.print(cell_line(outcome, done, of, time.monotonic() - began), markup=False, soft_wrap=True)

    plan = climbing.prepare(dataclasses.replace(options, tell=tell))
    if status:
        printing.print_status(plan)
        return
    if not dry_run:
        plan.folder.require_unlocked()
    if dry_run or not quiet:
        printing.print_outdated(plan)
        printing.print_unpacked(plan)
        print_parallel(plan, "climb")
    if dry_run:
        printing.print_estimate(plan)
        return
    with printing.progress_shown(plan, failed, quiet=quiet):
        record = climbing.run(plan)
    if not quiet:
        out.print(tables.summary(record, out.width))
        out.print(f"record: {plan.folder.record}\nreport: {plan.folder.report}", soft_wrap=True)
    refuse_failed(record.rungs, plan.options.ladder)


def cell_line(outcome: Outcome, done: int, of: int, elapsed_s: float | None = None) -> str:
    """Return the line printed for a cell that has ended; `elapsed_s` since the start of the climb."""
    name, record = f"[{done}/{of}] {outcome.cell.rung}, {outcome.cell.of}", outcome.record
    if record is None:
        return f"{name}: FAILED, {outcome.ending}"
    score = record.validation or record.test
    result = f"{100 * score.accuracy:.2f} %" if score and record.status == "finished" else record.status
    if outcome.kept:
        return f"{name}: {result} (trained before)"
    return f"{name}: {result}" + (f"; {elapsed_s:.0f} s since the start" if elapsed_s is not None else "")


def refuse_failed(rungs: Sequence[RungRecord], where: object) -> None:
    """Raise an error that names the failed cells, if any.

    Raises:
        UserError: There are some.
    """
    failed = [(rung.name, cell) for rung in rungs for cell in rung.cells if cell.status == "failed"]
    if failed:
        lines = "".join(f"\n  {name}, seed {cell.seed}: {cell.ending}" for name, cell in failed)
        do = "fix the cause and repeat the command: finished cells are kept"
        raise UserError(f"{len(failed)} cell{'s' * (len(failed) > 1)} failed{lines}", where=where, do=do)


def print_parallel(plan: ClimbPlan | Search, command: str) -> None:
    """Print how many workers train in parallel where that was measured."""
    from rungs.study.processes import require_startable

    require_startable(command)  # the ranks of torchrun would wait for one another's measurement
    if plan.parallel.reason:
        out.print(plan.parallel.reason, markup=False, soft_wrap=True)


def merge(options: Annotated[MergeOptions, arg(name="")], quiet: bool = False) -> None:
    """Merge climbs of one ladder that were trained in two places, if their recipes and data agree.

    Args:
        options: See `MergeOptions`.
        quiet: Show errors only.
    """
    from rungs.report.format import many
    from rungs.study.ladder import merge as merging
    from rungs.study.ladder import tables

    plan = merging.prepare(options)
    record = merging.run(plan)
    if not quiet:
        out.print(tables.summary(record, out.width))
        if plan.left_out:
            out.print(f"{many(plan.left_out, 'cell')} in more than one of them: those of the first were kept")
        if plan.to_go_on:
            out.print(f"to train what is missing: {plan.to_go_on}", markup=False, soft_wrap=True)
        out.print(f"record: {plan.folder.record}\nreport: {plan.folder.report}", soft_wrap=True)


def tune(options: Annotated[SearchOptions, arg(name="")], quiet: bool = False) -> None:
    """Search a space by validation alone, re-run the best on fresh seeds, then score the winner on the test set, once.

    The same command resumes an interrupted search. On another machine, with the folder on a shared disk or with the
    same --storage, it joins the search.

    Args:
        options: See `SearchOptions`.
        quiet: Show errors only.
    """
    from rungs.run.looks import openings, read
    from rungs.study.search import tables, words
    from rungs.study.search import tune as searching

    began = time.monotonic()

    def say(line: str) -> None:
        if not quiet:
            out.print(f"{line}; {time.monotonic() - began:.0f} s since the start", markup=False, soft_wrap=True)

    def tell(trial: TrialRecord, done: int, of: int) -> None:
        say(f"[{done}/{of}] {tables.trial_line(trial, plan.work.space, plan.work.metric)}")

    def tell_final(outcome: Outcome, done: int, of: int) -> None:
        say(f"[re-run {done}/{of}] {_rerun(outcome)}")

    plan = searching.prepare(dataclasses.replace(options, tell=tell, tell_final=tell_final))
    if not quiet:
        print_parallel(plan, "tune")
    record = searching.run(plan)
    if not quiet:
        out.print(tables.summary(record, openings(read(plan.folder.looks))))
        watch = f"trials:  {record.dashboard}\n         ({words.dashboard_needs(record)})"
        out.print(watch, soft_wrap=True, markup=False)
        out.print(f"record:  {plan.folder.record}\nreport:  {plan.folder.report}", soft_wrap=True, markup=False)


def _rerun(outcome: Outcome) -> str:
    """Return the line printed for a re-run."""
    name, record = f"{outcome.cell.rung}, seed {outcome.cell.seed}", outcome.record
    if record is None:
        return f"{name}: FAILED, {outcome.ending}"
    score = f"{100 * record.validation.accuracy:.2f} %" if record.validation else record.status
    return f"{name}: {score}{' (trained before)' if outcome.kept else ''}"


def lr_find(options: Annotated[RateOptions, arg(name="")], quiet: bool = False) -> None:
    """Find a recipe's learning rate: sweep over a range, suggest one, and check it by short runs.

    The test set stays closed: rates are compared on validation.

    Args:
        options: See `RateOptions`.
        quiet: Show errors only.
    """
    from rungs.study.rates import find, tables

    plan = find.prepare(options)
    with status_line(plan.recipe.name, quiet=quiet) as tell:
        record = find.run(dataclasses.replace(plan, options=dataclasses.replace(options, tell=tell)))
    if not quiet:
        out.print(tables.summary(record))
        out.print(f"next: {record.next_command}", style="bold", markup=False, soft_wrap=True)
        out.print(f"report: {plan.folder.report}", soft_wrap=True)


def bench(options: Annotated[BenchOptions, arg(name="")], quiet: bool = False) -> None:
    """Measure what share of this machine's ceiling a recipe reaches, where its time goes and what would help.

    Args:
        options: See `BenchOptions`.
        quiet: Show errors only.
    """
    from rungs.study.bench import measure, tables
    from rungs.study.bench.advice import advise

    plan = measure.prepare(options)
    with status_line(plan.recipe.name, quiet=quiet) as tell:
        record = measure.run(dataclasses.replace(plan, options=dataclasses.replace(options, tell=tell)))
    if not quiet:
        out.print(tables.summary(record, advise(record)))
        out.print(f"report: {plan.folder.report}", soft_wrap=True)


def compare(options: Annotated[CompareOptions, arg(name="")], json: bool = False) -> None:
    """Compare runs with the first: better, worse or indistinguishable, and why.

    Runs of one recipe with different seeds are grouped. Comparing test scores uses the test set: it is logged for each
    run.

    Args:
        options: See `CompareOptions`.
        json: Print the record as JSON, without its pictures.
    """
    from rich.markup import escape

    from rungs.study.comparison import compare as comparing
    from rungs.study.comparison import tables
    from rungs.study.folders import require_runs

    require_runs(options.runs)
    plan = comparing.prepare(options)
    record = comparing.run(plan)
    if json:
        print_json(_without_pictures(record))
        return
    for pair in record.pairs:
        out.print(
            f"[bold]{pair.shown.upper()}[/] {escape(' '.join((pair.words, *pair.more)))}",
            soft_wrap=not sys.stdout.isatty(),
        )
    for table in tables.tables(record, out.width):
        out.print(table)
    for sentence in (*tables.remarks(record), *record.warnings):
        out.print(escape(sentence), soft_wrap=not sys.stdout.isatty())
    out.print(f"report: {plan.folder.report}", soft_wrap=True)


def _without_pictures(record: CompareRecord) -> CompareRecord:
    """Return a record without its pictures."""
    from msgspec.structs import replace

    def bare(flips: tuple[Flip, ...]) -> tuple[Flip, ...]:
        return tuple(replace(flip, picture="") for flip in flips)

    def emptied(flips: Flips | None) -> Flips | None:
        return flips and replace(flips, newly_correct=bare(flips.newly_correct), newly_wrong=bare(flips.newly_wrong))

    return replace(record, pairs=tuple(replace(pair, flips=emptied(pair.flips)) for pair in record.pairs))
