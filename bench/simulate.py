"""Simulate studies whose truth is known, and count how often the verdicts of `rungs` are wrong.

Run it as `python bench/simulate.py` (ten minutes on a core), or with `--repetitions 200` for a quick look. Every
verdict comes from the functions that `rungs climb` and `rungs compare` call. Beside each figure stands that of the
plain rule that one would use without thinking: a t test of the pairs at 5 % with Holm's correction, or an interval that
contains the claim.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student

from rungs.recipe.spec import Claim
from rungs.run.predictions import Predictions
from rungs.run.record import Difference
from rungs.study.differences import Change, ImageVariance, compare
from rungs.study.ladder.claims import answer, measured
from rungs.study.ladder.interim import LOOKS, judge
from rungs.study.matched import match, variance_over_images
from rungs.study.statistics import holm
from rungs.study.variation import Pool, pool, seeds_of_pairs
from rungs.study.variation import judge as judge_difference

METRIC = "validation_accuracy"


@dataclass(frozen=True)
class Study:
    """A ladder to simulate: each rung changes the first."""

    name: str
    rungs: int  # the first included
    sd: float = 0.005  # of a run over seeds
    at: float = 0.8  # accuracy of the first rung
    gains: dict[int, float] = field(default_factory=dict)  # by rung; the others change nothing
    unequal: float = 1.0  # the largest and the smallest sd are this factor from `sd`
    cumulative: bool = False  # each rung changes the one before
    tails: float | None = None  # degrees of freedom of Student's t, instead of a normal distribution


def table(study: Study, rng: np.random.Generator) -> np.ndarray:
    """Return accuracies (rungs, 20 seeds); each seed also moves all rungs alike, as its split does."""
    sds = study.sd * study.unequal ** np.linspace(-1, 1, study.rungs)
    rng.shuffle(sds)
    steps = np.array([study.gains.get(i, 0.0) for i in range(study.rungs)])
    means = study.at + (np.cumsum(steps) if study.cumulative else steps)
    shape = study.rungs, LOOKS[-1]
    noise = rng.normal(size=shape) if study.tails is None else rng.standard_t(study.tails, shape)
    if study.tails is not None:
        noise /= math.sqrt(study.tails / (study.tails - 2))
    split = rng.normal(0, study.sd, LOOKS[-1])
    return np.asarray(means[:, None] + split + sds[:, None] * noise)


def changes(values: np.ndarray, n: int, cumulative: bool) -> tuple[list[Change], Pool]:
    """Return what a ladder compares after n seeds, and the variance that its rungs share."""
    cells = {str(i): dict(enumerate(row[:n])) for i, row in enumerate(values.tolist())}
    made = []
    for i in range(1, len(values)):
        base = str(i - 1 if cumulative else 0)
        made.append(Change(str(i), base, METRIC, cells[str(i)], cells[base]))
    return made, pool(cells, METRIC)


def looked(study: Study, values: np.ndarray) -> dict[int, tuple[str, int]]:
    """Return by rung the verdict of `rungs climb`, climbed look by look, and the seeds that it took."""
    before: dict[str, Difference] = {}
    for n in (1, *LOOKS):
        made, shared = changes(values, n, study.cumulative)
        before = judge(made, {METRIC: shared}, 0.01, before)
    return {int(rung): (d.verdict, d.decided_at) for rung, d in before.items() if d.decided_at is not None}


def plain(values: np.ndarray, n: int, cumulative: bool) -> set[int]:
    """Return the rungs that paired t tests at 5 % with Holm's correction call real after n seeds."""
    base = values[:-1, :n] if cumulative else values[:1, :n]
    gaps = values[1:, :n] - base
    t = gaps.mean(1) / (gaps.std(1, ddof=1) / math.sqrt(n))
    ps = holm([float(p) for p in 2 * student.sf(np.abs(t), n - 1)])
    return {i for i, p in enumerate(ps, 1) if p is not None and p < 0.05}


def followed(values: np.ndarray, cumulative: bool) -> set[int]:
    """Return the rungs called real when a plain ladder is tested again after every further seed, from 3 to 20."""
    return set().union(*(plain(values, n, cumulative) for n in range(3, LOOKS[-1] + 1)))


# --- ladders ------------------------------------------------------------------------------------------

