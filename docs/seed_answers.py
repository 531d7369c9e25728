"""The bullets of docs/seeds.md: a seed's own sentence, whether it holds here, and the evidence from the record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import seed_tables

from rungs.report import format as fmt
from rungs.report import metric
from rungs.run.record import Estimate
from rungs.study import statistics
from rungs.study.ladder import words as facts
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord
from rungs.study.ladder.spec import Ladder, parent

Rungs: TypeAlias = Sequence[RungRecord]
Said: TypeAlias = tuple[str, str]
"""A verdict, or "", and the evidence."""

STAYS = 1.5
"""The steps to convergence "stay" if the last rung is known to need less than so many times those of the first."""
GROWS = 2.0
"""The cost of a step "grows greatly" if it is at least this many times as large."""
LATE = 0.8
"""A run that converges after this share of its steps may have converged because its schedule ended."""
CHANCE = 1.5
"""A net has learned nothing if its accuracy is below so many times that of guessing."""


def answers(record: LadderRecord | None, ladder: Ladder, questions: Sequence[dict[str, Any]]) -> list[str]:
    """Return a bullet for each question, and one for all of those of whose rungs none has ended."""
    bullets, waiting = [], []
    for question in questions:
        done = [name for name in question["rungs"] if not _waits(record, ladder, name, question["ask"])]
        if record is None or len(done) < min(FEWEST.get(question["ask"], 1), len(question["rungs"])):
            waiting.append(f"*{question['says']}*")
        else:
            bullets.append(_answer(record, question, done))
    return [*bullets, *([f"- **Running:** {' '.join(waiting)}"] if waiting else [])]


def _waits(record: LadderRecord | None, ladder: Ladder, name: str, ask: str) -> bool:
    """Return whether a rung, or the one that it is compared with, still has cells to train."""
    if seed_tables.running(ladder, record, name):
        return True
    below = parent(ladder, next(rung for rung in ladder.rungs if rung.name == name))
    return ask in COMPARING and below is not None and bool(seed_tables.running(ladder, record, below))


def _answer(record: LadderRecord, question: dict[str, Any], done: Sequence[str]) -> str:
    """Return a bullet; with rungs whose planned cells have not all ended it is decided only if these cannot matter."""
    left = [f"`{name}`" for name in question["rungs"] if name not in done]
    rungs = [seed_tables.by_name(record, name) for name in done]
    verdict, evidence = ASK[question["ask"]](record, rungs, question)
    verdict = question.get("instead", verdict)
    if left:
        settled = question["ask"] == "compared" and verdict in FOUND_ALREADY
        verdict = verdict if settled else "Running."
        evidence += f" Still running: {', '.join(left)}."
    return f"- *{question['says']}* {f'**{verdict}** ' if verdict else ''}{evidence}"


COMPARING = ("compared", "gains")
"""Questions about the difference of a rung to the one that it builds on."""
FEWEST = {"ranked": 2, "faster": 2, "steps": 2, "size": 2}
"""Rungs that a question needs, where more than one."""
FOUND_ALREADY = ("Not true of all.",)
"""Verdicts on comparisons that further rungs cannot change."""


def compared(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Compare each rung with the one that it builds on; `expects` "gain" or "loss" of all of them."""
    sentences, verdicts = [], []
    for rung in rungs:
        found = rung.difference
        if found is None:
            sentences.append(f"`{rung.name}` {facts.how_ended(rung) or 'cannot be compared'}")
            continue
        verdicts.append(found.verdict)
        sentences.append(f"`{rung.name}` {_change(rung)}")
    verdict = _expected(question["expects"], verdicts, rungs) if "expects" in question else ""
    return verdict, f"{'; '.join(sentences)}."


def _change(rung: RungRecord) -> str:
    """Return "+4.99 points (+2.66 to +7.32) against `initial`, real gain"."""
    found = rung.difference
    assert found is not None
    ends = metric.difference_bounds(found.metric, found.low, found.high)
    part = "" if found.metric == "validation_accuracy" else " on test"
    size = f"{metric.difference(found.metric, found.mean)}{f' ({ends})' if ends else ''}"
    p = ""
    if found.verdict == "undecided" and found.p_holm is not None and (found.low or 0) * (found.high or 0) > 0:
        p = f" (p = {found.p_holm:.2g} after Holm, not below {found.level:g})"
    return f"{size}{part} against `{found.against}`, {found.verdict}{p}"


