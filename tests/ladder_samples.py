"""Made-up but plausible ladder records for the tests of the reading room; no torch, no training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import samples
from msgspec.structs import replace

from rungs.recipe import toml as recipes
from rungs.run.record import Difference, Estimate, Finding
from rungs.study.ladder.record import Answer, CellRecord, LadderRecord, RungRecord

T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}
"""Student's t, two-sided 95 %, by degrees of freedom."""

IMAGES = {"train": 40_000, "validation": 10_000, "test": 10_000}

OVERFITTING = Finding(
    rule="overfitting",
    level="warning",
    title="Overfitting",
    text="From epoch 9 on the validation loss rises while the training loss goes on falling.",
    cure="--set stopping.patience=5",
)
SHORT = Finding(rule="still-falling", level="note", title="Stopped early", text="The loss had not levelled out.")
SOUND = Finding(rule="sound", level="good", title="No problem found", text="No rule found a fault.")


def estimate(values: Sequence[float], *, accuracy_of: int = 0) -> Estimate:
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        low, high = samples.wilson(mean, accuracy_of) if accuracy_of else (None, None)
        return Estimate(n=1, mean=mean, sd=None, low=low, high=high)
    sd = float(np.std(values, ddof=1))
    half = T95[n - 1] * sd / math.sqrt(n)
    return Estimate(n=n, mean=mean, sd=sd, low=mean - half, high=mean + half)


def cell(
    seed: int, name: str, accuracy: float, *, epochs: int = 24, validated: bool = True, step_s: float = 0.04
) -> CellRecord:
    """A finished cell of about this validation accuracy."""
    draw = np.random.default_rng([seed, *name.encode()])
    accuracy = accuracy + float(draw.normal(0, 0.003))
    rise = 1 - np.exp(-5 * (np.arange(epochs) + 1) / epochs)
    fall = 2.4 - (2.3 - 2.2 * (1 - accuracy)) * rise
    test = accuracy - 0.006 + float(draw.normal(0, 0.003))
    watched = test * rise / rise[-1] + draw.normal(0, 0.004, epochs)
    curves = {
        "train_loss": tuple(fall * 0.9),
        "train_accuracy": tuple(min(0.99, accuracy + 0.05) * rise),
        "test_accuracy": tuple(watched),
        "learning_rate": (0.001,) * epochs,
    }
    values = {
        "train_accuracy": min(0.999, accuracy + 0.06),
        "train_loss": 2.0 * (1 - accuracy),
        "test_accuracy": test,
        "test_loss": 2.9 * (1 - test),
        "highest_train_accuracy": min(0.999, accuracy + 0.05),
        "highest_test_accuracy": float(watched.max()),
        "steps": 625.0 * epochs,
        "convergence_steps": 625.0 * (epochs - 7),
        "epochs": float(epochs),
        "step_s": step_s,
        "train_s": step_s * 625 * epochs,
        "wall_s": step_s * 640 * epochs,
        "peak_memory_bytes": 1.2e9,
    }
    if validated:
        curves["validation_loss"] = tuple(fall + 0.02 * np.arange(epochs) / epochs)
        curves["validation_accuracy"] = tuple(accuracy * rise + draw.normal(0, 0.004, epochs))
        values |= {"validation_accuracy": accuracy, "validation_loss": 2.8 * (1 - accuracy)}
    return CellRecord(
        seed=seed,
        folder=f"cells/{name}-seed{seed}-0123abcd",
        status="finished",
        ending=f"all {epochs} epochs are done",
        values=values,
        best_epoch=epochs - 3,
        curves={key: tuple(float(value) for value in curve) for key, curve in curves.items()},
        findings=(OVERFITTING, SHORT) if seed == 0 and accuracy > 0.8 else (SOUND,),
        interpretation=f"Both losses fall together until epoch {epochs - 3}; the gap stays small.",
        code=("rungs 0.1.0 (0123abc)", "torch 2.13.0"),
        data_hash="cd" * 32,
    )


def bad_cell(seed: int, name: str, status: Any, ending: str) -> CellRecord:
    curves = {"train_loss": (2.3, 2.9, 8.1)} if status == "diverged" else {}
    return CellRecord(
        seed=seed, folder=f"cells/{name}-seed{seed}-0123abcd", status=status, ending=ending, curves=curves
    )


