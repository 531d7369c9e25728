"""One batch of training or inference in its phases, as the loop and the scoring take it, with a mark between two."""

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
TURN_S, MOST_TIMES = 0.15, 30
"""In each round a case runs for about so long, at most so many batches: small ones need more to be told from noise."""


def again(make: Callable[[], Iterator[T]], images: Callable[[T], int]) -> Iterator[T]:
    """Yield the batches of `make()` over and over, those alone that have as many images as the first."""
    size = None
    for _ in count():
        for batch in make():
            size = images(batch) if size is None else size
            if images(batch) == size:
                yield batch


def training_feed(setup: Setup, batch_size: int) -> Iterator[Batch]:
    """Yield training batches of one size without end: the last epoch's, over and over."""
    training = replace(setup.recipe.training, batch_size=batch_size)
    setup = dataclasses.replace(setup, recipe=replace(setup.recipe, training=training))
    epochs = again(lambda: training_batches(setup, training.epochs - 1), lambda batch: len(batch[1]))
    return ((x, y) for x, y, _ in epochs)


def scoring_feed(setup: Setup, part: ImageSet, batch_size: int) -> Iterator[Batch]:
    """Yield scoring batches of one size without end."""
    evaluation = replace(setup.recipe.evaluation, batch_size=batch_size)
    setup = dataclasses.replace(setup, recipe=replace(setup.recipe, evaluation=evaluation))
    return again(lambda: scoring_batches(setup, part), lambda batch: len(batch[1]))


def train_on(setup: Setup, feed: Iterator[Batch], mark: Callable[[], None] = lambda: None) -> None:
    """Take one step, with marks around data, forward, backward, optimiser."""
    mark()
    x, y = next(feed)
    mark()
    step(setup, x, y, mark)


def step(setup: Setup, x: Tensor, y: Tensor, mark: Callable[[], None] = lambda: None) -> None:
    """Train on a batch, with a mark behind each forward and backward pass (of each micro-batch) and the update."""
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
    """Training or inference with one batch size, and what was measured of it."""

    setup: Setup
    kind: Kind
    batch_size: int
    own: bool
    feed: Iterator[Batch]
    times: int = 1  # batches in a round
    rows: list[list[float]] = field(default_factory=list)  # seconds of the phases, a row a batch
    shares: list[float] = field(default_factory=list)  # of the matrix product, one a round

    def run(self, watch: Stopwatch, times: int) -> list[list[float]]:
        """Run some batches without waiting between them; return the seconds of each one's phases."""
        once = train_on if self.kind == "training" else infer_on
        self.setup.trained.train(self.kind == "training")
        self.setup.scored_net.train(self.kind == "training")
        with torch.inference_mode(self.kind == "inference"):
            for _ in range(times):
                once(self.setup, self.feed, watch.mark)
        seconds = watch.read()
        laps = (len(seconds) + 1) // times  # the last of each batch, but for the very last, leads to the next batch
        return [self.folded(seconds[i : i + laps - 1]) for i in range(0, len(seconds), laps)]

    def folded(self, laps: list[float]) -> list[float]:
        """Add up the passes of micro-batches, so that there is one number a phase."""
        if self.kind == "inference":
            return laps
        data, *passes, optimiser = laps
        return [data, sum(passes[::2]), sum(passes[1::2]), optimiser]

    def warm_up(self, watch: Stopwatch) -> float:
        """Run two batches; return the seconds of the second, and decide how many a round has."""
        seconds = sum(self.run(watch, 2)[1])
        self.times = min(MOST_TIMES, math.ceil(TURN_S / seconds))
        return seconds

    def turn(self, watch: Stopwatch) -> float:
        """Run the batches of a round and keep what they took; return images/s."""
        rows = self.run(watch, self.times)
        self.rows += rows
        return self.batch_size * len(rows) / sum(map(sum, rows))
