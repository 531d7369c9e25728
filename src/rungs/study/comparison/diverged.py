"""Runs that diverged: in a comparison they count as guessing, always the most frequent class."""

from __future__ import annotations

from rungs.study.comparison.candidates import Given, Group
from rungs.study.comparison.record import Part
from rungs.study.measures import guessing_accuracy


def is_diverged(run: Given) -> bool:
    """Return whether the training of a run diverged."""
    return run.record.status == "diverged"


def guessed_pairs(first: Group, second: Group, part: Part) -> dict[int, tuple[float, float]]:
    """Return by seed the accuracies of the pairs of runs of which one diverged, or both."""
    ours, theirs = ({run.seed: run for run in group.runs} for group in (first, second))
    pairs = {}
    for seed in sorted(ours.keys() & theirs.keys()):
        one, two = _accuracy(ours[seed], part), _accuracy(theirs[seed], part)
        if (is_diverged(ours[seed]) or is_diverged(theirs[seed])) and one is not None and two is not None:
            pairs[seed] = one, two
    return pairs


def named(group: Group) -> str:
    """Return "2 of 5 runs of wide diverged and count as guessing."; "" where none did."""
    n = sum(map(is_diverged, group.runs))
    return f"{n} of {len(group.runs)} runs of {group.name} diverged and count as guessing." if n else ""


def _accuracy(run: Given, part: Part) -> float | None:
    if is_diverged(run):
        return guessing_accuracy(run.record.data, part)
    result = run.on(part)
    return None if result is None else result.accuracy