def answer(metric: str, claimed: float, measured: float | None, verdict: Any = "within") -> Answer:
    return Answer(
        metric=metric,
        claimed=claimed,
        tolerance=0.0,
        margin=0.0 if metric == "parameters" else 0.02,
        n=0 if measured is None else 3,
        measured=measured,
        low=None if measured is None or metric == "parameters" else measured - 0.012,
        high=None if measured is None or metric == "parameters" else measured + 0.012,
        verdict=verdict,
        why="the whole interval is within 1.20 points of the claim",
        source="README, table 2",
    )


def rung(
    name: str,
    cells: Sequence[CellRecord],
    *,
    on: str | None = None,
    changes: tuple[str, ...] = (),
    flops: int = 80_000_000,
    answers: tuple[Answer, ...] = (),
    difference: Difference | None = None,
    about: str = "",
    assumptions: tuple[str, ...] = (),
) -> RungRecord:
    model = samples.plain_model()
    done = [one for one in cells if one.status == "finished"]
    part = "validation" if done and "validation_accuracy" in done[0].values else "test"
    estimates = {
        key: estimate([one.values[key] for one in done], accuracy_of=10_000 if key.endswith("accuracy") else 0)
        for key in (done[0].values if done else ())
    }
    confusion = samples.result(10, 3000, estimates[f"{part}_accuracy"].mean).confusion if done else ()
    return RungRecord(
        name=name,
        about=about or f"What {name} changes, and why.",
        on=on,
        changes=changes,
        assumptions=assumptions,
        parameters=model.parameters,
        flops=flops,
        layers=model.layers,
        cells=tuple(cells),
        estimates=estimates,
        difference=difference,
        answers=answers,
        confusion=confusion,
    )


def difference(against: str, mean: float, n: int, metric: str = "validation_accuracy") -> Difference:
    half = None if n == 1 else 0.006
    verdict: Any = "real gain" if mean > 0.006 else "real loss" if mean < -0.006 else "no difference"
    if n == 1 or 0.003 < abs(mean) <= 0.006:
        verdict = "undecided"
    return Difference(
        against=against,
        metric=metric,
        n=n,
        mean=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        p=None if n == 1 else 0.011,
        p_holm=None if n == 1 else 0.041,
        verdict=verdict,
        level=0.01,
        margin=0.01,
        looks=(n,),
        next_look=(5 if n == 3 else 3) if verdict == "undecided" else None,
        decided_at=None if verdict == "undecided" else n,
        words=_words(verdict, mean, n),
    )


def _words(verdict: str, mean: float, n: int) -> str:
    size = f"{100 * mean:+.2f} points"
    if n == 1:
        return f"undecided: {size} (-1.00 to +1.60; one pair, its sd over seeds taken from the other rungs)"
    low, high = 100 * abs(mean) - 0.6, 100 * abs(mean) + 0.6
    if verdict.startswith("real"):
        does = "gains" if mean > 0 else "loses"
        return f"{does} {size[1:]} (95 % interval {low:.2f} to {high:.2f}; p = 0.0411 after Holm)"
    ends = f"{100 * mean - 0.6:+.2f} to {100 * mean + 0.6:+.2f}"
    if verdict == "undecided":
        return f"undecided: {size} ({ends}); next look: --seeds 5"
    return f"no difference beyond 1.00 points: {size} ({ends})"


def ladder(name: str, rungs: Sequence[RungRecord], builds_on: Any, seeds: int, **other: Any) -> LadderRecord:
    run = samples.healthy()
    recipe = recipes.load("lab-003")
    facts: dict[str, Any] = {
        "name": name,
        "about": "One change after the other, each kept or not by what it bought.",
        "headline": "from 71 % to 86 % in eight steps",
        "source": "a student's diary",
        "builds_on": builds_on,
        "command": f"rungs climb {name}",
        "reduced": (),
        "seeds": tuple(range(seeds)),
        "looks": (seeds,),
        "recipe": replace(recipe, claims=()),
        "data": run.data,
        "environment": samples.ENVIRONMENT,
        "rungs": tuple(rungs),
        "started": "2026-01-02T10:00:00Z",
        "finished": "2026-01-03T02:44:23Z",
        "train_s": 41_000.0,
    }
    return LadderRecord(**(facts | other))


