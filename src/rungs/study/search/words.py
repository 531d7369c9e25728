"""Numbers and sentences from a search record, shared by figures, tables and the page."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.metric import is_loss
from rungs.run.record import Difference, Estimate
from rungs.study.ladder.record import RungRecord
from rungs.study.search import record as search_record
from rungs.study.search.record import Finalist, SearchRecord, TrialRecord

STATES = ("complete", "pruned", "running", "waiting", "failed")
"""In the order of listing."""
RECIPE = "recipe"
"""The rung of the unchanged recipe."""
REACH_BEST, REACH_QUARTILES = 4.0, 3.0
"""On its bad side an axis ends at this many times the distance from median to best, or between quartiles, beyond the
median: a trial that learnt nothing must not compress the others."""
MARGIN = 0.06
"""Margin beyond the last mark, as a share of the axis."""


def value(record: SearchRecord, number: float | None) -> str:
    """Format a value of the search's metric."""
    return report_metric.value(record.metric, number)


def difference(record: SearchRecord, number: float) -> str:
    """Format a difference of two values of the metric: "+1.12 points", or "+0.0123" for a loss."""
    return report_metric.difference(record.metric, number)


def estimate_bounds(record: SearchRecord, estimate: Estimate) -> str:
    """Format the interval of a mean of the metric; "" if there is none."""
    return report_metric.bounds(record.metric, estimate.low, estimate.high)


def difference_bounds(record: SearchRecord, estimate: Estimate) -> str:
    """Format the interval of a difference: "-0.10 to +2.30"; "" if there is none."""
    return report_metric.difference_bounds(record.metric, estimate.low, estimate.high)


def spread(record: SearchRecord, estimate: Estimate) -> str:
    """Format the seed-to-seed spread: "± 0.31 sd", in points for accuracies."""
    return report_metric.spread(record.metric, estimate)


def ranked(record: SearchRecord) -> tuple[TrialRecord, ...]:
    """Return all trials: complete ones, best first, diverged ones last; then pruned ones; then the rest."""
    sign = 1 if is_loss(record.metric) else -1

    def place(trial: TrialRecord) -> tuple[int, bool, float, int]:
        key = float("inf") if trial.value is None else sign * trial.value
        return STATES.index(trial.state), trial.diverged, key, trial.number

    return tuple(sorted(record.trials, key=place))


def of_state(record: SearchRecord, *states: str) -> tuple[TrialRecord, ...]:
    """Return the trials in one of these states that have a value."""
    return tuple(trial for trial in record.trials if trial.state in states and trial.value is not None)


def best(record: SearchRecord) -> TrialRecord | None:
    """Return the best complete trial that did not diverge; on a tie, the earlier one."""
    sound = [trial for trial in ranked(record) if trial.state == "complete" and not trial.diverged]
    return next((trial for trial in sound if trial.value is not None), None)


def best_so_far(record: SearchRecord) -> tuple[list[int], list[float]]:
    """Return the numbers of the complete trials that did not diverge, in order, and the best value up to each."""
    sound = [trial for trial in of_state(record, "complete") if not trial.diverged]
    complete = sorted(sound, key=lambda trial: trial.number)
    values = [trial.value for trial in complete if trial.value is not None]
    follow = np.minimum if is_loss(record.metric) else np.maximum
    return [trial.number for trial in complete], [float(v) for v in follow.accumulate(values)] if values else []


def finalist_trials(record: SearchRecord) -> dict[int, Finalist]:
    """Return the finalists that were trials, by the trial's number, best first."""
    return {one.trial: one for one in record.finalists if one.trial is not None}


def winner(record: SearchRecord) -> Finalist | None:
    """Return the winner, if there is one."""
    return next((one for one in record.finalists if one.name == record.winner), None)


def most_promising(record: SearchRecord) -> Finalist | None:
    """Return the finalist whose searched value was the best: what a search without re-runs would have named."""
    return search_record.most_promising(record.finalists, is_loss=is_loss(record.metric))


def against_recipe(record: SearchRecord, name: str) -> Difference | None:
    """Return the difference of a finalist to the unchanged recipe, paired by seed."""
    rungs = record.finals.rungs if record.finals else ()
    return next((rung.difference for rung in rungs if rung.name == name), None)


