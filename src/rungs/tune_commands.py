"""What `rungs tune` prints: a line a trial and a line a re-run, then the finalists and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from rungs.commands import out

if TYPE_CHECKING:
    from rungs.records import Estimate
    from rungs.search_records import SearchRecord, TrialRecord
    from rungs.study.climb import Outcome


def tune(
    recipe: str, space: str, overrides: Sequence[str], options: dict[str, Any], workers: int | None, *, quiet: bool
) -> None:
    """Search, telling of each trial, and print the finalists.

    Args:
        recipe: Name or path.
        space: Name or path.
        overrides: As after `--set`.
        options: What is searched, the keyword arguments of `rungs.tuning.prepare`.
        workers: Trials at once.
        quiet: Print errors alone.

    Raises:
        UserError: Anything that the user can mend.
    """
    from rungs import tuning

    began = time.monotonic()
    folder = tuning.prepare(recipe, space, overrides, **options).folder

    def tell(trial: TrialRecord, done: int, of: int) -> None:
        if not quiet:
            line = f"[{done}/{of}] {_trial(trial, options['metric'])}; {time.monotonic() - began:.0f} s in all"
            out.print(line, markup=False, soft_wrap=True)

    def tell_final(outcome: Outcome, done: int, of: int) -> None:
        if not quiet:
            line = f"[re-run {done}/{of}] {_rerun(outcome)}; {time.monotonic() - began:.0f} s in all"
            out.print(line, markup=False, soft_wrap=True)

    how: dict[str, Any] = {"workers": workers, "tell": tell, "tell_final": tell_final}
    record = tuning.tune(recipe, space, overrides, **options, **how)
    if not quiet:
        _finish(record)
        out.print(f"trials:  {record.dashboard}", soft_wrap=True, markup=False)
        out.print(f"record:  {folder.record}\nreport:  {folder.report}", soft_wrap=True, markup=False)


def _interval(metric: str, found: Estimate) -> str:
    """Return the ends of an interval; those of an accuracy lie between 0 and 1."""
    if found.low is None or found.high is None:
        return ""
    ends = (found.low, found.high) if metric.endswith("loss") else (max(0.0, found.low), min(1.0, found.high))
    return " to ".join(_number(metric, end) for end in ends)


def _number(metric: str, value: float) -> str:
    return f"{value:.4f}" if metric.endswith("loss") else f"{100 * value:.2f} %"


def _trial(trial: TrialRecord, metric: str) -> str:
    """Return what is said of a trial: its number, its values, what they came to."""
    values = ", ".join(f"{name}={f'{v:.4g}' if isinstance(v, float) else v}" for name, v in trial.params.items())
    if trial.state == "failed" or trial.value is None:
        return f"trial {trial.number}: {values}: FAILED, {trial.ending}"
    how = "" if trial.state == "complete" and trial.train_s and "diverged" not in trial.ending else f" ({trial.ending})"
    return f"trial {trial.number}: {values}: {_number(metric, trial.value)}{how}"


def _rerun(outcome: Outcome) -> str:
    """Return what is said of a re-run."""
    name, record = f"{outcome.cell.rung}, seed {outcome.cell.seed}", outcome.record
    if record is None:
        return f"{name}: FAILED, {outcome.ending}"
    score = f"{100 * record.validation.accuracy:.2f} %" if record.validation else record.status
    return f"{name}: {score}{' (trained before)' if outcome.kept else ''}"


def _finish(record: SearchRecord) -> None:
    """Print the finalists, the verdict and the score on the test set."""
    if record.finalists:
        title = f"finals: {record.metric.replace('_', ' ')}, best first"
        table = Table("finalist", "in the search", "re-runs", "95 % interval", "optimism", box=None, title=title)
        for one in record.finalists:
            table.add_row(
                escape(one.name),
                "" if one.searched is None else _number(record.metric, one.searched),
                _number(record.metric, one.rerun.mean),
                _interval(record.metric, one.rerun),
                "" if one.optimism is None else _number(record.metric, one.optimism.mean),
            )
        out.print(table)
    out.print(record.verdict, markup=False)
    if record.test is not None:
        score = f"{_number('accuracy', record.test.mean)} (95 % interval {_interval('accuracy', record.test)})"
        out.print(f"test set, after the winner was named: {score}", markup=False)
