"""Measures a recipe in rounds: every batch size between two matrix products, so that both see the same machine."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence

import torch
from msgspec.structs import replace

from rungs.run.record import DataRecord
from rungs.study.bench.ceilings import Copy, Stopwatch, fastest_product, side_by_side, timed
from rungs.study.bench.levers import Budget, Levers
from rungs.study.bench.operations import Traffic, count, operations, per_image
from rungs.study.bench.options import Tell
from rungs.study.bench.phases import WARM_UP, Case, scoring_feed, step, train_on, training_feed
from rungs.study.bench.record import PHASES, BenchRecord, Ceilings, Phase, Point, Work, spread
from rungs.study.measures import available_bytes
from rungs.training.convolutions import computed_by_torch
from rungs.training.device import is_out_of_memory, peak_memory_bytes
from rungs.training.setup import Setup

FACTORS = (0.25, 0.5, 1, 2, 4)
"""Batch sizes to try, as multiples of the recipe's own."""
FEWEST_ROUNDS, MOST_ROUNDS = 3, 12
"""Quartiles need three; twelve are enough to distinguish relevant medians."""
PROFILED = 10
"""Most steps to profile."""


class Measurement:
    """A recipe being measured: what was counted and timed so far."""

    def __init__(self, setup: Setup, levers: Levers, seconds: float, tell: Tell) -> None:
        self.setup, self.levers, self.seconds, self.tell = setup, levers, seconds, tell
        self.device = setup.world.device
        self.watch = Stopwatch(self.device)
        self.judged = setup.parts.train if setup.parts.validation is None else setup.parts.validation
        self.left_out: list[str] = []
        self.products: list[float] = []
        self.copies: list[float] = []
        self.rounds = 0

    def run(self) -> None:
        """Count, find the ceilings, measure in rounds, profile."""
        self.tell("counting operations")
        self.own = [self.case("training", self.setup.recipe.training.batch_size, own=True)]
        self.own.append(self.case("inference", self.setup.recipe.evaluation.batch_size, own=True))
        self.counts = (self.count_training(), self.count_inference())
        costs = [case.warm_up(self.watch) for case in self.own]
        self.peak_memory_bytes = peak_memory_bytes(self.device)  # before anything larger than the recipe's batches
        self.tell("measuring the ceilings")
        self.product = fastest_product(self.device, self.setup.recipe.training.precision)
        self.copy, self.by_precision = Copy(self.device), side_by_side(self.device)
        self.cases = self.choose(costs)
        self.plain = self.without_augmentation()
        self.plain_s: list[float] = []
        self.measure_rounds()
        self.tell("profiling")
        train = self.own[0]
        self.setup.scored_net.train()
        self.setup.begin_epoch(0)
        self.operations = operations(lambda: train_on(self.setup, train.feed), self.device, min(train.times, PROFILED))

    def case(self, kind: str, batch_size: int, *, own: bool = False) -> Case:
        """Prepare training or inference with a batch size, capped at the number of images."""
        if kind == "training":
            batch_size = min(batch_size, len(self.setup.parts.train))
            return Case(self.setup, "training", batch_size, own, training_feed(self.setup, batch_size))
        batch_size = min(batch_size, len(self.judged))
        return Case(self.setup, "inference", batch_size, own, scoring_feed(self.setup, self.judged, batch_size))

    def count_training(self) -> tuple[int, Traffic, int]:
        """Count one step, without its data, as if torch computed all convolutions."""
        x, y = next(self.own[0].feed)
        self.own[0].batch_size = len(x)  # a last batch of one image joins the one before it
        self.setup.begin_epoch(0)
        with computed_by_torch(self.setup.model):
            return *count(lambda: step(self.setup, x, y)), len(x)

    def count_inference(self) -> tuple[int, Traffic, int]:
        """Count one batch, without its data, as if torch computed all convolutions."""
        x, _ = next(self.own[1].feed)
        self.own[1].batch_size = len(x)
        self.setup.scored_net.eval()
        net = self.setup.scored_net
        # inference mode hides the operations inside layers
        with computed_by_torch(net), torch.no_grad(), self.setup.autocast():
            return *count(lambda: net(x).float()), len(x)

    def choose(self, costs: Sequence[float]) -> list[Case]:
        """Return the cases that fit into the budget, each warmed up: the recipe's own sizes, then the cheapest.

        The levers come before other sizes.
        """
        self.began = time.perf_counter()
        turns = FEWEST_ROUNDS + WARM_UP
        own_s = sum(cost * case.times for cost, case in zip(costs, self.own, strict=True))
        left = Budget(self.seconds, turns, self.seconds / turns - own_s)
        budget = self.levers.choose(self.own[0], costs[0], self.by_precision, left, self.tell)
        others: list[tuple[float, str, int]] = []
        for own, cost, images in zip(self.own, costs, (len(self.setup.parts.train), len(self.judged)), strict=True):
            others += [(cost * size / own.batch_size, own.kind, size) for size in sizes(own, images)]
        kept = list(self.own)
        for expected_s, kind, size in sorted(others):
            self.tell(f"warming up: {kind}, batches of {size}")
            why = self.reason_to_skip(kind, size, expected_s, budget)
            case = self.case(kind, size)
            if not why:
                try:
                    budget -= case.warm_up(self.watch) * case.times
                    kept.append(case)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    why = "not enough memory"
            if why:
                self.left_out.append(f"{kind} with batches of {size}: {why}")
        return sorted(kept, key=lambda case: (list(PHASES).index(case.kind), case.batch_size))

    def reason_to_skip(self, kind: str, size: int, expected_s: float, budget_s: float) -> str:
        """Return why to skip a batch size; "" to measure it."""
        if expected_s > budget_s:
            return f"at about {expected_s:.2g} s per batch it does not fit into {self.seconds:g} s"
        _, traffic, images = self.counts[kind == "inference"]
        needed = (
            size * sum(moved for _, moved in traffic.rows) / images / 2
        )  # each tensor is written once and read once
        if needed > available_bytes() / 2 and self.device.type == "cpu":  # the OOM killer would end the process
            return f"it would need about {needed / 1e9:.1f} GB"
        return ""

    def without_augmentation(self) -> Case | None:
        """Return a case whose feed skips augmentation, to measure augmentation separately."""
        recipe = self.setup.recipe
        if not recipe.augment.train:
            return None
        bare = replace(recipe, augment=replace(recipe.augment, train=()))
        setup = dataclasses.replace(self.setup, recipe=bare)
        size = self.own[0].batch_size
        return Case(setup, "training", size, True, training_feed(setup, size), times=self.own[0].times)

    def measure_rounds(self) -> None:
        """Measure round after round until the budget is spent."""
        last_s = 0.0
        while self.rounds < MOST_ROUNDS:
            spent = time.perf_counter() - self.began
            if self.rounds >= FEWEST_ROUNDS and spent + last_s > self.seconds:
                break
            self.rounds += 1
            self.tell(f"round {self.rounds}, {spent:.0f} s of at most about {self.seconds:.0f} s")
            self.one_round()
            last_s = time.perf_counter() - self.began - spent

    def one_round(self) -> None:
        """Measure all cases, with a matrix product before and after each, and a copy."""
        self.copies.append(self.copy.measure())
        self.products.append(self.product.measure())
        for case in self.cases:
            images_per_s = case.turn(self.watch)
            self.products.append(self.product.measure())
            ceiling = (self.products[-2] + self.products[-1]) / 2
            self.shares_of(case, images_per_s, ceiling)
            if case is self.own[0]:
                self.levers.turn(case.batch_size / images_per_s)
        if self.plain is not None:
            feed = self.plain.feed
            self.plain_s.append(timed(self.device, lambda: next(feed), self.plain.times))

    def shares_of(self, case: Case, images_per_s: float, ceiling: float) -> None:
        """Store the share of the ceiling that a case reached in this round."""
        flops, _, images = self.counts[case.kind == "inference"]
        case.shares.append(images_per_s * flops / images / ceiling)

    def record(self, data: DataRecord) -> BenchRecord:
        """Return the record, with the slowed recipe and without start and duration, which `measure` fills in."""
        product, copy = spread(self.products), spread(self.copies)
        training, inference = (
            per_image(flops, traffic, images, product.median, copy.median) for flops, traffic, images in self.counts
        )
        points = tuple(point(case, training if case.kind == "training" else inference) for case in self.cases)
        data_s = statistics.median(row[0] for row in self.own[0].rows)
        return BenchRecord(
            recipe=self.setup.recipe,
            data=data,
            model=self.setup.description,
            environment=self.setup.environment,
            on_gpu=self.device.type == "cuda",
            threads=torch.get_num_threads(),
            started="",
            wall_s=0.0,
            ceilings=Ceilings(
                precision=self.product.precision,
                matmul=product,
                matmul_size=self.product.size,
                copy=copy,
                copy_bytes=self.copy.bytes,
                by_precision=self.by_precision,
            ),
            training=training,
            inference=inference,
            points=points,
            augmentation_s=max(0.0, data_s - statistics.median(self.plain_s)) if self.plain_s else None,
            operations=self.operations,
            peak_memory_bytes=self.peak_memory_bytes,
            left_out=tuple(self.left_out),
            rounds=self.rounds,
            levers=self.levers.results(),
        )


def sizes(own: Case, images: int) -> list[int]:
    """Return the other batch sizes to try; for inference also a single image."""
    fewest = 2 if own.kind == "training" else 1
    tried = {max(fewest, round(own.batch_size * factor)) for factor in FACTORS}
    if own.kind == "inference":
        tried.add(1)
    return sorted(size for size in tried if size <= images and size != own.batch_size)


def point(case: Case, work: Work) -> Point:
    """Summarise a case."""
    seconds = spread([sum(row) for row in case.rows])
    total = sum(map(sum, case.rows))
    names = PHASES[case.kind]
    columns = list(zip(*case.rows, strict=True))
    phases = [
        Phase(name=name, seconds=spread(column), share=sum(column) / total)
        for name, column in zip(names, columns, strict=True)
    ]
    images_per_s = case.batch_size / seconds.median
    return Point(
        kind=case.kind,
        batch_size=case.batch_size,
        own=case.own,
        seconds=seconds,
        phases=tuple(phases),
        images_per_s=images_per_s,
        flops_per_s=images_per_s * work.flops,
        share=spread(case.shares),
    )
