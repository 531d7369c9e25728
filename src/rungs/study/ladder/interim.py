"""Interim looks: when a ladder may be judged, so that adding seeds until a difference looks real does not make it so.

With a test at 5 % after each further seed, a ladder without any difference will eventually show one: in 22 to 27 % of
simulated ladders (`bench/statistics.md`). So a difference is judged at five numbers of seeds only, each time at 1 %,
and once before at a fifth of that: 5.2 % in all at most (Pocock 1977, doi:10.1093/biomet/64.2.191, for looks at equal
levels). A verdict once reached stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace
from scipy.special import stdtrit

from rungs.report.seeds import PRIOR_DF
from rungs.run.record import Difference
from rungs.study.differences import Change, compare, not_judged_yet, worded
from rungs.study.variation import POOL_DF, Pool

LOOKS = (3, 5, 8, 12, 20)
"""Numbers of seeds; one earlier look, at one or two, is for differences that no seed can hide."""
LOOK_LEVEL, EARLY_LEVEL = 0.01, 0.002
POWER = 0.8


def judge(
    changes: Sequence[Change],
    pools: Mapping[str, Pool],
    margin: float,
    before: Mapping[str, Difference],
    planned: int = 0,
    *,
    looking: bool = True,
) -> dict[str, Difference]:
    """Compare each rung with the one that it builds on, and give a verdict where a look is due.

    Args:
        changes: All that have runs.
        pools: By metric, the variance over seeds that the rungs share.
        margin: For "no difference".
        before: The differences of the same cells when the ladder was last judged.
        planned: How many changes the ladder has, those without runs included.
        looking: Whether there may be a look now. While a ladder is climbed there is none: it would be made of the
            rungs that happen to have ended.
    """
    pairs = [len(change.values.keys() & change.base.keys()) for change in changes]
    pending = max(0, planned - sum(n > 0 for n in pairs))
    found: dict[str, Difference] = {}
    for n in sorted({*pairs} - {0}):
        together = [change for change, own in zip(changes, pairs, strict=True) if own == n]
        left_behind = sum(LOOKS[0] <= own < n for own in pairs)  # else the most promising would be tested alone
        level = LOOK_LEVEL if n >= LOOKS[0] else EARLY_LEVEL
        found |= compare(together, pools, level=level, margin=margin, others=pending + left_behind)
    looked = {rung: look(new, before.get(rung), looking=looking) for rung, new in found.items()}
    return {
        rung: worded(new) if looking or new.decided_at is not None else not_judged_yet(new)
        for rung, new in looked.items()
    }


def judge_folds(
    changes: Sequence[Change], pools: Mapping[str, Pool], margin: float, planned: int = 0, *, looking: bool = True
) -> dict[str, Difference]:
    """Give the verdicts on differences over folds: once, when all folds of both rungs are there.

    The looks above are planned for seeds, which are independent and never used up. Folds are neither: some of them are
    not a smaller study but one with most of its images missing. So they are judged at 5 % in all.

    Args:
        changes: All that have runs.
        pools: By metric, the variance over folds that the rungs share.
        margin: For "no difference".
        planned: How many changes the ladder has, those without runs included.
        looking: Whether the ladder is not being climbed.
    """
    complete = [change for change in changes if len(change.values.keys() & change.base.keys()) == change.folds]
    pending = max(0, planned - len(complete))
    judged = compare(complete if looking else [], pools, margin=margin, others=pending)
    others = [change for change in changes if change.rung not in judged]
    waiting = {rung: replace(new, verdict="undecided") for rung, new in compare(others, pools, margin=margin).items()}
    return {
        **{rung: not_judged_yet(new) for rung, new in waiting.items()},
        **{rung: replace(new, looks=(new.n,), decided_at=_decided(new)) for rung, new in judged.items()},
    }


def _decided(found: Difference) -> int | None:
    return None if found.verdict == "undecided" else found.n


def look(new: Difference, before: Difference | None, *, looking: bool = True) -> Difference:
    """Return a difference with the verdict that holds: the earlier one, the new one at a look, else none yet."""
    looks = () if before is None else before.looks
    if before is not None and before.decided_at is not None:
        return replace(new, verdict=before.verdict, looks=looks, decided_at=before.decided_at)
    if looking and new.n not in looks and _may_look(new.n, looks):
        looks = (*looks, new.n)
    judged = new.n in looks
    verdict = new.verdict if judged and looking else "undecided"
    return replace(
        new,
        verdict=verdict,
        looks=looks,
        decided_at=None if verdict == "undecided" else new.n,
        next_look=_next_look(new.n if judged else new.n - 1, looks) if verdict == "undecided" else None,
    )


def _may_look(n: int, looks: Sequence[int]) -> bool:
    """Return whether fewer looks were made than are planned by the time that there are so many pairs."""
    if n < LOOKS[0]:
        return not looks
    return sum(one >= LOOKS[0] for one in looks) < sum(one <= n for one in LOOKS)


def _next_look(n: int, looks: Sequence[int]) -> int | None:
    return next((one for one in LOOKS if one > n and _may_look(one, looks)), None)


def detectable(seeds: int, changes: int, sd: float) -> float:
    """Return the difference that a look finds with 80 % power, if it is the only one of a ladder.

    Args:
        seeds: Number of pairs.
        changes: Number of differences that Holm corrects for.
        sd: Of one run over seeds; a pair's difference has sqrt(2) of it.
    """
    df = seeds - 1 + (POOL_DF if changes > 2 and seeds > 1 else PRIOR_DF)
    level = LOOK_LEVEL if seeds >= LOOKS[0] else EARLY_LEVEL
    t = float(stdtrit(df, 1 - level / changes / 2)) + float(stdtrit(df, POWER))
    return t * sd * math.sqrt(2 / seeds)
