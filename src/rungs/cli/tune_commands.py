"""What `rungs tune` prints: a line a trial and a line a re-run, then the finalists and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rungs.cli.terminal import out

if TYPE_CHECKING:
    from rungs.study.ladder.workers import Outcome
    from rungs.study.search.record import TrialRecord


def tune(
    recipe: str, space: str, overrides: Sequence[str], options: dict[str, Any], workers: int | None, *, quiet: bool
) -> None:
    """Search, telling of each trial, and print the finalists.

    Args:
        recipe: Name or path.
        space: Name or path.
        overrides: As after `--set`.
        options: What is searched, the keyword arguments of `rungs.study.search.options.prepare`.
        workers: Trials at once.
        quiet: Print errors alone.

    Raises:
        UserError: Anything that the user can mend.
    """
    from rungs.run.looks import openings, read
    from rungs.study.search import options as search_options
    from rungs.study.search import tables as search_tables
    from rungs.study.search import tune, words

    began = time.monotonic()
    asked = search_options.prepare(recipe, space, overrides, **options)

    def tell(trial: TrialRecord, done: int, of: int) -> None:
        if not quiet:
            said = search_tables.trial_line(trial, asked.work.space, asked.work.metric)
            line = f"[{done}/{of}] {said}; {time.monotonic() - began:.0f} s in all"
            out.print(line, markup=False, soft_wrap=True)

    def tell_final(outcome: Outcome, done: int, of: int) -> None:
        if not quiet:
            line = f"[re-run {done}/{of}] {_rerun(outcome)}; {time.monotonic() - began:.0f} s in all"
            out.print(line, markup=False, soft_wrap=True)

    how: dict[str, Any] = {"workers": workers, "tell": tell, "tell_final": tell_final}
    record = tune.tune(recipe, space, overrides, **options, **how)
    if not quiet:
        out.print(search_tables.summary(record, openings(read(asked.folder.looks))))
        watch = f"trials:  {record.dashboard}\n         ({words.dashboard_needs(record)})"
        out.print(watch, soft_wrap=True, markup=False)
        out.print(f"record:  {asked.folder.record}\nreport:  {asked.folder.report}", soft_wrap=True, markup=False)


def _rerun(outcome: Outcome) -> str:
    """Return what is said of a re-run."""
    name, record = f"{outcome.cell.rung}, seed {outcome.cell.seed}", outcome.record
    if record is None:
        return f"{name}: FAILED, {outcome.ending}"
    score = f"{100 * record.validation.accuracy:.2f} %" if record.validation else record.status
    return f"{name}: {score}{' (trained before)' if outcome.kept else ''}"
