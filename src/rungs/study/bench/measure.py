"""Measure how fast a recipe trains and infers, relative to the hardware's limits at the same time: `rungs.bench`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from msgspec.structs import replace
from torch import Tensor

from rungs.data import require_known
from rungs.errors import UserError
from rungs.optim import slowed
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door
from rungs.recipe.seeds import derive
from rungs.recipe.spec import Recipe, TrainingSpec
from rungs.run.folder import numbered, write_whole
from rungs.run.record import to_json
from rungs.study.bench import page
from rungs.study.bench.advice import advise
from rungs.study.bench.levers import Levers
from rungs.study.bench.options import BenchOptions, Tell
from rungs.study.bench.record import BenchDir, BenchRecord
from rungs.study.bench.rounds import Measurement
from rungs.study.processes import require_alone
from rungs.training.compiling import compile_net
from rungs.training.dataset import load_dataset
from rungs.training.device import World, is_out_of_memory, open_world
from rungs.training.features import trains_head_alone
from rungs.training.setup import Setup, assemble

RATE_FACTOR = 1e-3
"""Factor on the recipe's learning rate: a step takes the same time, and no net diverges."""


@dataclass(frozen=True)
class BenchPlan:
    """A bench, ready to run."""

    options: BenchOptions
    recipe: Recipe
    folder: BenchDir


def prepare(options: BenchOptions) -> BenchPlan:
    """Plan a bench; nothing is written.

    Raises:
        UserError: No such recipe, field or source; a folder that is not empty; several ranks.
    """
    recipe = recipes.choose(options.recipe, options.overrides, data=options.data)
    require_alone("bench")
    folder = BenchDir(options.folder or numbered(Path("runs") / f"bench-{recipe.name}"))
    folder.require_free()
    require_known(recipe.data.source)
    return BenchPlan(options, recipe, folder)


def run(plan: BenchPlan) -> BenchRecord:
    """Measure how fast a recipe trains and infers here, next to what the chip can do; write record and report.

    Raises:
        UserError: Bad data, or a net that does not fit it or the memory.
    """
    options = plan.options
    plan.folder.prepare()
    with plan.folder.locked(), open_world() as world:
        record = measure(
            plan.recipe,
            world,
            seconds=options.seconds,
            skip_unreadable=options.skip_unreadable,
            tell=options.tell,
        )
        write_whole(plan.folder.record, to_json(record))
        page.write(record, advise(record), plan.folder)
    return record


bench = door("bench", BenchOptions, prepare, run)


def measure(
    recipe: Recipe,
    world: World,
    *,
    seconds: float,
    skip_unreadable: bool = False,
    tell: Tell = lambda text: None,
) -> BenchRecord:
    """Measure a recipe in rounds that alternate between the ceilings and all batch sizes.

    Args:
        recipe: To measure.
        world: One process.
        seconds: Budget of the rounds; levers and batch sizes that do not fit are skipped, except the recipe's own.
        skip_unreadable: Skip unreadable files instead of stopping.
        tell: Called with short progress messages.

    Raises:
        UserError: Bad data, a net that does not fit it or the memory, or a recipe that trains its head alone.
    """
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    tell("loading data")
    recipe, dataset = load_dataset(recipe, skip_unreadable)
    if recipe.training.compile == "auto":  # "auto" depends on the length of a run
        recipe = replace(recipe, training=replace(recipe.training, compile="no"))
    moved: dict[int, Tensor] = {}  # all setups share their data

    def build(training: TrainingSpec) -> Setup:
        changed = replace(recipe, optim=slowed(recipe.optim, RATE_FACTOR), training=training)
        setup = assemble(changed, dataset, world, moved)
        compile_net(setup)
        return setup

    setup = build(recipe.training)
    if trains_head_alone(setup):
        what = "this recipe trains its head alone, on features that are computed once: there is no step to measure"
        do = "train it, which takes seconds; for the speed of the whole net: --set training.freeze=none"
        raise UserError(what, where="training.freeze", do=do)
    torch.manual_seed(derive(recipe.seed, "dropout"))
    try:
        measurement = Measurement(setup, Levers(recipe.training, build, setup), seconds, tell)
        measurement.run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        do = f"use --set training.batch_size={max(2, recipe.training.batch_size // 2)}, or choose a smaller net"
        raise UserError("out of memory", where="training.batch_size", do=do) from error
    return replace(
        measurement.record(dataset.record),
        recipe=replace(setup.recipe, optim=recipe.optim),
        started=started,
        wall_s=time.perf_counter() - began,
    )
