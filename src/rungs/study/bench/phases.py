"""One batch of training or inference, as in the training loop and in scoring, with a timing mark between phases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

import torch
from msgspec.structs import replace
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.study.bench.ceilings import Stopwatch
from rungs.study.bench.record import Kind
from rungs.training.feed import scoring_batches, training_batches
from rungs.training.setup import Setup
from rungs.training.step import take_step

T = TypeVar("T")
Batch = tuple[Tensor, Tensor]
WARM_UP = 2
"""Batches that a case runs before it is measured; they count towards the budget."""
TURN_S, MOST_TIMES = 0.15, 30
"""Duration of a case in each round, and its most batches: small batches need more to stand out from noise."""


def equal_batches(make: Callable[[], Iterator[T]], images: Callable[[T], int]) -> Iterator[T]:
    """Yield the batches of `make()` endlessly, only those with as many images as the first."""
    size = None
    for _ in count():
        for batch in make():
            size = images(batch) if size is None else size
            if images(batch) == size:
                yield batch


def training_feed(setup: Setup, batch_size: int) -> Iterator[Batch]:
    """Yield training batches of one size endlessly, from the last epoch."""
    training = replace(setup.recipe.training, batch_size=batch_size)
    setup = dataclasses.replace(setup, recipe=replace(setup.recipe, training=training))
    epochs = equal_batches(lambda: training_batches(setup, training.epochs - 1), lambda batch: len(batch[1]))
    return ((x, y) for x, y, _ in epochs)


def scoring_feed(setup: Setup, part: ImageSet, batch_size: int) -> Iterator[Batch]:
    """Yield scoring batches of one size endlessly."""
    evaluation = replace(setup.recipe.evaluation, batch_size=batch_size)
    setup = dataclasses.replace(setup, recipe=replace(setup.recipe, evaluation=evaluation))
    return equal_batches(lambda: scoring_batches(setup, part), lambda batch: len(batch[1]))


def train_on(setup: Setup, feed: Iterator[Batch], mark: Callable[[], None] = lambda: None) -> None:
    """Take one step, with marks around data, forward, backward, optimiser."""
    mark()
    x, y = next(feed)
    mark()
    step(setup, x, y, mark)


def step(setup: Setup, x: Tensor, y: Tensor, mark: Callable[[], None] = lambda: None) -> None:
    """Train on a batch, with a mark after each forward and backward pass (of each micro-batch) and the update."""
    take_step(setup, x, y, len(x), mark)
    if setup.ema is not None:
        setup.ema.update_parameters(setup.model)
    mark()


def infer_on(setup: Setup, feed: Iterator[Batch], mark: Callable[[], None] = lambda: None) -> None:
    """Score one batch, with marks around data, forward."""
    mark()
    x, _ = next(feed)
    mark()
    with setup.autocast():
        setup.scored_net(x).float()
    mark()


@dataclass
class Case:
    """Training or inference with one batch size, and its measurements."""

    setup: Setup
    kind: Kind
    batch_size: int
    own: bool
    feed: Iterator[Batch]
    times: int = 1  # batches in a round
    rows: list[list[float]] = field(default_factory=list)  # seconds of the phases, one row per batch
    shares: list[float] = field(default_factory=list)  # of the matrix product, one per round

    def run(self, watch: Stopwatch, times: int) -> list[list[float]]:
        """Run some batches back to back; return the seconds of each one's phases."""
        once = train_on if self.kind == "training" else infer_on
        self.setup.trained.train(self.kind == "training")
        self.setup.scored_net.train(self.kind == "training")
        with torch.inference_mode(self.kind == "inference"):
            for _ in range(times):
                once(self.setup, self.feed, watch.mark)
        seconds = watch.read()
        laps = (len(seconds) + 1) // times  # the last lap of a batch, except the final one, leads to the next batch
        return [self.folded(seconds[i : i + laps - 1]) for i in range(0, len(seconds), laps)]

    def folded(self, laps: list[float]) -> list[float]:
        """Sum the passes of micro-batches, to get one number per phase."""
        if self.kind == "inference":
            return laps
        data, *passes, optimiser = laps
        return [data, sum(passes[::2]), sum(passes[1::2]), optimiser]

    def warm_up(self, watch: Stopwatch) -> float:
        """Run two batches; return the seconds of the second, and set the number of batches per round."""
        seconds = sum(self.run(watch, WARM_UP)[-1])
        self.times = min(MOST_TIMES, math.ceil(TURN_S / seconds))
        return seconds

    def turn(self, watch: Stopwatch) -> float:
        """Run the batches of a round and store their times; return images/s."""
        rows = self.run(watch, self.times)
        self.rows += rows
        return self.batch_size * len(rows) / sum(map(sum, rows))
