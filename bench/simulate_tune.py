"""How far off is what `rungs tune` reports about its winner, and how often does its interval cover the truth?

The finals of a search are simulated: finalists with known true values, re-run on a few seeds. The winner has the best
mean. Its reported value is compared with its true one, the mean over all seeds: as the mean of its re-runs with
Student's t interval (before), shrunk (James and Stein), and as `rungs.study.search.second_choice` corrects it (after).
The optimism is a search score minus that value, so its bias is that of the value with the other sign; whole searches
are simulated to see it. All numbers are percentage points; `--short` is for the tests.

    python bench/simulate_tune.py    # prints its section of bench/statistics.md
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import tyro
from common import keep

from rungs.run.record import Estimate
from rungs.study import statistics
from rungs.study.search import second_choice
from rungs.study.search.second_choice import Table

KINDS = {
    "all alike": "true values from a normal distribution, runs normal",
    "shared seeds": "half of the variance of a run is shared by all finalists with its seed",
    "unequal": "the finalists' sd differ, largest / smallest = 4",
    "heavy tails": "runs from Student's t with 3 degrees of freedom",
    "one ahead": "one finalist is ahead by the spread, all others are equal",
    "one behind": "the unchanged recipe is 5 points below the others",
}
TOPS, SEEDS, SPREADS, SDS = (3, 8), (3, 5), (0.0, 0.3, 1.0, 3.0), (0.3, 1.0, 1.7)
BIASES = ("bias before", "shrunk", "after")
COVERS = ("covers before, %", "after")
BEHIND, RESTLESS, TAILS = 5.0, 4.0, 3


@dataclass(frozen=True)
class Case:
    """One scenario, and what came of it."""

    kind: str
    top: int
    seeds: int
    spread: float
    sd: float
    bias: tuple[float, float, float]  # of the winner's value: before, shrunk, after
    covered: tuple[float, float]  # share of intervals that cover: before, after
    width: tuple[float, float]  # of the interval, median
    best: float  # share of winners that are truly the best; 0 without a spread


def draw(
    kind: str, finalists: int, seeds: int, spread: float, sd: float, random: np.random.Generator
) -> tuple[Table, Table]:
    """Return the true value of each finalist, the unchanged recipe first, and the table of their re-runs."""
    true = random.normal(0, spread, finalists) if kind != "one ahead" else np.eye(1, finalists, 1)[0] * spread
    if kind == "one behind":
        true[0] = -BEHIND
    noise = random.standard_t(TAILS, (finalists, seeds)) / TAILS**0.5 if kind == "heavy tails" else None
    noise = random.normal(size=(finalists, seeds)) if noise is None else noise
    if kind == "unequal":
        each = random.permutation(np.geomspace(1, RESTLESS, finalists))
        noise *= (each / np.sqrt((each**2).mean()))[:, None]
    if kind == "shared seeds":
        noise = (noise + random.normal(size=(1, seeds))) / 2**0.5
    return true, true[:, None] + sd * noise


def shrunk(table: Table) -> float:
    """Return the best mean, drawn to the mean of all (James and Stein 1961; Efron 2011), without overshooting."""
    finalists, seeds = table.shape
    means = table.mean(axis=1)
    rest = table - means[:, None] - table.mean(axis=0) + table.mean()
    noise = float((rest**2).sum()) / ((finalists - 1) * (seeds - 1)) / seeds
    share = min(1.0, (finalists - 3) * noise / float(((means - means.mean()) ** 2).sum()))
    return float(means.max() - share * (means.max() - means.mean()))


def case(kind: str, top: int, seeds: int, spread: float, sd: float, repeats: int, seed: int) -> Case:
    """Simulate the finals of so many searches."""
    random = np.random.default_rng([seed, *kind.encode(), top, seeds, round(10 * spread), round(10 * sd)])
    errors, covers, widths, best = [], [], [], 0
    for _ in range(repeats):
        true, table = draw(kind, top + 1, seeds, spread, sd, random)
        chosen = second_choice.winner(table)
        raw, corrected = statistics.estimate([*table[chosen]]), second_choice.corrected(table)
        assert corrected is not None
        truth = float(true[chosen])
        errors.append([raw.mean - truth, shrunk(table) - truth, corrected.mean - truth])
        covers.append([covering(one, truth) for one in (raw, corrected)])
        widths.append([width(one) for one in (raw, corrected)])
        best += bool(spread and truth == true.max())
    bias = tuple(float(v) for v in np.mean(errors, axis=0))
    covered, wide = np.mean(covers, axis=0), np.median(widths, axis=0)
    return Case(kind, top, seeds, spread, sd, bias, tuple(covered), tuple(wide), best / repeats)  # type: ignore[arg-type]


def covering(one: Estimate, truth: float) -> bool:
    assert one.low is not None and one.high is not None
    return one.low <= truth <= one.high


def width(one: Estimate) -> float:
    assert one.low is not None and one.high is not None
    return one.high - one.low


def search(spread: float, sd: float, repeats: int, seed: int, trials: int = 30) -> dict[str, float]:
    """Simulate whole searches with the default --top and --seeds: trials of one run, the best re-run, the optimism.

    Returns:
        How optimistic the search was about the winner, in truth and as reported; and about its own best trial, where
        that did not win.
    """
    random = np.random.default_rng([seed, round(10 * spread), round(10 * sd)])
    winners, others = [], []
    for _ in range(repeats):
        true = random.normal(0, spread, trials)
        searched = true + random.normal(0, sd, trials)
        order = np.argsort(-searched)[:3]
        values = np.array([0.0, *true[order]])  # the unchanged recipe first
        table = values[:, None] + random.normal(0, sd, (4, 3))
        chosen, corrected = second_choice.winner(table), second_choice.corrected(table)
        assert corrected is not None
        if chosen:  # a trial, not the recipe
            score = searched[order[chosen - 1]]
            winners.append([score - values[chosen], score - table[chosen].mean(), score - corrected.mean])
        if chosen != 1:
            score = searched[order[0]]
            others.append([score - values[1], score - table[1].mean()])
    truth, before, after = (float(v) for v in np.mean(winners, axis=0))
    other, told = (float(v) for v in np.mean(others, axis=0))
    return {"spread": spread, "sd": sd, "truth": truth, "before": before, "after": after, "other": other, "told": told}


def worst(cases: Iterable[Case]) -> list[str]:
    """Return a row for each kind: over its cases the largest bias and the lowest coverage, and the means."""
    rows, cases = [], list(cases)
    for kind, words in KINDS.items():
        of = [one for one in cases if one.kind == kind]
        extremes = [max((one.bias[i] for one in of), key=abs) for i in range(3)]
        cells = [f"{value:+.2f}" for value in extremes]
        cells += [f"{100 * min(one.covered[i] for one in of):.1f}" for i in range(2)]
        cells += [f"{100 * float(np.mean([one.covered[i] for one in of])):.1f}" for i in range(2)]
        rows.append(f"| {kind}: {words} | {' | '.join(cells)} |")
    return rows


def usual(cases: Iterable[Case]) -> list[str]:
    """Return a row for each spread and sd, with the default --top and --seeds."""
    rows = []
    for one in cases:
        if (one.kind, one.top, one.seeds) == ("all alike", 3, 3):
            biases = " | ".join(f"{value:+.2f}" for value in one.bias)
            covers = " | ".join(f"{100 * value:.1f}" for value in one.covered)
            widths = " | ".join(f"{value:.2f}" for value in one.width)
            best = f"{100 * one.best:.0f}" if one.spread else "all equal"
            rows.append(f"| {one.spread:g} | {one.sd:g} | {biases} | {covers} | {widths} | {best} |")
    return rows


def report(cases: Sequence[Case], searches: Sequence[dict[str, float]], repeats: int, seed: int) -> str:
    """Return the section of bench/statistics.md."""
    found = [
        f"| {one['spread']:g} | {one['sd']:g} | {one['truth']:+.2f} | {one['before']:+.2f} | {one['after']:+.2f} | "
        f"{one['other']:+.2f} | {one['told']:+.2f} |"
        for one in searches
    ]
    command = f"`python bench/simulate_tune.py --repeats {repeats} --seed {seed}`, {time.strftime('%Y-%m-%d')}"
    lines = [
        "## `tune`: what the winner is worth\n",
        f"{command}: n = {repeats:,} simulated finals in each of {len(cases)} scenarios. "
        "The best of a few finalists over a few seeds is chosen, and its value given. Bias: the value given, minus the "
        "true one, in points. Before: the mean of its re-runs, Student's t. Shrunk: James and Stein. After: nested, "
        "with the lower end of the interval for all finalists at once (`study/search/second_choice.py`). The bias of "
        "the reported optimism is that of the value with the other sign.\n",
        "Three trials and the unchanged recipe, three seeds (the defaults). Spread: sd of the finalists' true values; "
        "sd: of a run.\n",
        _heads("spread", "sd", *BIASES, *COVERS, "width before", "after", "best chosen, %"),
        *usual(cases),
        f"\nThe worst of all scenarios: --top {_list(TOPS)}, {_list(SEEDS)} seeds, spreads {_list(SPREADS)}, "
        f"sd {_list(SDS)} points.\n",
        _heads("finalists and runs", *BIASES, *COVERS, "mean before", "after"),
        *worst(cases),
        f"\nWhole searches of 30 trials with the defaults, n = {repeats:,} each: by how much the search score was "
        "optimistic, on average over the searches that a trial won; and about the search's own best trial, where "
        "another finalist won (from the plain mean of its re-runs, which is too low then).\n",
        _heads(
            "spread", "sd", "winner, in truth", "reported before", "after", "best of the search, in truth", "reported"
        ),
        *found,
    ]
    return "\n".join(lines)


def _heads(*names: str) -> str:
    return f"| {' | '.join(names)} |\n|---|{'---:|' * (len(names) - 1)}"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def main(repeats: int = 2000, seed: int = 0, short: bool = False, json: Path | None = None) -> None:
    """Simulate the finals of searches and print the tables in Markdown.

    Args:
        repeats: Simulated finals for each scenario.
        seed: Of all draws.
        short: Few scenarios.
        json: Write the figures here as well.
    """
    sizes = ((3,), (3,), (0.0, 1.0), (1.0,)) if short else (TOPS, SEEDS, SPREADS, SDS)
    cases = [case(*one, repeats=repeats, seed=seed) for one in product(KINDS, *sizes)]
    settings = ((0.3, 0.5), (1.0, 0.5), (0.3, 1.5), (1.0, 1.5))
    searches = [search(spread, sd, repeats, seed) for spread, sd in settings]
    print(report(cases, searches, repeats, seed))
    keep({"cases": [one.__dict__ for one in cases], "searches": searches}, json)


if __name__ == "__main__":
    tyro.cli(main)