NULL = (
    Study("2 rungs", 2),
    Study("4 rungs", 4),
    Study("8 rungs", 8),
    Study("8 rungs, each on the one before", 8, cumulative=True),
    Study("8 rungs, sd from 1/1.5 to 1.5 times", 8, unequal=1.5),
    Study("8 rungs, heavy tails (t, 5 df)", 8, tails=5.0),
    Study("2 rungs, sd 1.66 points at 52 %", 2, sd=0.0166, at=0.52),
    Study("4 rungs, sd 1.66 points at 52 %", 4, sd=0.0166, at=0.52),
    Study("8 rungs, sd 1.66 points at 52 %", 8, sd=0.0166, at=0.52),
    Study("12 rungs", 12),
)


def familywise(repetitions: int) -> Iterator[str]:
    """Yield the rows of ladders in which nothing changes anything: how many have a false "real"?"""
    yield from head("ladder without any difference", "a test at every seed from 3 to 20", "at 3 seeds alone", "looks")
    for i, study in enumerate(NULL):
        rng = np.random.default_rng(i)
        counts = np.zeros(3)
        for _ in range(repetitions):
            values = table(study, rng)
            found = looked(study, values)
            counts += (
                bool(followed(values, study.cumulative)),
                bool(plain(values, 3, study.cumulative)),
                any(verdict.startswith("real") for verdict, _ in found.values()),
            )
        yield row(study.name, *(percent(n / repetitions) for n in counts))


POWER = (
    Study("one change of 7 gains 1 point", 8, gains={3: 0.01}),
    Study("all 7 changes gain 1 point", 8, gains=dict.fromkeys(range(1, 8), 0.01)),
    Study("one change of 7 gains 2 points", 8, gains={3: 0.02}),
    Study("one change of 7 gains half a point", 8, gains={3: 0.005}),
)


def power(repetitions: int) -> Iterator[str]:
    """Yield the rows of ladders with a true gain: how soon is it found?"""
    looks = [f"by the look at {n}" for n in LOOKS]
    yield from head("ladder, sd 0.5 points", "plain t test at 3 seeds", *looks, "mean seeds", "called none")
    for i, study in enumerate(POWER):
        rng, when = np.random.default_rng(100 + i), list[int]()
        at_three = none = 0
        for _ in range(repetitions):
            values = table(study, rng)
            found = looked(study, values)
            at_three += len(plain(values, 3, False) & study.gains.keys())
            for rung in study.gains:
                verdict, n = found.get(rung, ("undecided", 0))
                when += [n] if verdict == "real gain" else []
                none += verdict == "no difference"
        total = repetitions * len(study.gains)
        by_look = [percent(sum(n <= look for n in when) / total) for look in LOOKS]
        mean = f"{np.mean(when):.1f}"
        yield row(study.name, percent(at_three / total), *by_look, mean, percent(none / total))


# --- images -------------------------------------------------------------------------------------------


def fixed_images(repetitions: int) -> Iterator[str]:
    """Yield how often two equal recipes differ on a small set of images that all seeds share."""
    yield from head("two recipes that are equal, on 100 images that all seeds share", "plain t test", "`rungs`")
    for seeds in (3, 5, 10):
        rng, counts = np.random.default_rng(200 + seeds), np.zeros(2)
        for _ in range(repetitions):
            values, sampling = on_fixed_images(rng, seeds)
            cells = {str(i): dict(enumerate(row)) for i, row in enumerate(values.tolist())}
            change = Change("1", "0", METRIC, cells["1"], cells["0"], sampling)
            mine = compare([change], {METRIC: pool(cells, METRIC)})["1"]
            with np.errstate(invalid="ignore", divide="ignore"):
                counts += bool(plain(values, seeds, False)), mine.verdict.startswith("real")
        yield row(f"{seeds} seeds", *(percent(n / repetitions) for n in counts))


def on_fixed_images(rng: np.random.Generator, seeds: int, images: int = 100) -> tuple[np.ndarray, ImageVariance]:
    """Return accuracies (2, seeds) of two recipes that are equal over all images, not over these, and what images add.

    On each image each recipe has a tendency of its own, which its seeds share; they lie 0.3 apart, to either side.
    """
    chance = np.clip(rng.beta(4, 1, images) + rng.choice([-0.15, 0.15], (2, images)), 0, 1)  # (2, images)
    correct = rng.random((seeds, 2, images)) < chance
    truth = np.zeros(images, dtype=np.int64)
    nets = [[predictions(correct[i, side], truth) for side in (0, 1)] for i in range(seeds)]
    found = match([(one, two) for one, two in nets], same_set=True)
    return correct.mean(2).T, variance_over_images(found, same_set=True)


def predictions(correct: np.ndarray, truth: np.ndarray) -> Predictions:
    """Return predictions of two classes that are correct where told."""
    return Predictions(truth, np.where(correct, truth, 1), np.full(len(truth), 0.9), np.full(len(truth), 0.1))


