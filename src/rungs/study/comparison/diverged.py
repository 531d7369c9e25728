"""Runs that diverged: in a comparison they count as guessing, always the most frequent class."""

from __future__ import annotations

from rungs.study.comparison.candidates import Given, Group
from rungs.study.comparison.record import Part


def guessed_pairs(first: Group, second: Group, part: Part) -> tuple[tuple[float, float], ...]:
    """Return the accuracies of the pairs of runs of one seed of which one diverged, or both."""
    ours, theirs = ({run.record.recipe.seed: run for run in group.runs} for group in (first, second))
    pairs = []
    for seed in sorted(ours.keys() & theirs.keys()):
        one, two = ours[seed], theirs[seed]
        scores = _accuracy(one, part), _accuracy(two, part)
        if "diverged" in (one.record.status, two.record.status) and None not in scores:
            pairs.append(scores)
    return tuple((a, b) for a, b in pairs if a is not None and b is not None)


def named(group: Group) -> str:
    """Return "2 of 5 runs of wide diverged and count as guessing."; "" where none did."""
    n = sum(run.record.status == "diverged" for run in group.runs)
    return f"{n} of {len(group.runs)} runs of {group.name} diverged and count as guessing." if n else ""


def _accuracy(run: Given, part: Part) -> float | None:
    if run.record.status == "diverged":
        counts = run.record.data.counts.get(part) or (1,) * len(run.record.data.classes)
        return max(counts) / max(1, sum(counts))
    result = run.on(part)
    return None if result is None else result.accuracy
