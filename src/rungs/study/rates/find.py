"""A learning rate, guessed by the range test and checked by real short runs.

The guess is the rate at which the smoothed loss of the sweep falls fastest on a logarithmic axis; a tenth of the rate
at its minimum is checked, too. Both are in common use (Smith 2017, arXiv:1506.01186; Howard & Gugger 2020,
arXiv:2002.04688). Neither has to be right, so that short runs decide.
"""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace
from torch import Tensor

from rungs import data
from rungs.data import require_known
from rungs.data.batches import spans
from rungs.errors import UserError, require_between
from rungs.recipe import toml as recipes
from rungs.recipe.shorten import stretched
from rungs.recipe.spec import Recipe
from rungs.run.folder import write_whole
from rungs.run.record import Estimate, to_json
from rungs.study.processes import require_one_process
from rungs.study.rates import page as rates_html
from rungs.study.rates.options import (
    FEWEST_STEPS,
    HIGH,
    LONGER,
    LOW,
    MOST_EPOCHS,
    MOST_SEEDS,
    MOST_STEPS,
    SEEDS,
    STEPS,
    _command,
    _flags,
    _require_range,
    rates_folder,
)
from rungs.study.rates.reading import MOST_NEXT, Reading, candidates, choose, compared, next_rate, read
from rungs.study.rates.record import RateCheck, RateDir, RateRecord, Role, SweepRecord
from rungs.study.rates.sweep import growing_rates, short_run, shortened, smoothing, sweep
from rungs.study.statistics import estimate
from rungs.training.device import World, enough_memory, open_world
from rungs.training.setup import Material, assemble, gather


def lr_find(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    folder: str | Path | None = None,
    steps: int = STEPS,
    low: float = LOW,
    high: float = HIGH,
    seeds: int = SEEDS,
    checks: int | None = None,
    skip_unreadable: bool = False,
    tell: Tell = lambda text: None,
) -> RateRecord:
    """Look for a recipe's learning rate, write its folder and its report, and return the record.

    The test set is not opened.

    Args:
        recipe: See `rungs.recipe.toml.choose`, as for `overrides`, `data` and `seed`.
        overrides: Changed fields.
        data: Another source.
        seed: The first of the seeds.
        folder: Where; by default `rates/NAME`, a new one each time.
        steps: Of each sweep.
        low: The rate of its first step.
        high: The rate of its last step, at least ten times `low`.
        seeds: Sweeps, and runs of each rate that is checked.
        checks: Epochs of each of these runs; by default as many as come to about `steps`.
        skip_unreadable: Leave unreadable files out.
        tell: Called with what happens now.

    Raises:
        UserError: Anything that the caller can mend.
    """
    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    _require_range(low, high)
    require_between(steps, FEWEST_STEPS, MOST_STEPS, "--steps")
    require_between(seeds, 1, MOST_SEEDS, "--seeds")
    require_between(checks, 1, MOST_EPOCHS, "--checks")
    require_one_process("a range test trains in one process", "lr-find")
    place = RateDir(folder or rates_folder(chosen))
    place.require_free()
    require_known(chosen.data.source)
    place.prepare()
    given = [str(recipe.name if isinstance(recipe, Recipe) else recipe)]
    given += _flags((("--data", data), ("--seed", seed), *(("--set", one) for one in overrides)))
    commands = (
        _command(given, low, high, seeds, steps, checks),
        _command(given, low, high, seeds, LONGER * steps, checks and LONGER * checks),
        shlex.join(["rungs", "train", *given]),
    )
    with place.locked(), open_world() as world:
        record = find(
            chosen,
            world,
            rates=(low, high, steps),
            seeds=seeds,
            epochs=checks,
            skip_unreadable=skip_unreadable,
            commands=commands,
            tell=tell,
        )
        write_whole(place.record, to_json(record))
        rates_html.write(record, place)
    return record


LESS = "use smaller batches, smaller images or a smaller net"

Tell: TypeAlias = Callable[[str], None]
"""Called with a few words on what happens now."""


def find(
    recipe: Recipe,
    world: World,
    *,
    rates: tuple[float, float, int],
    seeds: int,
    epochs: int | None,
    skip_unreadable: bool,
    commands: tuple[str, str, str],
    tell: Tell,
) -> RateRecord:
    """Sweep, guess, check, and return the record; the test set stays closed, nothing is written.

    Args:
        recipe: Whose rate is sought.
        world: One process.
        rates: The lowest, the highest, and the number of steps between them.
        seeds: How many sweeps, and runs of each rate that is checked; from the recipe's own seed on.
        epochs: Of each check; None: about as many steps as a sweep has, of a long epoch the beginning.
        skip_unreadable: Leave unreadable files out.
        commands: That make the record; that make a longer one; that train the same recipe.
        tell: Called with what happens now.

    Raises:
        UserError: Bad data, no validation set, or a net that does not fit the data or the memory.
    """
    started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    tell("loading data")
    table = Table.lay(recipe, world, seeds, rates[2], epochs, skip_unreadable)
    swept = growing_rates(*rates)
    with enough_memory(LESS):
        kit = assemble(*table.gathered[0], world, table.moved)
        sweeps = [table.sweep(i, swept, tell) for i in range(seeds)]
        found = read(sweeps, swept)
        checks = check_all(table, found, tell)
    suggestion = choose(checks, len(table.classes))
    return RateRecord(
        recipe=replace(kit.recipe, evaluation=recipe.evaluation),
        data=table.gathered[0][1].record,
        model=kit.description,
        environment=kit.environment,
        command=commands[0],
        longer_command=commands[1],
        train_command=commands[2],
        seeds=table.seeds,
        rates=swept,
        smoothing=smoothing(swept),
        sweeps=tuple(sweeps),
        median=found.median,
        steepest=found.steepest,
        lowest=found.lowest,
        diverged_at=found.diverged_at,
        epochs=table.epochs,
        steps=table.epochs * table.steps_per_epoch,
        checks=compared(checks, suggestion, table.seeds),
        suggestion=suggestion,
        started=started,
        wall_s=time.perf_counter() - began,
    )


