"""Numbers and sentences about a ladder record, shared by figures, tables and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.metric import bounds, metric_words, value, with_tolerance
from rungs.run.record import Difference, Estimate, Finding
from rungs.study.ladder import best as ranking
from rungs.study.ladder.record import Answer, CellRecord, LadderRecord, RungRecord

SIGNS = {"real gain": "▲", "real loss": "▼", "no difference": "=", "undecided": "?"}
"""A sign for each verdict of a difference."""

ANSWERS = ("within", "better", "worse", "cannot tell", "not comparable", "reproduced")
"""Verdicts of claims, in the order in which they are counted; "reproduced" is in records of earlier versions."""
MOST_TIES = 3
"""Rungs that are named in the headline as not told apart from the best."""
OF_PARAMETERS = ("equal", "different")


def has(record: LadderRecord, metric: str) -> bool:
    """Return whether any rung has an estimate of a metric."""
    return any(metric in rung.estimates for rung in record.rungs)


def judged_by(record: LadderRecord) -> str:
    """Return the metric that compares rungs: see `LadderRecord.judged_by`."""
    return record.judged_by


def unit(record: LadderRecord) -> str:
    """Return what the cells of a rung differ in: "seed" or "fold"."""
    return "fold" if record.folds else "seed"


def named(record: LadderRecord, numbers: Sequence[int]) -> str:
    """Return "seed 0" or "seeds 1, 2"; folds are counted from 1."""
    shown = (number + bool(record.folds) for number in numbers)
    return f"{unit(record)}{'s' * (len(numbers) != 1)} {', '.join(map(str, shown))}"


def mean(rung: RungRecord, metric: str) -> float | None:
    """Return the mean of a metric over the finished cells of a rung."""
    return rung.estimates[metric].mean if metric in rung.estimates else None


def half(estimate: Estimate) -> float | None:
    """Return half of the width of an estimate's interval."""
    return None if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 2


def best(record: LadderRecord) -> RungRecord | None:
    """Return the best rung: see `rungs.study.ladder.best`."""
    found = ranking.best(record)
    return None if found is None else found.rung


def usual_parent(record: LadderRecord, position: int) -> str | None:
    """Return the name of the rung on which the ladder's `builds_on` puts the rung at a position."""
    if position == 0:
        return None
    return record.rungs[position - 1 if record.builds_on == "previous" else 0].name


def on_test(record: LadderRecord, difference: Difference) -> bool:
    """Return whether a difference was measured on test because the validation images differ."""
    return difference.metric != judged_by(record)


def elsewhere(record: LadderRecord, position: int) -> str:
    """Return the name of the rung that one was compared with, if it is not the usual one; else ""."""
    difference = record.rungs[position].difference
    return difference.against if difference and difference.against != usual_parent(record, position) else ""


def compared_with(record: LadderRecord) -> str:
    """Return what differences are taken against, in words that fit all rungs: some may name another parent."""
    if any(elsewhere(record, i) for i in range(len(record.rungs))):
        return "what it builds on"
    return "the rung before" if record.builds_on == "previous" else "the first rung"


def no_comparison(record: LadderRecord, rung: RungRecord) -> str:
    """Return why a rung with results has no difference: "no comparison: wider was not trained"; else ""."""
    if rung.difference is not None or rung.on is None or not rung.estimates:
        return ""
    others = [other for other in record.rungs if other.name == rung.on]
    if any(other.estimates for other in others):
        blind = [one.name for one in (rung, *others) if "validation_accuracy" not in one.estimates]
        return f"no comparison: {blind[0]} has no validation images, and the test set must not choose" if blind else ""
    return f"no comparison: {rung.on} {'has no result' if others else 'was not trained'}"


def finished(rung: RungRecord) -> tuple[CellRecord, ...]:
    """Return the finished cells of a rung."""
    return tuple(cell for cell in rung.cells if cell.status == "finished")


def unfinished(record: LadderRecord) -> tuple[tuple[RungRecord, CellRecord], ...]:
    """Return every unfinished cell, with its rung."""
    return tuple((rung, cell) for rung in record.rungs for cell in rung.cells if cell.status != "finished")


