"""Levers: choices that decide only speed, each measured in turns with the recipe's own training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import TrainingSpec
from rungs.study.bench import words
from rungs.study.bench.ceilings import Stopwatch
from rungs.study.bench.options import Tell
from rungs.study.bench.phases import Case, training_feed
from rungs.study.bench.record import Lever, LeverName, spread
from rungs.training.device import is_out_of_memory
from rungs.training.memory import keep_freed_memory, return_freed_memory
from rungs.training.precision import lacks_bf16
from rungs.training.setup import Setup

COMPILING_S = 60.0
"""Seconds that compiling a net is expected to take: about a minute on two cores."""
DIRECT = 2.0
"""How many times as long a step is expected to take at most with direct convolutions."""
AROUND = 2
"""Steps around each turn with memory returned: one until its blocks are gone, one until they are there again."""

OTHER = {
    "winograd": "direct",
    "fast": "direct",
    "direct": "fast",
    "bf16": "fp32",
    "fp32": "bf16",
    "kept": "returned",
    "no": "yes",
    "yes": "no",
}
NO_FASTER = "no convolution has a faster way than the direct one here"


@dataclass
class Budget:
    """The time that a bench has, and what of it no case has taken yet."""

    seconds: float
    turns: int  # rounds, and those to warm up
    left_s: float  # of each turn
    wanted_s: float = 0.0  # of each turn, by what did not fit

    def missing(self, cost_s: float) -> str:
        """Return what to say if too little is left for what takes `cost_s` in each turn; "" if it is enough."""
        if cost_s <= self.left_s:
            return ""
        self.wanted_s += cost_s  # with more seconds, what comes first is measured first
        enough = 10 * math.ceil(1.1 * (self.seconds + self.turns * (self.wanted_s - self.left_s)) / 10)
        return f"raise --seconds to about {enough}"


@dataclass
class Trial:
    """A lever that is measured, and the ratios so far: seconds the other way / seconds of the recipe's way."""

    lever: Lever
    case: Case
    around: Callable[[Case], AbstractContextManager[None]]
    ratios: list[float] = field(default_factory=list)

    def turn(self, watch: Stopwatch, own_s: float) -> None:
        """Take steps the other way, right after the recipe's own took `own_s` seconds each."""
        with self.around(self.case):
            rows = self.case.run(watch, self.case.times)
        self.ratios.append(sum(map(sum, rows)) / len(rows) / own_s)


