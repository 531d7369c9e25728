"""The verdict of a search: what its finals and its test score say, in numbers and sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.run.record import Difference, Estimate
from rungs.study.differences import Change, compare
from rungs.study.search import second_choice, words
from rungs.study.search.record import Finalist, SearchRecord
from rungs.study.search.words import RECIPE

SCHEMA = 2
"""The first schema of a search's record with the winner's corrected value."""


TIE = 1e-9
"""Two means of the same values may differ by rounding."""


def current(record: SearchRecord) -> SearchRecord:
    """Return a record of an earlier version with what it lacks, computed from the finals within; others unchanged."""
    if record.schema >= SCHEMA:
        return record
    return judged(replace(record, schema=SCHEMA)) if record.winner else record


def judged(record: SearchRecord) -> SearchRecord:
    """Return a record with its winner's corrected value, its optimism and the verdict.

    Args:
        record: With finals, finalists, winner and, if the test set was opened, its score.
    """
    named = words.winner(record)
    assert named is not None
    sign = -1 if report_metric.is_loss(record.metric) else 1
    found = second_choice.corrected(_table(record), maximise=sign > 0)
    optimism = None if found is None or named.searched is None else _optimism(named.searched, found, sign)
    record = replace(record, corrected=found, optimism=optimism)
    return replace(record, verdict=" ".join(_sentences(record, named)))


def _table(record: SearchRecord) -> second_choice.Table:
    """Return the finalists' re-runs, (finalists, seeds), in the order of the finals: the unchanged recipe first."""
    assert record.finals is not None
    in_finals = {one.name for one in record.finalists}
    by_seed = [words.by_seed(record, rung.name) for rung in record.finals.rungs if rung.name in in_finals]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    return np.array([[values[seed] for seed in seeds] for values in by_seed])


def _optimism(searched: float, value: Estimate, sign: int) -> Estimate:
    """Return how much better a search score was than the value; positive is optimistic, for losses too."""
    assert value.low is not None and value.high is not None
    low, high = sorted((sign * (searched - value.low), sign * (searched - value.high)))
    return replace(value, mean=sign * (searched - value.mean), low=low, high=high)


def _sentences(record: SearchRecord, named: Finalist) -> Iterator[str]:
    what = f"{named.name} ({', '.join(named.overrides)})" if named.trial is not None else _label(named)
    if record.test is not None:
        yield _tested(what, record.test)
        what = "it"
    yield _rerun(record, named, what)
    if named.trial is None:
        alone = record.finals is None or len(record.finals.rungs) == 1
        yield "The search found no other candidate." if alone else "No trial of the search does better there."
    yield from _differences(record, named)
    promising = words.most_promising(record)
    if (optimism := words.optimism(record, named)) is not None:
        its = "its one run, the best of the search," if named is promising else "its one run"
        value = "that corrected value" if words.corrected(record, named) else "the mean of its re-runs"
        yield _optimistic(record.metric, named.searched, optimism, its, value)
    if promising is not None and promising is not named and promising.optimism is not None:
        its = f"the one run of {_label(promising)}, the best of the search,"
        yield _optimistic(record.metric, promising.searched, promising.optimism, its, "the mean of its re-runs")


def _tested(what: str, test: Estimate) -> str:
    """Give the test score: it comes first, because nothing was chosen by it."""
    runs = "its re-run" if test.n == 1 else f"the mean of its {test.n} re-runs"
    score = _with_interval("test_accuracy", test)
    return f"On the test set the winner, {what}, scores {score}, {runs}."


def _rerun(record: SearchRecord, named: Finalist, what: str) -> str:
    """Give the winner's mean over the fresh seeds, and that value corrected for the choice."""
    metric, chosen = record.metric, words.chosen_as(record)
    has = f"On {fmt.many(named.rerun.n, 'fresh seed')}, {what} has the best {report_metric.metric_words(metric)}"
    if not chosen:
        return f"{has}: {_with_interval(metric, named.rerun)}."
    mean = report_metric.value(metric, named.rerun.mean)
    if record.corrected is None:
        high = "low" if report_metric.is_loss(metric) else "high"
        return f"{has}: {mean}, on average too {high}, {chosen}; one seed does not show by how much."
    corrected = _with_interval(metric, record.corrected)
    no_worse = _no_worse(metric, record.corrected.mean, named.rerun.mean)
    return f"{has}: {mean}; corrected for having been chosen {chosen}, {corrected}{no_worse}."


def _no_worse(metric: str, corrected: float, mean: float) -> str:
    """Explain a corrected value that is not below the mean, although it is corrected for luck."""
    lost = corrected - mean if report_metric.is_loss(metric) else mean - corrected
    return "" if lost > TIE else ", which is no worse: choices by fewer of the seeds mostly agree"


def _with_interval(metric: str, found: Estimate) -> str:
    number = report_metric.value(metric, found.mean)
    if found.low is None or found.high is None:
        return number
    return f"{number} (95 % interval {report_metric.between(metric, found.low, found.high)})"


def _differences(record: SearchRecord, named: Finalist) -> Iterator[str]:
    """Compare the winner with the unchanged recipe and with the runner-up."""
    second = [one.name for one in record.finalists[1:2]]
    rivals = second if named.trial is None else [RECIPE, *second]
    rungs = record.finals.rungs if record.finals else ()
    by_seed = {rung.name: words.values(rung, record.metric) for rung in rungs}
    found = differences(record.metric, by_seed, named.name)
    if (as_in_the_table := words.against_recipe(record, named.name)) is not None:
        found[RECIPE] = as_in_the_table
    for rival in dict.fromkeys(rivals):
        if rival in found:
            yield _against(rival, found[rival], ", before that correction" if words.corrected(record, named) else "")


def differences(metric: str, by_seed: dict[str, dict[int, float]], winner: str) -> dict[str, Difference]:
    """Return the winner minus each other finalist, paired by seed (equal seeds share their validation images).

    Holm's correction covers all of them, since the winner was chosen among all of them.
    """
    others = [name for name in by_seed if name != winner]
    changes = [Change(name, winner, metric, by_seed[winner], by_seed[name]) for name in others]
    return compare(changes)


def _against(rival: str, found: Difference, before: str) -> str:
    name = "the unchanged recipe" if rival == RECIPE else f"the runner-up, {rival},"
    if found.verdict == "real gain":
        return f"Against {name} it {found.words}{before}."
    return f"It cannot be distinguished from {name.rstrip(',')}: {found.words}."


def _label(one: Finalist) -> str:
    return "the unchanged recipe" if one.trial is None else one.name


def _optimistic(metric: str, searched: float | None, found: Estimate, whose: str, value: str) -> str:
    """Describe how much better a search score was than the same finalist's `value`."""
    size = report_metric.amount(metric, found.mean)
    way = "better" if found.mean > 0 else "worse"
    ends = report_metric.difference_bounds(metric, found.low, found.high)
    between = f" (95 % interval {ends})" if ends else ""
    share = f"In the search {whose} had {report_metric.value(metric, searched)}, {size} {way} than {value}"
    optimistic = "its search score was optimistic" if found.mean > 0 else "its search score was not optimistic"
    if found.low is not None and found.high is not None and found.low <= 0 <= found.high:
        optimistic = "whether its search score was optimistic cannot be told"
    return f"{share}{between}: {optimistic}."
