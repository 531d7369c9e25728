"""Made-up but plausible search records, usual and extreme, for the tests of the reading room; no torch, no Optuna."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import ladder_samples
import numpy as np
import samples
from msgspec.structs import replace

from rungs.recipe import toml as recipes
from rungs.run.record import Difference, Estimate
from rungs.study.ladder.record import CellRecord, LadderRecord
from rungs.study.search.record import Finalist, SearchRecord, TrialRecord
from rungs.study.search.space import Field, Space
from rungs.study.search.verdict import judged

EVIL = "<script>alert(1)</script>|$x^$[/b]"

LR = Field(field="optim.lr", low=0.0001, high=0.3, log=True)
BATCH = Field(field="training.batch_size", choices=(16, 32, 64, 128, 256))
DECAY = Field(field="optim.weight_decay", low=1e-6, high=1e-2, log=True)
SMOOTHING = Field(field="training.label_smoothing", low=0.0, high=0.2, step=0.05)
DEPTH = Field(field="schedule.warmup_epochs", low=0, high=5)
PLANS = (
    [],
    [{"name": "flip", "p": 0.5}],
    [{"name": "flip", "p": 0.5}, {"name": "crop", "padding": 4}],
    [{"name": "flip", "p": 0.5}, {"name": "crop", "padding": 4}, {"name": "cutout", "size": 8}],
)
AUGMENT = Field(field="augment.train", choices=PLANS)
OPTIMISER = Field(field="optim.name", choices=("sgd", "adam", "muon"))


def draw(field: Field, share: float) -> Any:
    """A value of a field, at a share of its range."""
    if field.choices:
        choice = field.choices[min(int(share * len(field.choices)), len(field.choices) - 1)]
        return choice if isinstance(choice, bool | int | float | str) else json.dumps(choice, separators=(",", ":"))
    assert field.low is not None and field.high is not None
    if field.log:
        value = field.low * (field.high / field.low) ** share
    else:
        value = field.low + share * (field.high - field.low)
        value = field.low + round((value - field.low) / field.step) * field.step if field.step else value
    return round(value) if isinstance(field.low, int) and isinstance(field.high, int) else float(value)


def goodness(shares: Sequence[float]) -> float:
    """Accuracy that places in the space give: best at 0.6 of the first field, the others matter less and less."""
    loss = sum((share - 0.6) ** 2 * 0.5 / (i + 1) ** 1.5 for i, share in enumerate(shares))
    return 0.1 if shares[0] > 0.95 else max(0.1, 0.85 - loss)


def trial(number: int, fields: Sequence[Field], shares: Sequence[float], loss: bool, epochs: int = 12) -> TrialRecord:
    """A complete trial, its curve rising to the place's goodness."""
    noise = np.random.default_rng([number, 7])
    accuracy = min(0.99, goodness(shares) + float(noise.normal(0, 0.006)))
    rise = 1 - np.exp(-4 * (np.arange(epochs) + 1) / epochs)
    curve = 0.1 + (accuracy - 0.1) * rise / rise[-1] + noise.normal(0, 0.002, epochs)
    values = 2.6 * (1 - curve) if loss else curve
    return TrialRecord(
        number=number,
        params={field.field: draw(field, share) for field, share in zip(fields, shares, strict=True)},
        state="complete",
        value=float(values.min() if loss else values.max()),
        epochs=epochs,
        curve=tuple(float(v) for v in values),
        train_s=2.0 * epochs + float(noise.uniform(0, 3)),
        worker=f"lab-{number % 2}:{4000 + number % 4}",
        folder=f"trials/{number:04d}-{'ab' * 4}",
        ending=f"all {epochs} epochs are done",
        started=f"2026-01-02T10:{number % 60:02d}:00Z",
        finished=f"2026-01-02T10:{number % 60:02d}:40Z",
    )