def how_ended(rung: RungRecord, unit: str = "seed") -> str:
    """Return how unfinished cells ended: "1 diverged, 1 failed"; "" where all did."""
    ended = Counter(cell.status for cell in rung.cells if cell.status != "finished")
    if len(ended) == 1 and not finished(rung):
        (status, n), *_ = ended.items()
        return f"{status} in {(f'its only {unit}', f'both {unit}s')[n - 1] if n <= 2 else f'all {n} {unit}s'}"
    return ", ".join(f"{n} {status}" for status, n in sorted(ended.items()))


def convergence_loss(record: LadderRecord) -> str:
    """Return the loss that defines convergence: within 2 % of its minimum."""
    return f"{'validation' if has(record, 'validation_loss') else 'training'} loss"


def seeds_note(record: LadderRecord, parts: Iterable[str] = ("validation_accuracy", "test_accuracy")) -> str:
    """Return the number of seeds, and what the bars show."""
    counts = {rung.estimates[part].n for rung in record.rungs for part in parts if part in rung.estimates}
    if not counts:
        return "no cell has finished"
    units = f"{unit(record)}s"
    if counts == {1}:
        return f"n = 1 {unit(record)}; bars: 95 % interval over the scored images (Wilson), not over {units}"
    low, high = min(counts), max(counts)
    n = f"n = {high} {units}" if low == high else f"n = {low} to {high} {units}"
    wilson = ", where n = 1 over images (Wilson)" if low == 1 else ""
    t = "Student's t, corrected for shared training images" if record.folds else "Student's t"
    return f"{n}; bars: 95 % interval of the mean over {units} ({t}){wilson}"


def found(rung: RungRecord) -> tuple[tuple[Finding, int], ...]:
    """Return the first finding of each rule and the number of cells that have it; warnings first."""
    first: dict[str, Finding] = {}
    many: Counter[str] = Counter()
    for cell in rung.cells:
        many.update({finding.rule for finding in cell.findings})
        for finding in cell.findings:
            first.setdefault(finding.rule, finding)
    order = ("warning", "note", "good")
    ranked = sorted(first.values(), key=lambda finding: (order.index(finding.level), -many[finding.rule]))
    return tuple((finding, many[finding.rule]) for finding in ranked)


@dataclass(frozen=True)
class Claimed:
    """A claim of a rung and its measurement, formatted."""

    rung: str
    metric: str  # "test accuracy"
    claimed: str
    measured: str
    interval: str  # where a value like the claimed one is expected, with 95 % probability
    margin: str  # of "within"
    verdict: str
    why: str
    source: str


def claims(record: LadderRecord) -> tuple[Claimed, ...]:
    """Return every claim of every rung."""
    return tuple(_claimed(rung.name, answer) for rung in record.rungs for answer in rung.answers)


def _claimed(rung: str, answer: Answer) -> Claimed:
    change, metric = answer.kind == "change", answer.metric
    ends = report_metric.difference_bounds if change else bounds
    shown = report_metric.difference if change else value
    blank = answer.measured is None or answer.verdict == "not comparable"  # it would be read as an answer
    return Claimed(
        rung,
        claim_metric(answer),
        claim_words(answer),
        fmt.NOTHING if blank or answer.measured is None else shown(metric, answer.measured),
        fmt.NOTHING if blank else ends(metric, answer.low, answer.high) or fmt.NOTHING,
        f"± {report_metric.amount(metric, answer.margin)}" if answer.margin and not blank else "",
        claim_verdict(answer),
        answer.why,
        answer.source,
    )


def claim_metric(answer: Answer) -> str:
    """Return what a claim is about: "test accuracy", "change of validation accuracy"."""
    return f"{'change of ' * (answer.kind == 'change')}{metric_words(answer.metric)}"