def _plain_rungs(
    steps: Sequence[tuple[str, float, int]], seeds: int, builds_on: str, *, validated: bool = True
) -> list[RungRecord]:
    """Rungs of (name, accuracy, FLOPs)."""
    made: list[RungRecord] = []
    metric = "validation_accuracy" if validated else "test_accuracy"
    for i, (name, accuracy, flops) in enumerate(steps):
        size = {"epochs": 18 + 2 * (i % 5), "validated": validated, "step_s": 0.01 + flops / 4e9}
        cells = [cell(seed, name, accuracy, **size) for seed in range(seeds)]
        on = made[-1 if builds_on == "previous" else 0] if made else None
        new = rung(name, cells, on=on.name if on else None, flops=flops, changes=(f"model.step={i}",) if i else ())
        if on:
            gain = new.estimates[metric].mean - on.estimates[metric].mean
            new = replace(new, difference=difference(on.name, gain, seeds, metric))
        made.append(new)
    return made


DIARY = (
    ("first-net", 0.712, 40_000_000),
    ("batch-norm", 0.751, 41_000_000),
    ("wider", 0.779, 90_000_000),
    ("dropout", 0.781, 90_000_000),
    ("flip-and-crop", 0.832, 90_000_000),
    ("third-block", 0.848, 150_000_000),
    ("sigmoid-in-place-of-relu", 0.801, 150_000_000),
    ("cosine", 0.861, 150_000_000),
)


def diary(seeds: int = 3, *, validated: bool = True) -> LadderRecord:
    """Eight rungs, each building on the one before, some with claims; `cosine` goes back to the third block."""
    rungs = _plain_rungs(DIARY, seeds, "previous", validated=validated)
    metric = "validation_accuracy" if validated else "test_accuracy"
    block, last = rungs[5], rungs[7]
    gain = last.estimates[metric].mean - block.estimates[metric].mean
    rungs[7] = replace(last, on=block.name, difference=difference(block.name, gain, seeds, metric))
    test = [one.estimates["test_accuracy"].mean for one in rungs]
    rungs[0] = replace(rungs[0], answers=(answer("test_accuracy", 0.7, test[0]),))
    rungs[2] = replace(rungs[2], answers=(answer("test_accuracy", 0.801, test[2], "worse"),))
    if validated:
        validation = rungs[4].estimates["validation_accuracy"].mean
        both = (answer("validation_accuracy", 0.835, validation), answer("test_accuracy", 0.81, test[4], "better"))
        rungs[4] = replace(rungs[4], answers=(*both, answer("parameters", 2_191_146, 2_191_146, "equal")))
    high = rungs[7].estimates["highest_test_accuracy"].mean
    rungs[7] = replace(
        rungs[7],
        answers=(answer("highest_test_accuracy", 0.871, high),),
        assumptions=("the final rate is 0 (unstated)",),
    )
    return ladder("diary", rungs, "previous", seeds)


def sweep(rungs: int = 40, seeds: int = 3) -> LadderRecord:
    """Single changes to one base, no claims."""
    draw = np.random.default_rng(5)
    steps = [("base", 0.80, 60_000_000)]
    for i in range(1, rungs):
        factor = float(draw.uniform(0.3, 4))
        gain = float(0.02 * math.log(factor) + draw.normal(0, 0.012))
        steps.append((f"c{i % 4 + 2}-k{i % 3 * 2 + 3}-width-{i:02d}", 0.80 + gain, int(60e6 * factor)))
    return ladder("sweep", _plain_rungs(steps, seeds, "base"), "base", seeds, headline="", about="Which widths pay?")


def three() -> LadderRecord:
    """Three rungs, and cut short, so that claims are not comparable."""
    record = diary()
    rungs = tuple(
        replace(one, answers=tuple(replace(a, verdict="not comparable", why="5 of 24 epochs") for a in one.answers))
        for one in record.rungs[:3]
    )
    return replace(record, name="three", rungs=rungs, reduced=("epochs: 5 of 24", "rungs: 3 of 8"))