def pruned(one: TrialRecord, after: int, loss: bool) -> TrialRecord:
    curve = tuple(v for v in one.curve[:after] if v is not None)
    value = (min if loss else max)(curve)
    ending = f"pruned after epoch {after}: worse than the median"
    return replace(one, state="pruned", value=value, epochs=after, curve=curve, train_s=2.0 * after, ending=ending)


def failed(one: TrialRecord, ending: str = "its worker died") -> TrialRecord:
    return replace(one, state="failed", value=None, epochs=2, curve=one.curve[:2], ending=ending)


def trials(fields: Sequence[Field], n: int, *, loss: bool = False, prune: bool = True) -> list[TrialRecord]:
    """So many trials, later ones nearer to what is good; bad ones pruned; the fourth died and was taken up."""
    random = np.random.default_rng([n, len(fields)])
    made = []
    for number in range(n):
        near = min(0.7, number / n)
        shares = [(1 - near) * float(random.uniform()) + near * 0.6 for _ in fields]
        one = trial(number, fields, shares, loss)
        if prune and number > 4 and goodness(shares) < 0.8:
            one = pruned(one, 3 + number % 4, loss)
        made.append(one)
    if n > 8:
        made[3] = failed(made[3])
        made[7] = replace(made[7], params=made[3].params, takes_up=3)
    return made


def finals(finalists: Sequence[tuple[str, tuple[str, ...], float]], seeds: int, loss: bool) -> LadderRecord:
    """The ladder of re-runs: "recipe" and trials, each (name, overrides, accuracy)."""
    rungs: list[Any] = []
    metric = "validation_loss" if loss else "validation_accuracy"
    for name, overrides, accuracy in finalists:
        cells: list[CellRecord] = [ladder_samples.cell(seed, name, accuracy, epochs=12) for seed in range(seeds)]
        rung = ladder_samples.rung(name, cells, on="recipe" if rungs else None, changes=overrides)
        if rungs:
            gain = rung.estimates[metric].mean - rungs[0].estimates[metric].mean
            rung = replace(rung, difference=difference(gain, seeds, metric))
        rungs.append(rung)
    return ladder_samples.ladder("finals", rungs, "base", seeds)


def difference(gain: float, seeds: int, metric: str) -> Difference:
    """Against the unchanged recipe; for a loss, lower is better."""
    if metric.endswith("accuracy"):
        return ladder_samples.difference("recipe", gain, seeds, metric)
    found = ladder_samples.difference("recipe", -gain, seeds, metric)
    words = f"{'lowers' if gain < 0 else 'raises'} the loss by {abs(gain):.4f} (95 % interval 0.01 to 0.20; p = 0.0411)"
    bounds = (None, None) if seeds == 1 else (gain - 0.006, gain + 0.006)
    return replace(found, mean=gain, low=bounds[0], high=bounds[1], words=words)


def with_finals(record: SearchRecord, best: int = 3, seeds: int = 3) -> SearchRecord:
    """The best few trials retrained on fresh seeds, and the winner among them."""
    loss = record.metric.endswith("loss")
    complete = [t for t in record.trials if t.state == "complete" and t.value is not None]
    first = sorted(complete, key=lambda t: t.value if loss else -t.value)[:best]  # type: ignore[operator]
    tried = [("recipe", (), 0.81)]
    for i, one in enumerate(first):
        overrides = tuple(f"{name}={value}" for name, value in one.params.items())
        assert one.value is not None
        accuracy = (1 - one.value / 2.6 if loss else one.value) - 0.012 + 0.004 * i
        tried.append((f"trial-{one.number}", overrides, accuracy))
    ladder = finals(tried, seeds, loss)
    found = []
    for (name, overrides, _), rung in zip(tried, ladder.rungs, strict=True):
        rerun = rung.estimates[record.metric]
        number = None if name == "recipe" else int(name.removeprefix("trial-"))
        searched = None if number is None else record.trials[number].value
        found.append(
            Finalist(
                name=name,
                trial=number,
                overrides=overrides,
                searched=searched,
                rerun=rerun,
                optimism=None if searched is None else optimism_of(searched, rerun, loss),
            )
        )
    found.sort(key=lambda one: one.rerun.mean if loss else -one.rerun.mean)
    test = [cell.values["test_accuracy"] for rung in ladder.rungs if rung.name == found[0].name for cell in rung.cells]
    return judged(
        replace(
            record,
            finals=ladder,
            finalists=tuple(found),
            winner=found[0].name,
            test=ladder_samples.estimate(test, accuracy_of=10_000),
            test_accuracies=tuple(test),
        )
    )


