"""The training of a range test: sweeps over all rates, then short runs that check some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from torch import Tensor

from rungs.data.batches import spans
from rungs.errors import UserError
from rungs.recipe import toml as recipes
from rungs.recipe.shorten import closed, stretched
from rungs.recipe.spec import Recipe
from rungs.run.record import Estimate
from rungs.study.rates.options import RateOptions, Tell
from rungs.study.rates.reading import MOST_NEXT, Reading, candidates, next_rate
from rungs.study.rates.record import RateCheck, Role, SweepRecord
from rungs.study.rates.sweep import short_run, shortened, sweep
from rungs.study.statistics import estimate
from rungs.training.dataset import Dataset, load_dataset, open_source
from rungs.training.device import World


@dataclass
class RangeTest:
    """State shared by sweeps and checks: the recipe, its data for each seed, the length of a check."""

    recipe: Recipe
    world: World
    loaded: list[tuple[Recipe, Dataset]]  # one per seed, resolved
    epochs: int
    images: int  # training images of a check, at most
    moved: dict[int, Tensor]

    @classmethod
    def load(cls, recipe: Recipe, world: World, options: RateOptions) -> RangeTest:
        """Load the data, split it for each seed, and decide how long a check is."""
        source = open_source(recipe)
        loaded = [
            load_dataset(replace(closed(recipe), seed=seed), options.skip_unreadable, source)
            for seed in range(recipe.seed, recipe.seed + options.seeds)
        ]
        parts = loaded[0][1].parts
        if parts.validation is None:
            do = "set data.validation above 0"
            raise UserError("lr-find needs a validation set to judge rates on", where=recipe.data.source, do=do)
        images, batch = len(parts.train), recipe.training.batch_size
        epochs = options.checks
        if epochs is None:
            epochs = math.ceil(options.steps / len(spans(images, batch)))
            images = min(images, options.steps * batch)
        return cls(recipe, world, loaded, epochs, images, {})

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds."""
        return tuple(recipe.seed for recipe, _ in self.loaded)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.loaded[0][1].record.classes

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch of a check."""
        return len(spans(self.images, self.recipe.training.batch_size))

    def sweep(self, i: int, rates: Sequence[float], tell: Tell) -> SweepRecord:
        """Sweep with seed number `i`."""
        tell(f"sweep {i + 1} of {len(self.loaded)}")
        recipe, dataset = self.loaded[i]
        done = sweep(recipe, dataset, self.world, rates, self.moved)
        return SweepRecord(seed=recipe.seed, losses=done.losses, smoothed=done.smoothed, diverged_at=done.diverged_at)

    def check(self, rate: float, roles: Sequence[Role], tell: Tell) -> RateCheck:
        """Train with a rate, once per seed, with the recipe's schedule compressed to the length of a check."""
        overrides, rows = assignments(self.recipe, rate), []
        for i, (recipe, dataset) in enumerate(self.loaded):
            tell(f"checking {rate:g}, run {i + 1} of {len(self.loaded)}")
            changed = stretched(recipes.choose(recipe, overrides), self.epochs / recipe.training.epochs)
            changed = replace(changed, stopping=replace(changed.stopping, patience=None))
            rows.append(short_run(changed, shortened(dataset, self.images, recipe.seed), self.world, self.moved))
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
    """Return overrides that set `optim.lr` to a rate and scale the other rates with it; () for the recipe's own."""
    spec = recipe.optim
    if rate == spec.lr:
        return ()
    others = (field for field in ("head_lr", "bias_lr") if getattr(spec, field, None) is not None)
    scaled = (f"optim.{field}={getattr(spec, field) * rate / spec.lr:.4g}" for field in others)
    return (f"optim.lr={rate:g}", *scaled)


def check_all(test: RangeTest, found: Reading, tell: Tell) -> tuple[RateCheck, ...]:
    """Check the first rates, then more while the best lies at the edge; return all, sorted by rate."""
    checks = [test.check(rate, roles, tell) for rate, roles in candidates(test.recipe.optim.lr, found).items()]
    for _ in range(MOST_NEXT):
        rate = next_rate(checks, found.diverged_at, len(test.classes))
        if rate is None:
            break
        checks.append(test.check(rate, ("next",), tell))
    return tuple(sorted(checks, key=lambda check: check.rate))
