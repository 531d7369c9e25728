"""When a ladder may be judged, what stays, and what a look finds: simulated with the product's own functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rungs.run.record import Difference
from rungs.study.differences import Change
from rungs.study.ladder import interim
from rungs.study.ladder.interim import EARLY_LEVEL, LOOK_LEVEL, LOOKS, detectable, judge, look
from rungs.study.variation import Pool, pool


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
    assert interim.worded(later).words == "real gain, decided with 3 seeds; with 5 now +1.00 points (+0.00 to +2.00)"


def test_the_same_seeds_may_be_judged_again() -> None:
    """A repeated climb, or one with a further rung, is no further look."""
    first = look(difference(3), None)
    assert look(difference(3, "real loss"), first).verdict == "real loss"


def test_while_a_ladder_is_climbed_nothing_is_decided_and_no_look_is_used() -> None:
    running = look(difference(3, "real gain"), None, looking=False)
    assert (running.verdict, running.looks, running.decided_at, running.next_look) == ("undecided", (), None, 3)
    first = look(difference(3), None)
    again = look(difference(3, "real gain"), first, looking=False)
    assert (again.verdict, again.looks, again.decided_at, again.next_look) == ("undecided", (3,), None, 5)
    reached = look(difference(3, "real gain"), None)
    assert look(difference(4, "real loss"), reached, looking=False).verdict == "real gain"


def test_after_the_last_look_there_is_none() -> None:
    seen = None
    for n in (1, *LOOKS):
        seen = look(difference(n), seen)
    assert seen is not None and seen.looks == (1, *LOOKS) and seen.next_look is None
    assert interim.worded(seen).words.endswith("no look is left")
    assert look(difference(40, "real gain"), seen).verdict == "undecided"


def climbed(rng: np.random.Generator, rungs: int, gains: dict[int, float], spread: float = 1.0) -> dict[str, tuple]:
    """Climb a ladder of single changes at sd 0.5 points, look by look; return how each rung was decided, and when."""
    sds = 0.005 * spread ** np.linspace(-1, 1, rungs)
    rng.shuffle(sds)
    means = np.array([0.8 + gains.get(i, 0.0) for i in range(rungs)])
    values = means[:, None] + rng.normal(0, 0.004, LOOKS[-1]) + sds[:, None] * rng.normal(size=(rungs, LOOKS[-1]))
    before: dict[str, Difference] = {}
    decided: dict[str, tuple] = {}
    for n in interim.LOOKS:
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
    assert false / ladders <= 0.05  # bench/statistics.md has 2,000 ladders: 0 to 3 %


def test_a_point_is_decided_by_about_nine_seeds() -> None:
    rng, when = np.random.default_rng(0), []
    for _ in range(40):
        decided = climbed(rng, 8, dict.fromkeys(range(1, 8), 0.01))
        when += [n for verdict, n in decided.values() if verdict == "real gain"]
    assert len(when) >= 0.9 * 40 * 7
    assert 7 <= np.mean(when) <= 11


def test_a_test_at_5_per_cent_after_every_seed_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interim, "LOOK_LEVEL", 0.05)
    monkeypatch.setattr(interim, "LOOKS", (*range(3, 20), 20))
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


def change(rung: str, gain: float, seeds: int) -> Change:
    values = {seed: 0.8 + gain + 0.001 * (seed % 3) for seed in range(seeds)}
    return Change(
        rung, "base", "validation_accuracy", values, {seed: 0.8 + 0.001 * (seed % 2) for seed in range(seeds)}
    )


POOLS = {"validation_accuracy": Pool(0.0001, 14)}


def test_holm_counts_what_is_judged_at_the_same_look_and_what_was_left_behind() -> None:
    """The most promising of seven, given further seeds alone, is still one of seven."""
    alone = judge([change("a", 0.02, 5)], POOLS, 0.01, {})["a"]
    others = [change(name, 0.001, 3) for name in "bcdefg"]
    among = judge([change("a", 0.02, 5), *others], POOLS, 0.01, {})["a"]
    assert alone.p is not None and among.p == alone.p
    assert (alone.p_holm, among.p_holm) == (pytest.approx(alone.p), pytest.approx(7 * alone.p))
    ahead = judge([change("a", 0.02, 3), *[change(name, 0.001, 5) for name in "bc"]], POOLS, 0.01, {})["a"]
    assert ahead.p_holm == ahead.p  # the others are judged at a look of their own


def test_rungs_that_have_not_been_trained_yet_count_too() -> None:
    (found,) = judge([change("a", 0.02, 3)], POOLS, 0.01, {}, planned=8).values()
    assert found.p is not None and found.p_holm == pytest.approx(8 * found.p)


def test_with_one_or_two_seeds_a_stricter_level_holds() -> None:
    found = judge([change("a", 0.05, 2)], POOLS, 0.01, {})["a"]
    assert (found.level, found.verdict) == (EARLY_LEVEL, "real gain")
    assert judge([change("a", 0.05, 3)], POOLS, 0.01, {})["a"].level == LOOK_LEVEL


@pytest.mark.parametrize("first", [1, 2])
def test_an_early_look_costs_little(first: int) -> None:
    rng, ladders, false = np.random.default_rng(7), 150, 0
    for _ in range(ladders):
        values = 0.52 + 0.0166 * rng.normal(size=(3, first))
        cells = {str(i): dict(enumerate(row)) for i, row in enumerate(values.tolist())}
        made = [Change(str(i), "0", "validation_accuracy", cells[str(i)], cells["0"]) for i in (1, 2)]
        found = judge(made, {"validation_accuracy": pool(cells, "validation_accuracy")}, 0.01, {})
        false += any(one.verdict.startswith("real") for one in found.values())
    assert false / ladders <= 0.02