def optimism_of(searched: float, rerun: Estimate, loss: bool) -> Estimate:
    sign = -1 if loss else 1
    low = high = None
    if rerun.low is not None and rerun.high is not None:
        low, high = sorted((sign * (searched - rerun.low), sign * (searched - rerun.high)))
    return replace(rerun, mean=sign * (searched - rerun.mean), low=low, high=high)


def search(fields: Sequence[Field] = (LR, BATCH), n: int = 30, *, loss: bool = False, **other: Any) -> SearchRecord:
    """A search without finals."""
    run = samples.healthy()
    made = other.pop("trials", None) or trials(fields, n, loss=loss)
    weights = [1 / (i + 1) ** 2 for i in range(len(fields))]
    facts: dict[str, Any] = {
        "name": "lr-batch on lab-003",
        "command": "rungs tune lab-003 --space lr-batch --epochs 12 --data cifar10 --set optim.momentum=0.8",
        "dashboard": "optuna-dashboard searches/lr-batch/journal.log",
        "space": Space(name="lr-batch", about="The learning rate and the batch size together.", fields=tuple(fields)),
        "recipe": replace(recipes.load("lab-003"), claims=()),
        "reduced": ("12 of 20 epochs", "a quarter of the training images"),
        "metric": "validation_loss" if loss else "validation_accuracy",
        "sampler": "TPE",
        "pruner": "median",
        "storage": "journal.log",
        "trials": tuple(made),
        "importance": {f.field: w / sum(weights) for f, w in zip(fields, weights, strict=True)},
        "importance_by": "fANOVA over 26 complete trials",
        "data": run.data,
        "environment": samples.ENVIRONMENT,
        "started": "2026-01-02T10:00:00Z",
        "finished": "2026-01-02T12:44:23Z",
        "train_s": sum(one.train_s for one in made) + 500.0,
    }
    return SearchRecord(**(facts | other))


def usual() -> SearchRecord:
    """Two fields, thirty trials, finals."""
    return with_finals(search())


def six() -> SearchRecord:
    """Six fields of all kinds, three hundred trials, five finalists, by loss."""
    fields = (LR, AUGMENT, DECAY, BATCH, SMOOTHING, DEPTH)
    return with_finals(search(fields, 300, loss=True, name="six fields"), best=5)


def one_field() -> SearchRecord:
    return with_finals(search((LR,), 8, name="one field"), best=2, seeds=2)


def three_trials() -> SearchRecord:
    """Too few for importance, re-runs with one seed."""
    return with_finals(search((LR, OPTIMISER), 3, importance={}, importance_by=""), best=2, seeds=1)


def all_pruned() -> SearchRecord:
    """Nothing complete: pruned, failed, running and waiting ones."""
    made = [pruned(one, 3, False) for one in trials((LR, BATCH), 12, prune=False)]
    made[2] = failed(made[2], "the training loss was not finite in epoch 2 (step 41)")
    made[10] = replace(made[10], state="running", value=None, epochs=1, curve=made[10].curve[:1], finished="")
    blank: dict[str, Any] = {"value": None, "epochs": 0, "curve": (), "started": "", "finished": "", "worker": ""}
    made[11] = replace(made[11], state="waiting", ending="", folder="", train_s=0.0, **blank)
    return search(trials=made, importance={}, importance_by="")


