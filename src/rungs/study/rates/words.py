"""What a range test and its checks say, in sentences: from the record, for the terminal, the page and the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rungs.report import format as fmt
from rungs.study.rates.record import RateCheck, RateRecord

ROLES = {
    "recipe": "the recipe's own",
    "steepest": "the guess",
    "steepest / 3": "the guess / 3",
    "steepest x 3": "the guess × 3",  # noqa: RUF001
    "minimum / 10": "the minimum / 10",
    "recipe / 3": "the recipe's own / 3",
    "recipe x 3": "the recipe's own × 3",  # noqa: RUF001
    "next": "next beyond the best",
}
VERDICTS = {
    "real gain": "better",
    "real loss": "worse",
    "no difference": "not told apart",
    "undecided": "not told apart",
}


def verdict(record: RateRecord) -> str:
    """Say in a sentence which rate is suggested, or why none is."""
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
        return "No rate can be suggested: every rate that was checked diverged."
    classes = len(record.data.classes)
    return (
        f"No rate can be suggested: in {fmt.many(record.steps, 'step')} no rate got below a validation loss of "
        f"{fmt.loss(min(trained))}, and guessing among {classes} classes gives {math.log(classes):.4f}."
    )


def words(record: RateRecord) -> list[str]:
    """Return what else is to be said: what can be told apart, the recipe's own rate, the guess, and the edge."""
    said = [_guess(record)]
    if record.best is not None:
        said = [_apart(record), _own(record), *said, _edge(record)]
    said.append(_diverged(record))
    return [sentence for sentence in said if sentence]


def _apart(record: RateRecord) -> str:
    same, seeds = record.untold, fmt.many(len(record.seeds), "seed")
    others = [check for check in record.checks if check.difference]
    if same:
        return f"With {seeds} it cannot be told apart from {_listed([f'{check.rate:g}' for check in same])}."
    return f"All others are worse, as {seeds} can tell." if others else ""


def _own(record: RateRecord) -> str:
    own = record.own
    if own is record.best:
        return "It is the recipe's own rate: there is nothing to change."
    name = f"The recipe's own rate, {own.rate:g},"
    if own.loss is None:
        return f"{name} diverged."
    if own in record.untold:
        return f"{name} is one of these: nothing here says that changing it helps."
    return f"{name} {own.difference.words}." if own.difference else ""


def _guess(record: RateRecord) -> str:
    """Say whether the range test's own guess held up."""
    guess = record.guess
    if guess is None:
        return "The range test had no guess of its own: its loss never fell clearly. More steps may show more."
    name = f"The range test's guess, {guess.rate:g},"
    if record.best is None:
        return f"{name} could not be checked."
    if guess is record.best:
        return f"{name} held up: it is the best of those checked."
    if guess.loss is None:
        return f"{name} did not hold up: it diverged."
    if guess in record.untold:
        return f"{name} held up as far as {fmt.many(len(record.seeds), 'seed')} can tell."
    return f"{name} did not hold up: it {guess.difference.words}." if guess.difference else ""


def _edge(record: RateRecord) -> str:
    rates = [check.rate for check in record.checks]
    if record.suggestion in (rates[0], rates[-1]):
        side = ("smallest", "smaller") if record.suggestion == rates[0] else ("largest", "larger")
        return f"It is the {side[0]} rate checked: a {side[1]} one may do better."
    return ""


def _diverged(record: RateRecord) -> str:
    lost = [f"{check.rate:g}" for check in record.checks if check.loss is None]
    return f"Runs diverged at {_listed(lost)}." if lost else ""


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def roles(check: RateCheck) -> str:
    """Return why a rate was checked."""
    return "; ".join(ROLES[role] for role in check.roles)


def beside(record: RateRecord, check: RateCheck) -> str:
    """Return in a word or three how a rate compares with the suggested one."""
    if check.loss is None:
        return f"{sum(loss is None for loss in check.losses)} of {len(check.losses)} diverged"
    if check is record.best:
        return "suggested"
    return VERDICTS[check.difference.verdict] if check.difference else ""