def values(rung: RungRecord, metric: str) -> dict[int, float]:
    """Return a metric of the finished re-runs, by seed."""
    return {c.seed: c.values[metric] for c in rung.cells if c.status == "finished" and metric in c.values}


def by_seed(record: SearchRecord, name: str) -> dict[int, float]:
    """Return the search's metric of each finished re-run of a finalist, by seed."""
    rungs = record.finals.rungs if record.finals else ()
    return next((values(rung, record.metric) for rung in rungs if rung.name == name), {})


def corrected(record: SearchRecord, one: Finalist) -> Estimate | None:
    """Return the winner's corrected value; None for another finalist, or where there was no choice to correct for."""
    return record.corrected if one.name == record.winner and chosen_as(record) else None


def chosen_as(record: SearchRecord) -> str:
    """Return how the winner was chosen, "as the best of 4"; "" if it was the only finalist."""
    return f"as the best of {len(record.finalists)}" if len(record.finalists) > 1 else ""


def optimism(record: SearchRecord, one: Finalist) -> Estimate | None:
    """Return how optimistic a finalist's search score was: the winner's against its corrected value."""
    return record.optimism if record.optimism is not None and one.name == record.winner else one.optimism


def limits(metric: str, values: Sequence[float]) -> tuple[float, float]:
    """Return the limits of a metric axis; bad outliers are cut off."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    first, median, third = (float(q) for q in np.percentile(values, [25, 50, 75]))
    if is_loss(metric):
        cut = median + max(REACH_BEST * (median - low), REACH_QUARTILES * (third - first))
        high = max([v for v in values if v <= cut], default=high)
    else:
        cut = median - max(REACH_BEST * (high - median), REACH_QUARTILES * (third - first))
        low = min([v for v in values if v >= cut], default=low)
    margin = MARGIN * (high - low) or max(0.01, 0.01 * abs(high))
    return low - margin, high + margin


def counted(record: SearchRecord) -> Counter[str]:
    """Return how many trials are in each state."""
    return Counter(trial.state for trial in record.trials)


def state_words(record: SearchRecord, states: Iterable[str] = STATES) -> str:
    """Return "24 complete, 12 pruned" for the states that occur."""
    tally = counted(record)
    return ", ".join(f"{tally[state]} {state}" for state in states if tally[state])


def verdict(record: SearchRecord) -> str:
    """Return the search's verdict in sentences; without a winner, its progress."""
    if record.verdict:
        return record.verdict
    top = best(record)
    if top is None:
        waiting = state_words(record) or "there are none"
        return f"No trial of this search is complete ({waiting}), so there is no best trial yet."
    done = fmt.many(counted(record)["complete"], "complete trial")
    return (
        f"Best of {done}: trial {top.number}, {value(record, top.value)} on validation. It is not the winner yet: the "
        "best of many tries is optimistic, and the best few have not been retrained on fresh seeds."
    )


def lead(text: str) -> tuple[str, str]:
    """Split a text into its first sentence and the rest."""
    first, *others = re.split(r"(?<=[.:)])\s+(?=[A-Z])", text, maxsplit=1)
    return first, " ".join(others)


def dashboard_needs(record: SearchRecord) -> str:
    """Return what the dashboard command needs first."""
    needs = "it needs: pip install optuna-dashboard"
    return f"{needs}; replace *** with the password" if "***" in record.dashboard else needs


def train_command(record: SearchRecord) -> str:
    """Return the command that trains the winner at full length; "" if there is none.

    It repeats the search's own `--data` and `--set`.
    """
    named = winner(record)
    if named is None:
        return ""
    recipe, kept = _recipe_and_flags(record)
    words = ["rungs", "train", recipe, *kept]
    for override in named.overrides:
        words += ["--set", override]
    return shlex.join(words)


def _recipe_and_flags(record: SearchRecord) -> tuple[str, list[str]]:
    """Return the recipe and the `--data` and `--set` flags of the command that made the record."""
    try:
        words = shlex.split(record.command)
    except ValueError:
        words = []
    after = words[words.index("tune") + 1 :] if "tune" in words else []
    recipe = after[0] if after and not after[0].startswith("-") else record.recipe.name
    kept: list[str] = []
    for i, word in enumerate(after):
        if word in ("--data", "--set") and i + 1 < len(after):
            kept += [word, after[i + 1]]
        elif word.startswith(("--data=", "--set=")):
            kept += word.split("=", 1)
    return recipe, kept