def broken() -> LadderRecord:
    """A diary in which one rung diverged, one failed, one lost a seed, one learnt nothing; two versions of code."""
    record = diary()
    rungs = list(record.rungs)
    spoilt = "the training loss was not finite in epoch 4 (step 2412)"
    diverged = [bad_cell(seed, "wider", "diverged", spoilt) for seed in range(3)]
    rungs[2] = replace(
        rung("wider", diverged, on="batch-norm"), answers=(answer("test_accuracy", 0.801, None, "not comparable"),)
    )
    failed = [bad_cell(0, "dropout", "failed", "out of memory"), *(diverged[1:])]
    rungs[3] = rung("dropout", failed, on="wider")
    lost = (*rungs[5].cells[:2], bad_cell(2, "third-block", "interrupted", "stopped by SIGINT after epoch 7"))
    rungs[5] = rung("third-block", lost, on="flip-and-crop", difference=difference("flip-and-crop", 0.016, 2))
    chance = [replace(cell(seed, "x", 0.1), code=("rungs 0.1.0 (4567def)", "torch 2.13.0")) for seed in range(3)]
    rungs[6] = rung(rungs[6].name, chance, on="third-block", difference=difference("third-block", -0.74, 2))
    return replace(record, name="broken", rungs=tuple(rungs))


def on_test() -> LadderRecord:
    """A diary in which one rung has other validation images than the one that it builds on."""
    record = diary()
    rungs = list(record.rungs)
    rungs[3] = replace(rungs[3], difference=difference("wider", 0.0008, 3, "test_accuracy"))
    return replace(record, name="on-test", rungs=tuple(rungs))


def orphan() -> LadderRecord:
    """A diary of which a rung was left out, and no claim is left; the one above it cannot be compared."""
    record = diary()
    rungs = [replace(one, answers=()) for one in record.rungs if one.name != "batch-norm"]
    rungs[1] = replace(rungs[1], difference=None)
    return replace(record, name="orphan", rungs=tuple(rungs), reduced=("rungs: 7 of 8",))


def beyond() -> LadderRecord:
    """Intervals that reach beyond what can be, nets of nearly equal cost, and a claim far out."""
    record = diary(seeds=2)
    rungs = []
    for i, one in enumerate(record.rungs):
        estimates = dict(one.estimates)
        for key in ("validation_accuracy", "test_accuracy"):
            estimates[key] = replace(estimates[key], low=estimates[key].mean - 1.1, high=estimates[key].mean + 1.1)
        loss = estimates["validation_loss"]
        estimates["validation_loss"] = replace(loss, low=loss.mean - 2.0, high=loss.mean + 2.0)
        rungs.append(replace(one, estimates=estimates, flops=int(1.7e6 * 1.03**i), answers=()))
    rungs[7] = replace(rungs[7], answers=(answer("test_accuracy", 82.0, 0.85, "worse"),))
    return replace(record, name="beyond", rungs=tuple(rungs))


def nothing() -> LadderRecord:
    """No cell has finished."""
    cells = [bad_cell(seed, "only", "failed", "no such file") for seed in range(2)]
    return ladder("nothing", [rung("only", cells)], "base", 2)


def hostile() -> LadderRecord:
    """Names and words with HTML, mathematics, Markdown and markup in them."""
    record = diary()
    evil = "<script>alert(1)</script>|$x^$[/b]"
    first = replace(
        record.rungs[0],
        name=evil,
        about=evil,
        changes=(f"model.x={evil}",),
        assumptions=(evil,),
        answers=tuple(replace(one, why=evil, source=evil) for one in record.rungs[0].answers),
        cells=tuple(replace(one, interpretation=evil) for one in record.rungs[0].cells),
    )
    second = record.rungs[1]
    assert second.difference is not None
    second = replace(second, on=evil, difference=replace(second.difference, against=evil, words=evil))
    data = replace(record.data, classes=(evil, *record.data.classes[1:]))
    rungs = (first, second, *record.rungs[2:])
    return replace(record, about=evil, headline=evil, source=evil, command=evil, data=data, rungs=rungs)