def _expected(expected: str, verdicts: Sequence[str], rungs: Rungs) -> str:
    other = {"gain": "loss", "loss": "gain"}[expected]
    if f"real {other}" in verdicts:
        return "Not true here." if set(verdicts) == {f"real {other}"} else "Not true of all."
    if verdicts and len(verdicts) == len(rungs) and set(verdicts) == {f"real {expected}"}:
        return "True here."
    if "undecided" in verdicts or not verdicts:
        n = max((rung.difference.n for rung in rungs if rung.difference), default=0)
        return f"Undecided with {fmt.many(n, 'seed')}."
    return "No such difference here." if "no difference" in verdicts else ""


def ranked(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Rank rungs by their mean validation accuracy, with test accuracy and steps to convergence."""
    ordered = sorted(rungs, key=lambda rung: -(facts.mean(rung, "validation_accuracy") or 0))
    return "", f"From best to worst on validation, in % (test; steps to converge): {', '.join(map(_ranked, ordered))}."


def _ranked(rung: RungRecord) -> str:
    value, test = (facts.mean(rung, f"{part}_accuracy") for part in ("validation", "test"))
    if value is None or test is None:
        return f"`{rung.name}` {facts.how_ended(rung)}"
    steps = facts.mean(rung, "convergence_steps") or 0
    return f"`{rung.name}` {100 * value:.1f} ({100 * test:.1f}; {fmt.count(round(steps))})"


def gains(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Rank rungs by what they gain on the one that they build on."""
    found = sorted((rung for rung in rungs if rung.difference), key=lambda rung: -_gain(rung))
    return (
        "",
        f"From the largest gain to the largest loss: {'; '.join(f'`{one.name}` {_change(one)}' for one in found)}.",
    )


def _gain(rung: RungRecord) -> float:
    return 0.0 if rung.difference is None else rung.difference.mean


def steps(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Judge whether the steps to convergence stay from the first rung to the last while the cost of a step grows."""
    ratio, words = _steps_ratio(rungs[0], rungs[-1])
    cost = rungs[-1].flops / rungs[0].flops
    counts = {rung.name: fmt.count(round(facts.mean(rung, "convergence_steps") or 0)) for rung in rungs}
    numbers = ", ".join(f"`{name}` {count}" for name, count in counts.items())
    evidence = f"{words}, and {cost:.1f} times the compute per image. Steps to converge: {numbers}."
    cells = [cell.values for rung in rungs for cell in facts.finished(rung)]
    late = sum(values["convergence_steps"] > LATE * values["steps"] for values in cells)
    if late > len(cells) / 2:
        why = f"In {late} of {len(cells)} runs the loss still falls in the last fifth of the training"
        return "Cannot tell here.", f"{why}, so that they converge when their schedule does. {evidence}"
    low, high = (0.0, math.inf) if ratio.low is None or ratio.high is None else map(math.exp, (ratio.low, ratio.high))
    if cost < GROWS or low > STAYS or high < 1 / STAYS:
        return "Not true here.", evidence
    return (
        "True here." if low > 1 / STAYS and high < STAYS else f"Undecided with {fmt.many(ratio.n, 'seed')}.",
        evidence,
    )


def faster(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Judge whether the second of two rungs converges in fewer steps than the first."""
    ratio, words = _steps_ratio(rungs[0], rungs[-1])
    if ratio.high is not None and ratio.high < 0:
        return "True here.", f"{words}."
    above = ratio.low is not None and ratio.low > 0
    return "Not true here." if above else f"Undecided with {fmt.many(ratio.n, 'seed')}.", f"{words}."


def _steps_ratio(first: RungRecord, last: RungRecord) -> tuple[Estimate, str]:
    """Estimate the logarithm of the ratio of the steps to convergence, paired by seed; return it also in words."""
    one, two = ({c.seed: c.values["convergence_steps"] for c in facts.finished(rung)} for rung in (first, last))
    ratio = statistics.estimate([math.log(two[seed] / one[seed]) for seed in sorted(one.keys() & two.keys())])
    known = ratio.low is not None and ratio.high is not None
    bounds = f" ({math.exp(ratio.low or 0):.2f} to {math.exp(ratio.high or 0):.2f})" if known else ""
    times = f"{math.exp(ratio.mean):.2f} times{bounds} the steps of `{first.name}`"
    return ratio, f"`{last.name}` needs {times} (n = {ratio.n})"


def size(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Judge whether the last rung has many more parameters than the first."""
    first, last = rungs[0], rungs[-1]
    numbers = ", ".join(f"`{rung.name}` {fmt.count(rung.parameters)}" for rung in rungs)
    return "True here." if last.parameters > GROWS * first.parameters else "Not true here.", f"Parameters: {numbers}."


def overfits(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Judge whether all runs overfit, or with `expects` "none" whether none does.

    A run overfits if its report says so, or that its validation loss diverges.
    """
    rungs = [rung for rung in rungs if facts.finished(rung)]
    cells = [cell for rung in rungs for cell in facts.finished(rung)]
    if not cells:
        return "", "No run finished."
    n = sum(_overfits(cell) for cell in cells)
    n = len(cells) - n if question.get("expects") == "none" else n
    verdict = "True here." if n == len(cells) else "Not true here." if n == 0 else "True of some runs."
    sentences = []
    for rung in rungs:
        many = f"{sum(map(_overfits, facts.finished(rung)))} of {fmt.many(len(facts.finished(rung)), 'run')}"
        train, validation = (facts.mean(rung, f"{part}_accuracy") for part in ("train", "validation"))
        sentences.append(
            f"`{rung.name}` overfits in {many}: {fmt.percent(train, 1)} of the training images and "
            f"{fmt.percent(validation, 1)} of the validation images in the kept epoch; the validation loss is smallest "
            f"in epoch {_smallest(rung)}"
        )
    return verdict, f"{'. '.join(sentences)}."


def _overfits(cell: CellRecord) -> bool:
    return any(finding.rule in ("overfitting", "validation-diverges") for finding in cell.findings)


def _smallest(rung: RungRecord) -> str:
    """Return in which epoch the validation loss was smallest: "8 of 15"; for several seeds "7 to 9 of 15"."""
    curves = [cell.curves["validation_loss"] for cell in facts.finished(rung)]
    epochs = sorted({curve.index(min(curve)) + 1 for curve in curves})
    shown = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    return f"{shown} of {max(map(len, curves))}"


def diverges(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Judge whether a rung's training diverges, or stays at the accuracy of guessing."""
    guessing = 1 / len(record.data.classes)
    reached = {rung.name: facts.mean(rung, "validation_accuracy") for rung in rungs}
    bad = [name for name, accuracy in reached.items() if accuracy is None or accuracy < CHANCE * guessing]
    ended = {rung.name: facts.how_ended(rung) for rung in rungs}
    cells = "; ".join(f"`{name}` {ended[name] or fmt.percent(accuracy, 1)}" for name, accuracy in reached.items())
    verdict = "True here." if len(bad) == len(rungs) else "True of some." if bad else "Not true here."
    return verdict, f"Validation accuracy: {cells}; guessing has {fmt.percent(guessing, 0)}."


def curves(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Read the learning curves of each rung's first seed."""
    return "", " ".join(f"`{rung.name}`: {rung.cells[0].interpretation}" for rung in rungs)


def maxima(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Compare the maximum over the epochs on the test set with the epoch that validation chose."""
    sentences = []
    for rung in rungs:
        highest, chosen = facts.mean(rung, "highest_test_accuracy"), facts.mean(rung, "test_accuracy")
        if highest is not None and chosen is not None:
            gain = f"{100 * (highest - chosen):.2f}"
            sentences.append(
                f"`{rung.name}`: the maximum over epochs on test is {fmt.percent(highest)}, the epoch that validation "
                f"chose has {fmt.percent(chosen)}: the maximum "
                + ("gains nothing" if gain == "0.00" else f"is optimistic by {gain} points")
            )
    return "", f"{'; '.join(sentences)}."


def floor(record: LadderRecord, rungs: Rungs, question: dict[str, Any]) -> Said:
    """Return the smallest training loss of each rung and the floor of a softmax applied twice."""
    curves = {rung.name: [c.curves["train_loss"] for c in facts.finished(rung)] for rung in rungs}
    lowest = {name: min(map(min, of)) for name, of in curves.items() if of}
    cells = ", ".join(f"`{name}` {value:.3f}" for name, value in lowest.items())
    return "", f"The smallest training loss: {cells}; the floor of a softmax applied twice is ln(1 + 9/e) = 1.461."


Ask: TypeAlias = Callable[[LadderRecord, Rungs, dict[str, Any]], Said]
ASK: dict[str, Ask] = {
    "compared": compared,
    "curves": curves,
    "diverges": diverges,
    "faster": faster,
    "floor": floor,
    "gains": gains,
    "maxima": maxima,
    "overfits": overfits,
    "ranked": ranked,
    "size": size,
    "steps": steps,
}
"""The questions that seeds.toml may ask about a record."""