def claim_verdict(answer: Answer) -> str:
    """Return the verdict on a claim: "within 2 points", "cannot tell with 3 seeds"."""
    if answer.verdict == "within":
        size = f"{100 * answer.margin:g} point{'s' * (answer.margin != 0.01)}"
        return f"within {f'{answer.margin:g}' if report_metric.is_loss(answer.metric) else size}"
    if answer.verdict == "cannot tell":
        return f"cannot tell with {fmt.many(answer.n, 'seed')}"
    return answer.verdict


def common_reason(record: LadderRecord) -> str:
    """Return why claims are not comparable, where that is the same for two or more; else ""."""
    reasons = [a.why for rung in record.rungs for a in rung.answers if a.verdict == "not comparable"]
    return reasons[0] if len(reasons) > 1 and len(set(reasons)) == 1 else ""


def claim_words(answer: Answer) -> str:
    """Return the claimed value, with its tolerance where it has one."""
    if answer.kind == "change":
        return report_metric.difference(answer.metric, answer.claimed)
    return with_tolerance(answer.metric, answer.claimed, answer.tolerance)


def headline(record: LadderRecord) -> str:
    """Return the outcome of the climb: the best rung, the verdicts on differences and on claims."""
    differences = [rung.difference for rung in record.rungs if rung.difference is not None]
    answers = [answer for rung in record.rungs for answer in rung.answers]
    return " ".join(filter(None, (_best_words(record), _difference_words(differences), _claim_count(answers))))


def _best_words(record: LadderRecord) -> str:
    found, metric = ranking.best(record), judged_by(record)
    if found is None:
        return "No cell of this ladder has finished."
    part, first = "the images left out" if record.folds else metric.partition("_")[0], record.rungs[0]
    interval = (
        f"95 % interval {report_metric.between(metric, *found.interval)}, {fmt.many(found.n, unit(record))}, sd pooled"
    )
    sentence = f"Best on {part}: {found.rung.name}, {fmt.percent(found.mean)} ({interval})"
    base = mean(first, metric)
    if found.rung is first:
        sentence += ", the first rung" if len(record.rungs) > 1 else ""
    elif base is None:
        sentence += f"; the first rung, {first.name}, has no result"
    else:
        sentence += f", {fmt.points(found.mean - base)} against the first rung, {first.name}"
    return f"{sentence}.{_ties(found.ties)}"


def _ties(names: Sequence[str]) -> str:
    """Return " a, b and 3 more cannot be told apart from it."; "" for none."""
    if not names:
        return ""
    shown, more = list(names[:MOST_TIES]), len(names) - MOST_TIES
    shown += [f"{more} more"] if more > 0 else []
    return f" {fmt.listed(shown)} cannot be told apart from it."


def _difference_words(differences: list[Difference]) -> str:
    if not differences:
        return ""
    tally = Counter(difference.verdict for difference in differences)
    losses = tally["real loss"]
    counts = {
        fmt.many(tally["real gain"], "real gain"): tally["real gain"],
        f"{losses} real {'loss' if losses == 1 else 'losses'}": losses,
        f"{tally['no difference']} without a difference": tally["no difference"],
        f"{tally['undecided']} undecided": tally["undecided"],
    }
    return f"Differences: {', '.join(words for words, number in counts.items() if number)}."


def _claim_count(answers: list[Answer]) -> str:
    """Return how many claims of accuracies and losses, and how many numbers of parameters, had which verdict."""
    values, changes = ([one for one in answers if one.kind == kind] for kind in ("value", "change"))
    said = {
        "Claims": _tally(values, ANSWERS),
        "Claimed changes": _tally(changes, ANSWERS),
        "Parameter counts": _tally(values, OF_PARAMETERS),
    }
    return " ".join(f"{head}: {counts}." for head, counts in said.items() if counts)


def _tally(answers: Sequence[Answer], verdicts: Sequence[str]) -> str:
    """Return "3 within 2 points, 1 cannot tell"."""
    tally = Counter[str](answer.verdict for answer in answers)
    margins = {claim_verdict(answer) for answer in answers if answer.verdict == "within"}
    within = margins.pop() if len(margins) == 1 else "within the margin"
    return ", ".join(f"{tally[one]} {within if one == 'within' else one}" for one in verdicts if tally[one])
