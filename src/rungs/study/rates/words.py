"""The results of a range test in sentences: from the record, for the terminal, the page and the figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rungs.report import format as fmt
from rungs.study.rates.record import RateCheck, RateRecord

ROLES = {
    "recipe": "the recipe's own",
    "steepest": "the estimate",
    "steepest / 3": "the estimate / 3",
    "steepest x 3": "the estimate × 3",  # noqa: RUF001
    "minimum / 10": "the minimum / 10",
    "recipe / 3": "the recipe's own / 3",
    "recipe x 3": "the recipe's own × 3",  # noqa: RUF001
    "next": "next beyond the best",
}
VERDICTS = {
    "real gain": "better",
    "real loss": "worse",
    "no difference": "indistinguishable",
    "undecided": "indistinguishable",
}


def verdict(record: RateRecord) -> str:
    """Return a sentence on which rate is suggested, or why none is."""
    best = record.best
    if best is None:
        return _nothing(record)
    many = f"{fmt.many(len(record.seeds), 'short run')} each"
    loss, accuracy = best.loss.mean if best.loss else math.nan, best.accuracy.mean if best.accuracy else None
    return (
        f"Of the {len(record.checks)} rates checked, {best.rate:g} has the lowest validation loss, {fmt.loss(loss)} "
        f"(accuracy {fmt.percent(accuracy)}), as a mean over {many}."
    )


def _nothing(record: RateRecord) -> str:
    trained = [check.loss.mean for check in record.checks if check.loss is not None]
    if not trained:
        return "No rate can be suggested: every checked rate diverged."
    classes = len(record.data.classes)
    return (
        f"No rate can be suggested: in {fmt.many(record.steps, 'step')} no rate got below a validation loss of "
        f"{fmt.loss(min(trained))}, and guessing among {classes} classes gives {math.log(classes):.4f}."
    )


def words(record: RateRecord) -> list[str]:
    """Return further sentences: on distinguishable rates, the recipe's own, the estimate, and the edge."""
    sentences = [_estimate(record)]
    if record.best is not None:
        sentences = [_apart(record), _own(record), *sentences, _edge(record)]
    sentences.append(_diverged(record))
    return [sentence for sentence in sentences if sentence]


def _apart(record: RateRecord) -> str:
    same, seeds = record.indistinguishable, fmt.many(len(record.seeds), "seed")
    others = [check for check in record.checks if check.difference]
    if same:
        return f"With {seeds} it cannot be distinguished from {_listed([f'{check.rate:g}' for check in same])}."
    return f"All others are significantly worse over {seeds}." if others else ""


def _own(record: RateRecord) -> str:
    own = record.own
    if own is record.best:
        return "It is the recipe's own rate: there is nothing to change."
    name = f"The recipe's own rate, {own.rate:g},"
    if own.loss is None:
        return f"{name} diverged."
    if own in record.indistinguishable:
        return f"{name} is one of these: there is no evidence that changing it helps."
    return f"{name} {own.difference.words}." if own.difference else ""


def _estimate(record: RateRecord) -> str:
    """Return a sentence on whether the range test's estimate was confirmed."""
    guess = record.guess
    if guess is None:
        return "The range test gave no estimate: its loss never fell clearly. More steps may help."
    name = f"The range test's estimate, {guess.rate:g},"
    if record.best is None:
        return f"{name} could not be checked."
    if guess is record.best:
        return f"{name} was confirmed: it is the best of those checked."
    if guess.loss is None:
        return f"{name} was not confirmed: it diverged."
    if guess in record.indistinguishable:
        return f"{name} was confirmed, within seed-to-seed variation."
    return f"{name} was not confirmed: it {guess.difference.words}." if guess.difference else ""


def _edge(record: RateRecord) -> str:
    rates = [check.rate for check in record.checks]
    if record.suggestion in (rates[0], rates[-1]):
        side = ("smallest", "smaller") if record.suggestion == rates[0] else ("largest", "larger")
        return f"It is the {side[0]} rate checked: a {side[1]} one may be better."
    return ""


def _diverged(record: RateRecord) -> str:
    lost = [f"{check.rate:g}" for check in record.checks if check.loss is None]
    return f"Runs diverged at {_listed(lost)}." if lost else ""


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def roles(check: RateCheck) -> str:
    """Return the reasons why a rate was checked."""
    return "; ".join(ROLES[role] for role in check.roles)


def comparison(record: RateRecord, check: RateCheck) -> str:
    """Return a short comparison of a rate with the suggested one."""
    if check.loss is None:
        return f"{sum(loss is None for loss in check.losses)} of {len(check.losses)} diverged"
    if check is record.best:
        return "suggested"
    return VERDICTS[check.difference.verdict] if check.difference else ""
