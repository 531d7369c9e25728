"""When a ladder may be judged: five looks, so that adding seeds until a difference looks real does not make it so.

With a test at 5 % after each further seed, a ladder without any real difference has a "real" one sooner or later: in
14 to 26 % of simulated ladders (`bench/statistics.md`). So a difference is judged at a few numbers of seeds only, each
time at 1 %, which adds up to 5 % at most (Pocock 1977, doi:10.1093/biomet/64.2.191, for looks at equal levels). A
verdict once reached stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace
from scipy.special import stdtrit

from rungs.report.seeds import PRIOR_DF
from rungs.run.record import Difference
from rungs.study.differences import Change, compare, worded
from rungs.study.variation import POOL_DF, Pool

LOOKS = (3, 5, 8, 12, 20)
"""Numbers of seeds; one earlier look, at one or two seeds, is for differences that no seed can hide."""
LOOK_LEVEL = 0.01
POWER = 0.8


def judge(
    changes: Sequence[Change], pools: Mapping[str, Pool], margin: float, before: Mapping[str, Difference]
) -> dict[str, Difference]:
    """Compare each rung with the one that it builds on, and give a verdict where a look is due.

    Args:
        changes: All of the ladder.
        pools: By metric, the variance over seeds that its rungs share.
        margin: For "no difference".
        before: The differences of the same cells when the ladder was last judged.
    """
    by_pairs: dict[int, list[Change]] = {}
    for change in changes:
        by_pairs.setdefault(len(change.values.keys() & change.base.keys()), []).append(change)
    found: dict[str, Difference] = {}
    for together in by_pairs.values():  # Holm counts what is judged at the same look
        found |= compare(together, pools, level=LOOK_LEVEL, margin=margin)
    return {rung: worded(look(new, before.get(rung))) for rung, new in found.items()}


def look(new: Difference, before: Difference | None) -> Difference:
    """Return a difference with the verdict that holds: the earlier one, the new one at a look, else none yet."""
    looks = () if before is None else before.looks
    if before is not None and before.decided_at is not None:
        return replace(new, verdict=before.verdict, looks=looks, decided_at=before.decided_at)
    if new.n not in looks and _may_look(new.n, looks):
        looks = (*looks, new.n)
    judged = new.n in looks
    verdict = new.verdict if judged else "undecided"
    return replace(
        new,
        verdict=verdict,
        looks=looks,
        decided_at=None if verdict == "undecided" else new.n,
        next_look=_next_look(new.n, looks) if verdict == "undecided" else None,
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
    t = float(stdtrit(df, 1 - LOOK_LEVEL / changes / 2)) + float(stdtrit(df, POWER))
    return t * sd * math.sqrt(2 / seeds)
