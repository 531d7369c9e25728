"""A learning rate, estimated by the range test and checked by short training runs.

The estimate is the rate at which the smoothed loss of the sweep falls fastest on a logarithmic axis; a tenth of the
rate at its minimum is also checked. Both are in common use (Smith 2017, arXiv:1506.01186; Howard & Gugger 2020,
arXiv:2002.04688). Neither is reliable, so short runs decide.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from rungs.data import require_known
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door, echo
from rungs.recipe.spec import Recipe
from rungs.run.folder import numbered, write_whole
from rungs.run.record import to_json
from rungs.study.processes import require_alone
from rungs.study.rates import page
from rungs.study.rates.checks import RangeTest, check_all
from rungs.study.rates.options import MOST_EPOCHS, MOST_STEPS, RateOptions
from rungs.study.rates.reading import choose, compared, read
from rungs.study.rates.record import RateDir, RateRecord
from rungs.study.rates.sweep import growing_rates, smoothing
from rungs.training.device import World, enough_memory, open_world
from rungs.training.setup import assemble

LONGER = 4
"""If nothing was learnt, a search this many times as long is suggested."""
LESS = "use smaller batches, smaller images or a smaller net"


@dataclass(frozen=True)
class RatePlan:
    """A range test, ready to run."""

    options: RateOptions
    recipe: Recipe
    folder: RateDir


def prepare(options: RateOptions) -> RatePlan:
    """Plan a range test; nothing is written.

    Raises:
        UserError: No such recipe, field or source; a folder that is not empty; several ranks.
    """
    recipe = recipes.choose(options.recipe, options.overrides, data=options.data, seed=options.seed)
    require_alone("lr-find")
    folder = RateDir(options.folder or numbered(Path("rates") / recipe.name))
    folder.require_free()
    require_known(recipe.data.source)
    return RatePlan(options, recipe, folder)


def run(plan: RatePlan) -> RateRecord:
    """Sweep, estimate, check; write the record and its report; return the record. The test set stays closed.

    Raises:
        UserError: Bad data, no validation set, or a net that does not fit the data or the memory.
    """
    plan.folder.prepare()
    with plan.folder.locked(), open_world() as world:
        record = measure(plan, world)
        write_whole(plan.folder.record, to_json(record))
        page.write(record, plan.folder)
    return record


lr_find = door("lr_find", RateOptions, prepare, run)


def measure(plan: RatePlan, world: World) -> RateRecord:
    """Sweep, estimate, check, and return the record; nothing is written."""
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    options, recipe = plan.options, plan.recipe
    options.tell("loading data")
    test = RangeTest.load(recipe, world, options)
    rates = growing_rates(options.low, options.high, options.steps)
    with enough_memory(LESS):
        setup = assemble(*test.loaded[0], world, test.moved)
        sweeps = [test.sweep(i, rates, options.tell) for i in range(options.seeds)]
        found = read(sweeps, rates)
        checks = check_all(test, found, options.tell)
    suggestion = choose(checks, len(test.classes))
    return RateRecord(
        recipe=replace(setup.recipe, evaluation=recipe.evaluation),
        data=test.loaded[0][1].record,
        model=setup.description,
        environment=setup.environment,
        command=echo("lr-find", options),
        longer_command=echo("lr-find", _longer(options)),
        train_command=echo("train", options, only=("recipe", "overrides", "data", "seed")),
        seeds=test.seeds,
        rates=rates,
        smoothing=smoothing(rates),
        sweeps=tuple(sweeps),
        median=found.median,
        steepest=found.steepest,
        lowest=found.lowest,
        diverged_at=found.diverged_at,
        epochs=test.epochs,
        steps=test.epochs * test.steps_per_epoch,
        checks=compared(checks, suggestion, test.seeds),
        suggestion=suggestion,
        started=started,
        wall_s=time.perf_counter() - began,
    )


def _longer(options: RateOptions) -> RateOptions:
    """Return options with longer sweeps and checks."""
    checks = options.checks and min(LONGER * options.checks, MOST_EPOCHS)
    return dataclasses.replace(options, steps=min(LONGER * options.steps, MOST_STEPS), checks=checks)