def nothing_yet() -> SearchRecord:
    return search(trials=[replace(all_pruned().trials[11], number=0)], importance={}, importance_by="", train_s=0.0)


def no_finals() -> SearchRecord:
    return search((LR, SMOOTHING, OPTIMISER), 40)


def long_names() -> SearchRecord:
    """Names, choices and numbers longer than any axis, ranges narrower than a decade, a diverged trial."""
    fields = (
        Field(field="augment.train_with_a_very_long_name_that_goes_on.for_ever_and_ever_and_ever", choices=PLANS),
        Field(field="optim.momentum_of_the_other_parameters_of_the_head", low=0.9871, high=0.9989),
        Field(field="optim.lr", low=0.02, high=0.07, log=True),
        Field(field="training.batch_size", low=16, high=4096, log=True),
        Field(field="model.width", choices=(8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)),
        Field(field="model.kind", choices=("alphabetical", "betabetical", "gammabetic", "deltabetic")),
    )
    made = trials(fields, 60, loss=True)
    made[5] = replace(made[5], state="complete", value=812.0, curve=(2.3, 55.1, None), epochs=3)
    return with_finals(search(fields, loss=True, trials=made, name="a search with a name as long as " + "m" * 60), 5)


def collinear() -> SearchRecord:
    """Two ranges of which one never moved, and the other's values on a line: no surface can be laid through them."""
    fields = (LR, DECAY)
    made = [trial(i, fields, (i / 9, i / 9), False) for i in range(10)]
    return search(fields, trials=made)


def grid() -> SearchRecord:
    """Every pair of five by five values, by the grid sampler; all equal values in the second field."""
    fields = (LR, SMOOTHING)
    shares = [(i / 4, j / 4) for i in range(5) for j in range(5)]
    made = [trial(n, fields, one, False) for n, one in enumerate(shares)]
    return with_finals(search(fields, trials=made, sampler="grid", pruner="none", importance_by="PED-ANOVA"))


def level() -> SearchRecord:
    """All trials with the same value, at the same place."""
    made = [replace(trial(i, (LR,), (0.5,), False), value=0.5, curve=(0.5,), epochs=1) for i in range(3)]
    return search((LR,), trials=made, importance={}, importance_by="")


def hostile() -> SearchRecord:
    """Names and words with HTML, mathematics and markup in them."""
    fields = (Field(field=f"optim.{EVIL}", choices=(EVIL, "b", [EVIL])), LR)
    made = [replace(one, ending=EVIL, worker=EVIL) for one in trials(fields, 20)]
    space = Space(name="evil", about=EVIL, fields=fields)
    record = with_finals(search(fields, trials=made, name=EVIL, space=space, sampler=EVIL, storage=EVIL))
    finalists = tuple(replace(one, overrides=(f"optim.x={EVIL}", "a='b c'")) for one in record.finalists)
    return replace(record, finalists=finalists, reduced=(EVIL,), verdict=EVIL, command=f"rungs tune {EVIL}")


def recipe_wins() -> SearchRecord:
    """The unchanged recipe is best by the re-runs."""
    verdict = "No trial is distinguishable from the unchanged recipe: keep the recipe."
    return replace(usual(), winner="recipe", verdict=verdict, corrected=None, optimism=None)


MAKERS: dict[str, Callable[[], SearchRecord]] = {
    "usual": usual,
    "six": six,
    "one-field": one_field,
    "three-trials": three_trials,
    "all-pruned": all_pruned,
    "nothing-yet": nothing_yet,
    "no-finals": no_finals,
    "long-names": long_names,
    "collinear": collinear,
    "grid": grid,
    "level": level,
    "hostile": hostile,
    "recipe-wins": recipe_wins,
}
assert math.isclose(goodness([0.6, 0.6]), 0.85)