@dataclass
class Table:
    """What sweeps and checks share: the recipe, its data for each seed, the length of a check."""

    recipe: Recipe
    world: World
    gathered: list[tuple[Recipe, Material]]  # a seed each, resolved
    epochs: int
    images: int  # training images of a check, at most
    moved: dict[int, Tensor]

    @classmethod
    def lay(
        cls, recipe: Recipe, world: World, seeds: int, steps: int, epochs: int | None, skip_unreadable: bool
    ) -> Table:
        """Load the data, divide it for each seed, and decide how long a check is."""
        closed = replace(recipe, evaluation=replace(recipe.evaluation, score_test=False, watch_test=False))
        source = data.load(recipe.data.source, recipe.data.image_size)
        gathered = [
            gather(replace(closed, seed=seed), skip_unreadable, source)
            for seed in range(recipe.seed, recipe.seed + seeds)
        ]
        parts = gathered[0][1].parts
        if parts.validation is None:
            do = "set data.validation above 0"
            raise UserError("rates are judged on a validation set, and there is none", where=recipe.data.source, do=do)
        images, batch = len(parts.train), recipe.training.batch_size
        if epochs is None:
            epochs = math.ceil(steps / len(spans(images, batch)))
            images = min(images, steps * batch)
        return cls(recipe, world, gathered, epochs, images, {})

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(recipe.seed for recipe, _ in self.gathered)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.gathered[0][1].record.classes

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch of a check."""
        return len(spans(self.images, self.recipe.training.batch_size))

    def sweep(self, i: int, rates: Sequence[float], tell: Tell) -> SweepRecord:
        """Sweep with one of the seeds."""
        tell(f"sweep {i + 1} of {len(self.gathered)}")
        recipe, material = self.gathered[i]
        done = sweep(recipe, material, self.world, rates, self.moved)
        return SweepRecord(seed=recipe.seed, losses=done.losses, smoothed=done.smoothed, diverged_at=done.diverged_at)

    def check(self, rate: float, roles: Sequence[Role], tell: Tell) -> RateCheck:
        """Train with a rate, once a seed, the recipe's schedule compressed to the length of a check."""
        overrides, rows = assignments(self.recipe, rate), []
        for i, (recipe, material) in enumerate(self.gathered):
            tell(f"checking {rate:g}, run {i + 1} of {len(self.gathered)}")
            changed = stretched(recipes.choose(recipe, overrides), self.epochs / recipe.training.epochs)
            changed = replace(changed, stopping=replace(changed.stopping, patience=None))
            rows.append(short_run(changed, shortened(material, self.images, recipe.seed), self.world, self.moved))
        losses = tuple(None if row is None else row.validation_loss for row in rows)
        accuracies = tuple(None if row is None else row.validation_accuracy for row in rows)
        return RateCheck(
            rate=rate,
            roles=tuple(roles),
            overrides=overrides,
            losses=losses,
            accuracies=accuracies,
            loss=_estimate(losses),
            accuracy=_estimate(accuracies),
        )


def _estimate(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if len(known) == len(values) else None


def assignments(recipe: Recipe, rate: float) -> tuple[str, ...]:
    """Return what sets `optim.lr` to a rate and its companions in proportion; () where it is the recipe's own."""
    spec = recipe.optim
    if rate == spec.lr:
        return ()
    beside = (field for field in ("head_lr", "bias_lr") if hasattr(spec, field))
    others = (f"optim.{field}={getattr(spec, field) * rate / spec.lr:.4g}" for field in beside)
    return (f"optim.lr={rate:g}", *others)


def check_all(table: Table, found: Reading, tell: Tell) -> tuple[RateCheck, ...]:
    """Check the first rates, then further ones while the best lies at the edge; return all, by rate."""
    checks = [table.check(rate, roles, tell) for rate, roles in candidates(table.recipe.optim.lr, found).items()]
    for _ in range(MOST_NEXT):
        rate = next_rate(checks, found.diverged_at, len(table.classes))
        if rate is None:
            break
        checks.append(table.check(rate, ("next",), tell))
    return tuple(sorted(checks, key=lambda check: check.rate))
