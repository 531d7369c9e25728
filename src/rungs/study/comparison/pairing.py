"""Which runs of two candidates are compared on a part: pairs that saw the same images, those of one seed first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rungs.study.comparison import comparable
from rungs.study.comparison.candidates import Given, Group
from rungs.study.comparison.diverged import guessed_pairs, is_diverged, named
from rungs.study.comparison.record import Part
from rungs.study.measures import guessing_accuracy


@dataclass(frozen=True)
class Runs:
    """The runs of two candidates that have scores on a part, and which of them saw the same images."""

    part: Part
    first: tuple[Given, ...]
    second: tuple[Given, ...]
    pairs: tuple[tuple[Given, Given], ...]
    why_none: str  # why there are no pairs
    notes: tuple[str, ...]
    guessed: tuple[tuple[float, float], ...]  # accuracies of the pairs of one seed in which a run diverged
    guesses: tuple[tuple[float, ...], tuple[float, ...]]  # of each candidate's runs that diverged
    diverged: tuple[str, ...]  # these runs, in a sentence for each candidate


def runs_on(first: Group, second: Group, part: Part) -> tuple[Runs | None, str]:
    """Return the runs of two candidates on a part, or why there are none that can be compared."""
    reason = " and ".join(filter(None, (comparable.unscored(group, part) for group in (first, second))))
    reason = reason or comparable.otherwise_scored(first, second, part)
    if reason:
        return None, reason
    ours, theirs = (tuple(run for run in group.runs if run.on(part)) for group in (first, second))
    guessed = guessed_pairs(first, second, part)
    pairs, notes = list[tuple[Given, Given]](), list[str]()
    for same_seed in (True, False):
        for one in ours:
            for two in theirs:
                equal = one.seed == two.seed
                taken = any(one is a or two is b for a, b in pairs) or bool({one.seed, two.seed} & guessed.keys())
                if equal == same_seed and not taken and (found := comparable.images(one, two, part)).same:
                    pairs.append((one, two))
                    notes += [f"{found.note[0].upper()}{found.note[1:]}."] if found.note else []
    why = "" if pairs else comparable.images(ours[0], theirs[0], part).why
    left = sum(run.seed not in guessed for run in (*ours, *theirs)) - 2 * len(pairs)
    if pairs and left:
        what = "used only for the seed variance" if len(pairs) == 1 else "left out of the difference and its verdict"
        notes.append(f"On {part}, {left} run{'s have' if left > 1 else ' has'} no partner: {what}.")
    if pairs and pairs[0][0].record.recipe.data.folds:
        notes.append("Every image is compared once, by two nets that were not trained on it.")
    elif pairs and not same_set(pairs, part):
        own = f"On {part}, each pair of runs has its own images, pooled here"
        notes.append(f"{own}; where their splits overlap, images are counted more than once.")
    diverged = tuple(filter(None, map(named, (first, second))))
    guesses = [
        tuple(guessing_accuracy(run.record.data, part) for run in group.runs if is_diverged(run))
        for group in (first, second)
    ]
    return Runs(
        part, ours, theirs, tuple(pairs), why, tuple(notes), tuple(guessed.values()), (guesses[0], guesses[1]), diverged
    ), ""


def same_set(pairs: Sequence[tuple[Given, Given]], part: Part) -> bool:
    """Return whether all pairs of runs saw the same images."""
    return all(comparable.images(pairs[0][0], one, part).same for one, _ in pairs)