class Levers:
    """The levers of a recipe on this machine.

    Args:
        asked: The recipe's fields before "auto" was resolved: with another precision, another convolution may be best.
        build: Assembles a setup of the recipe with other fields; all setups share the data.
        setup: The recipe's own.
    """

    def __init__(self, asked: TrainingSpec, build: Callable[[TrainingSpec], Setup], setup: Setup) -> None:
        self.asked, self.build, self.setup = asked, build, setup
        self.watch = Stopwatch(setup.world.device)
        self.levers: list[Lever] = []
        self.trials: list[Trial] = []

    def choose(self, own: Case, step_s: float, rates: Mapping[str, float], budget: Budget, tell: Tell) -> float:
        """Warm up the levers that fit into the budget; return the seconds of a turn that are then left.

        Args:
            own: The recipe's training step.
            step_s: Its seconds.
            rates: FLOP/s of a matrix product by precision.
            budget: What there is.
            tell: Called with short progress messages.
        """
        for lever in self.available():
            cost_s = own.times * step_s * self.slowdown(lever, rates)
            cost_s += AROUND * step_s if lever.name == "memory" else 0.0
            cost_s += COMPILING_S / budget.turns if self.compiles(lever) else 0.0
            why_not = lever.why_not or budget.missing(cost_s)
            if not why_not:
                tell(f"warming up: {lever.name}, {words.way(lever.other)}")
                why_not = self.begin(lever, own)
                budget.left_s -= 0.0 if why_not else cost_s
            self.levers.append(replace(lever, why_not=why_not))
        return budget.left_s

    def available(self) -> Iterator[Lever]:
        """Yield the levers that this machine has, the cheapest to measure first."""
        training, device = self.setup.recipe.training, self.setup.world.device
        on_cpu = device.type == "cpu"
        if on_cpu:
            nothing_found = training.convolution == "direct" and self.asked.convolution != "direct"
            why_not = NO_FASTER if nothing_found else ""
            yield compared("convolution", training.convolution, why_not)
        why_not = lacks_bf16(device) if training.precision == "fp32" else ""
        yield compared("precision", training.precision, why_not)
        if on_cpu:
            done = keep_freed_memory()
            yield compared("memory", "kept", "" if done.startswith("kept") else f"memory is {done}")
        yield compared("compile", training.compile)

    def compiles(self, lever: Lever) -> bool:
        """Return whether a net must be compiled to go the other way."""
        return lever.name != "memory" and self.other_way(lever).compile == "yes"

    def slowdown(self, lever: Lever, rates: Mapping[str, float]) -> float:
        """Return how many times as long as the recipe's step a step the other way is expected to take at most."""
        direct = 1.0 if self.setup.recipe.training.convolution == "direct" else DIRECT
        if lever.name == "precision":
            return direct * max(1.0, rates[lever.used] / rates[lever.other])
        return direct if lever.name == "convolution" else 1.0

    def begin(self, lever: Lever, own: Case) -> str:
        """Build a case that goes the other way and warm it up; return why that was not possible, or ""."""
        if lever.name == "memory":
            self.trials.append(Trial(lever, own, self.memory_returned))
            return ""
        try:
            setup = self.build(self.other_way(lever))
            if lever.other == "fast" and setup.recipe.training.convolution == "direct":
                return NO_FASTER
            case = Case(setup, "training", own.batch_size, False, training_feed(setup, own.batch_size))
            case.warm_up(self.watch)
        except Exception as error:  # a compiler, or a missing one, may raise anything
            if self.compiles(lever):
                return f"compiling failed: {type(error).__name__}"
            if isinstance(error, UserError) or is_out_of_memory(error):
                return "not enough memory"
            raise
        self.trials.append(Trial(lever, case, as_it_is))
        return ""

    def other_way(self, lever: Lever) -> TrainingSpec:
        """Return the recipe's fields with a lever the other way; another precision may take another convolution."""
        if lever.name == "precision":
            convolution = "direct" if self.asked.convolution == "direct" else "auto"
            return replace(self.asked, precision=lever.other, convolution=convolution)
        resolved = self.setup.recipe.training
        if lever.name == "convolution":
            return replace(resolved, convolution=lever.other)
        return replace(resolved, compile=lever.other)

    @contextmanager
    def memory_returned(self, case: Case) -> Iterator[None]:
        """Return freed memory to the system meanwhile; steps in between let go of the blocks and get them back."""
        return_freed_memory()
        try:
            case.run(self.watch, 1)
            yield
        finally:
            keep_freed_memory()
        case.run(self.watch, 1)

    def turn(self, own_s: float) -> None:
        """Take all turns of a round, right after the recipe's own step took `own_s` seconds."""
        for trial in self.trials:
            trial.turn(self.watch, own_s)

    def results(self) -> tuple[Lever, ...]:
        """Return the levers with what each gained."""
        gains = {trial.lever.name: spread(trial.ratios) for trial in self.trials}
        return tuple(replace(lever, gain=gains.get(lever.name)) for lever in self.levers)


def compared(name: LeverName, used: str, why_not: str = "") -> Lever:
    """Return a lever that is compared with the other way."""
    return Lever(name=name, used=used, other=OTHER[used], why_not=why_not)


def as_it_is(case: Case) -> AbstractContextManager[None]:
    """Change nothing around a turn."""
    return nullcontext()