# --- claims -------------------------------------------------------------------------------------------


def claims(repetitions: int) -> Iterator[str]:
    """Yield how claims of single runs are judged that are true, or off by some points."""
    verdicts = ("within", "better", "worse", "cannot tell")
    yield from head(
        "seeds, sd of a run", "claim is off by", "the plain interval contains it", "within 2 points", "better or worse",
        "cannot tell",
    )  # fmt: skip
    for seeds, sd in ((1, 0.005), (1, 0.01), (3, 0.005), (3, 0.01), (5, 0.005), (8, 0.005)):
        for off in (0.0, 0.03):
            rng, tally, plainly = np.random.default_rng(300 + seeds), dict.fromkeys(verdicts, 0), 0
            for _ in range(repetitions):
                cells = {str(i): dict(enumerate(row)) for i, row in enumerate(rng.normal(0.7, sd, (8, seeds)).tolist())}
                values = [*cells["0"].values()]
                claimed = float(rng.normal(0.7 + off, sd))
                made = Claim(metric="test_accuracy", value=claimed, source="")
                shared = pool(cells, "test_accuracy", paired=False)
                tally[answer(made, measured("test_accuracy", values, shared)).verdict] += 1
                plainly += contains(values, claimed)
            differs = tally["better"] + tally["worse"]
            numbers = plainly, tally["within"], differs, tally["cannot tell"]
            shares = [percent(n / repetitions) for n in numbers]
            yield row(f"{seeds}, {100 * sd:g} points", f"{100 * off:g} points", *shares)


def contains(values: Sequence[float], claimed: float, images: int = 10_000) -> bool:
    """Return whether the plain interval contains a claim: one more run's, or that over the images of a single run."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return abs(claimed - mean) <= 1.96 * math.sqrt(mean * (1 - mean) / images)
    half = float(student.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    return abs(claimed - mean) <= half


# --- compare ------------------------------------------------------------------------------------------

RUNGS = (("speedrun-94", 0.933, 0.006), ("a usual net", 0.70, 0.012), ("a first net", 0.518, 0.033))
"""Of `results/*.json`: a rung, its test accuracy, and its sd over seeds divided by sqrt(p (1 - p))."""


def single_runs(repetitions: int) -> Iterator[str]:
    """Yield how often one run of each of two equal recipes is called better or worse."""
    yield from head(
        "a run of each of two equal recipes, 10,000 images", "seed sd", "images alone (McNemar)",
        "allowance 0.012, 4 df", "`rungs compare`: 0.02, 2 df",
    )  # fmt: skip
    for i, (name, at, scaled) in enumerate(RUNGS):
        sd, rng, counts = scaled * math.sqrt(at * (1 - at)), np.random.default_rng(400 + i), np.zeros(3)
        for _ in range(repetitions):
            difference = float(rng.normal(0, sd * math.sqrt(2)))
            images_se = math.sqrt(0.6 * at * (1 - at) / 10_000)  # nets differ on 0.6 p (1 - p) of the images
            found = difference + float(rng.normal(0, images_se))
            mine = judge_difference(found, images_se, 10_000, seeds_of_pairs([found], (at, at)))
            before = 2 * student.sf(abs(found) / math.hypot(0.012 * math.sqrt(2 * at * (1 - at)), images_se), 4)
            counts += abs(found) > 1.96 * images_se, before < 0.05, mine.p < 0.05
        shares = [percent(n / repetitions) for n in counts]
        yield row(f"{name}, {100 * at:.1f} %", f"{100 * sd:.2f} points", *shares)


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> Iterator[str]:
    """Yield the first two rows of a Markdown table."""
    yield row(*cells)
    yield f"|{'---|' * len(cells)}"


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.1f} %"


SECTIONS: dict[str, Callable[[int], Iterator[str]]] = {
    "False verdicts in a ladder": familywise,
    "How soon a ladder decides": power,
    "Images that all seeds share": fixed_images,
    "Claims": claims,
    "One run of each recipe": single_runs,
}


def main() -> None:
    """Print a table for each section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000, help="simulated studies per row")
    parser.add_argument("--only", choices=[*SECTIONS], help="one section")
    asked = parser.parse_args()
    for name, rows in SECTIONS.items():
        if asked.only in (None, name):
            print(f"\n### {name}\n\n{asked.repetitions:,} studies per row.\n", flush=True)
            for row in rows(asked.repetitions):
                print(row, flush=True)


if __name__ == "__main__":
    main()
