"""Looks at the test set: how often it was opened, by whom, and how optimistic a choice by it would have been."""

from __future__ import annotations

from typing import NamedTuple

from rungs.report import format as fmt
from rungs.run.looks import OPENING, Look, flattery, openings, times
from rungs.run.record import RunRecord


class Row(NamedTuple):
    """Looks of one kind, by one command, one after the other."""

    when: str
    kind: str
    many: int
    purpose: str
    who: str


def rows(looks: tuple[Look, ...]) -> list[Row]:
    """Return the looks, oldest first; those that a command made of one kind in a row share a line."""
    found: list[list[Look]] = []
    for look in looks:
        if found and (found[-1][0].kind, found[-1][0].who) == (look.kind, look.who):
            found[-1].append(look)
        else:
            found.append([look])
    return [Row(_span(group), group[0].kind, len(group), _purpose(group), group[0].who) for group in found]


def _span(group: list[Look]) -> str:
    first, last = (look.when[:16].replace("T", " ") for look in (group[0], group[-1]))
    return first if first == last else f"{first} to {last}"


def _purpose(group: list[Look]) -> str:
    first, last = group[0].purpose, group[-1].purpose
    return first if first == last else f"{first} … {last}"


def opened(looks: tuple[Look, ...]) -> str:
    """Return in a sentence how often the test set was opened; "" where no log says so."""
    many = openings(looks)
    if not many:
        return ""
    if many == 1:
        return "The test set was opened once."
    counts = {kind: sum(look.kind == kind for look in looks) for kind in OPENING}
    words = {"scored": "for the final score", "watched": "to watch an epoch", "evaluated": "to evaluate the net again"}
    said = [f"{times(counts[kind])} {words[kind]}" for kind in OPENING if counts[kind]]
    return f"The test set was opened {times(many)}: {', '.join(said)}."


def flattered(record: RunRecord) -> str:
    """Return in a sentence how optimistic a choice by the test set would have been; "" where it was not watched."""
    found = flattery(record)
    if found is None:
        return ""
    epoch, best, kept = found
    if best <= kept:
        return f"The kept epoch, {epoch}, is also the best one on test: choosing by it would have made no difference."
    return (
        f"The best epoch on test is {epoch} with {fmt.percent(best)}, the kept one has {fmt.percent(kept)}: choosing "
        f"by the test set would have been optimistic by {100 * (best - kept):.2f} points."
    )
