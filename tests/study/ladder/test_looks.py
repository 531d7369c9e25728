"""When a ladder may be judged, what stays, and what a look finds: simulated with the product's own functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rungs.run.record import Difference
from rungs.study.differences import Change
from rungs.study.ladder import looks
from rungs.study.ladder.looks import LOOK_LEVEL, LOOKS, detectable, judge, look
from rungs.study.variation import pool


def difference(n: int, verdict: str = "undecided") -> Difference:
    return Difference(
        against="base", metric="validation_accuracy", n=n, mean=0.01, low=0.0, high=0.02, p=0.5, p_holm=0.5,
        verdict=verdict, words="",
    )  # type: ignore[arg-type] # fmt: skip


def test_undecided_names_the_next_look() -> None:
    first = look(difference(3), None)
    assert (first.looks, first.next_look, first.decided_at) == ((3,), 5, None)
    second = look(difference(5), first)
    assert (second.looks, second.next_look) == ((3, 5), 8)
    early = look(difference(1), None)
    assert (early.looks, early.next_look) == ((1,), 3)


def test_between_two_looks_nothing_is_decided() -> None:
    first = look(difference(3), None)
    peek = look(difference(4, "real gain"), first)
    assert (peek.verdict, peek.looks, peek.next_look) == ("undecided", (3,), 5)
    assert look(difference(5, "real gain"), peek).verdict == "real gain"


def test_a_look_that_was_not_used_may_be_used_later() -> None:
    """Six seeds at once are a first look: as many were allowed by then."""
    six = look(difference(6, "real gain"), None)
    assert (six.verdict, six.looks, six.decided_at) == ("real gain", (6,), 6)


def test_a_verdict_once_reached_stays_with_its_look() -> None:
    reached = look(difference(3, "real gain"), None)
    later = look(difference(5, "undecided"), reached)
    assert (later.verdict, later.decided_at, later.next_look, later.looks) == ("real gain", 3, None, (3,))
    assert "decided with 3 seeds" in looks.worded(later).words


def test_the_same_seeds_may_be_judged_again() -> None:
    """A repeated climb, or one with a further rung, is no further look."""
    first = look(difference(3), None)
    assert look(difference(3, "real loss"), first).verdict == "real loss"


def test_after_the_last_look_there_is_none() -> None:
    seen = None
    for n in (1, *LOOKS):
        seen = look(difference(n), seen)
    assert seen is not None and seen.looks == (1, *LOOKS) and seen.next_look is None
    assert looks.worded(seen).words.endswith("no look is left")
    assert look(difference(40, "real gain"), seen).verdict == "undecided"


def climbed(rng: np.random.Generator, rungs: int, gains: dict[int, float], spread: float = 1.0) -> dict[str, tuple]:
    """Climb a ladder of single changes at sd 0.5 points, look by look; return how each rung was decided, and when."""
    sds = 0.005 * spread ** np.linspace(-1, 1, rungs)
    rng.shuffle(sds)
    means = np.array([0.8 + gains.get(i, 0.0) for i in range(rungs)])
    values = means[:, None] + rng.normal(0, 0.004, LOOKS[-1]) + sds[:, None] * rng.normal(size=(rungs, LOOKS[-1]))
    before: dict[str, Difference] = {}
    decided: dict[str, tuple] = {}
    for n in looks.LOOKS:
        cells = {str(i): dict(enumerate(row[:n])) for i, row in enumerate(values.tolist())}
        changes = [Change(str(i), "0", "validation_accuracy", cells[str(i)], cells["0"]) for i in range(1, rungs)]
        before = judge(changes, {"validation_accuracy": pool(cells, "validation_accuracy")}, 0.01, before)
        for rung, found in before.items():
            if found.verdict != "undecided":
                decided.setdefault(rung, (found.verdict, n))
    return decided


@pytest.mark.parametrize(("rungs", "spread"), [(2, 1.0), (4, 1.0), (4, 1.5), (8, 1.0)])
def test_ladders_of_nothing_stay_below_5_per_cent_over_all_looks(rungs: int, spread: float) -> None:
    rng, ladders = np.random.default_rng(rungs), 150
    false = sum(
        any(verdict.startswith("real") for verdict, _ in climbed(rng, rungs, {}, spread).values())
        for _ in range(ladders)
    )
    assert false / ladders <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / ladders) / 2  # bench/statistics.md has 2,000 ladders


def test_a_point_is_decided_by_about_nine_seeds() -> None:
    rng, when = np.random.default_rng(0), []
    for _ in range(40):
        decided = climbed(rng, 8, dict.fromkeys(range(1, 8), 0.01))
        when += [n for verdict, n in decided.values() if verdict == "real gain"]
    assert len(when) >= 0.9 * 40 * 7
    assert 7 <= np.mean(when) <= 11


def test_a_test_at_5_per_cent_after_every_seed_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "LOOK_LEVEL", 0.05)
    monkeypatch.setattr(looks, "LOOKS", (*range(3, 20), 20))
    rng = np.random.default_rng(1)
    false = sum(any(v.startswith("real") for v, _ in climbed(rng, 4, {}).values()) for _ in range(100))
    assert false / 100 > 0.10


def test_what_a_look_can_find_is_found_in_80_per_cent() -> None:
    seeds, changes, sd, ladders = 5, 7, 0.005, 300
    size, rng, found = detectable(seeds, changes, sd), np.random.default_rng(2), 0
    assert size > detectable(8, changes, sd) > detectable(20, changes, sd)
    for _ in range(ladders):
        values = 0.8 + sd * rng.normal(size=(changes + 1, seeds))
        values[1] += size
        cells = {str(i): dict(enumerate(row)) for i, row in enumerate(values.tolist())}
        made = [Change(str(i), "0", "validation_accuracy", cells[str(i)], cells["0"]) for i in range(1, changes + 1)]
        judged = judge(made, {"validation_accuracy": pool(cells, "validation_accuracy")}, 0.01, {})
        found += judged["1"].verdict == "real gain"
    assert found / ladders == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / ladders))
    assert LOOK_LEVEL == 0.01
