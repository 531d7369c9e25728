"""How many workers train the cells of a study in parallel, and with how many threads each.

A small net cannot use many threads: two workers with one thread each may train more images a second than one with
two. A probe of seconds tells: it times steps with all threads and with each possible share of them, here, in turns.
A step next to other workers takes about as long as alone (measured: bench/README.md).
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from rungs.evaluate.device import open_device
from rungs.recipe.identity import code_version
from rungs.recipe.spec import Recipe
from rungs.report.format import many
from rungs.study.ladder.pace import speed_key
from rungs.study.ladder.probe import harmless, shortened
from rungs.study.measures import available_bytes
from rungs.study.processes import MOST_JOBS, threads_each
from rungs.training.device import World, is_out_of_memory
from rungs.training.feed import batches_of_members
from rungs.training.memory import keep_freed_memory, return_freed_memory
from rungs.training.remembered import remembered
from rungs.training.setup import Setup
from rungs.training.step import Stepper

LEAST_GAIN = 1.05
"""More workers must be this much faster than fewer."""
WORTH_S = 30.0
"""A study that one worker would train in less time is not probed."""
TURNS, TURN_S, LONGEST_STEP_S = 4, 0.15, 0.5
"""Turns of each number of threads (the first warms up), the seconds of a turn, and the most that a step may take: of a
larger net a part of the batch is timed."""
BUSY = 1.5
"""Next to other work, threads wait for one another: a step with all of them that takes this many times as long as with
one says nothing of the net."""
FIRST_IMAGES = 16
"""Images of the step that tells how many images are timed."""
IMPORTS_BYTES = 350e6
"""Memory of a process that has imported torch."""


@dataclass(frozen=True)
class Jobs:
    """How many workers train in parallel, and the sentence that says why; "" where nothing was measured."""

    number: int
    reason: str = ""


class Probe(msgspec.Struct, frozen=True):
    """What a probe measured."""

    step_s: tuple[tuple[int, float], ...]  # number of threads, seconds of a step with them
    worker_bytes: float  # memory of a worker


class _NoAnswer(Exception):  # noqa: N818 (an outcome, not an error)
    """The study is too short to be worth a probe, or other work on the machine disturbs it."""


def choose_jobs(recipe: Recipe, cells: int, pack: int = 1) -> Jobs:
    """Choose how many workers train a study.

    Args:
        recipe: What its cells train, up to a few fields.
        cells: Number of cells, or packs of cells, to train.
        pack: How many seeds are trained together.
    """
    threads = torch.get_num_threads()
    most = 1 if torch.cuda.is_available() else max(1, min(threads, MOST_JOBS, cells))
    if most == 1:
        return Jobs(1)
    key = msgspec.json.encode(speed_key(recipe), enc_hook=str).decode()
    question = f"jobs: {key}; packs of {pack}; {threads} threads; rungs {code_version()}"
    try:
        probe = remembered(question, Probe, lambda: _probe(recipe, cells, pack))
    except Exception as error:  # no answer, or a study that fails: its cells will say why
        return Jobs(1 if is_out_of_memory(error) else most)
    return _fastest(probe, threads, cells, most)


def _fastest(probe: Probe, threads: int, cells: int, most: int) -> Jobs:
    """Return the number of workers that trains equal cells in the least time, the smaller one where it is close."""
    step_s = dict(probe.step_s)
    fits = max(1, min(most, int(available_bytes() / probe.worker_bytes)))
    times = {jobs: -(-cells // jobs) * step_s[threads_each(jobs, threads)] for jobs in range(1, most + 1)}
    best = 1
    for jobs in range(2, fits + 1):
        if times[jobs] * LEAST_GAIN < times[best]:
            best = jobs
    short = f"; memory allows {fits}" if fits < most else ""
    return Jobs(best, _reason(times, best, threads) + short)


def _reason(times: Mapping[int, float], best: int, threads: int) -> str:
    if best == 1:
        rival = min(set(times) - {1}, key=times.__getitem__)
        share = many(threads_each(rival, threads), "thread")
        gain = f"{rival} with {share} each would be {times[1] / times[rival]:.2f} times as fast, measured"
        return f"1 worker with {many(threads, 'thread')}: {gain}"
    gain = f"{times[1] / times[best]:.1f} times as fast as one with {threads}, measured"
    return f"{best} workers with {many(threads_each(best, threads), 'thread')} each: {gain}"


def _probe(recipe: Recipe, cells: int, pack: int) -> Probe:
    """Time steps with each number of threads that a worker may get; the batch may be cut, see `LONGEST_STEP_S`."""
    keep_freed_memory()
    threads, before = torch.get_num_threads(), _resident_bytes()
    try:
        setup, images = shortened(harmless(recipe), World(0, 1, open_device()), pack)
        setup.begin_epoch(0)
        batch, take = len(setup.parts.train), Stepper(setup)
        few = min(batch, FIRST_IMAGES)
        image_s = min(_step_s(setup, take, few) for _ in range(2)) / few
        if image_s * images["train"] * recipe.training.epochs * cells < WORTH_S:
            raise _NoAnswer
        loaded = _resident_bytes()  # with gradients and the optimiser's state
        timed = max(few, min(batch, int(LONGEST_STEP_S / image_s)))
        step_s = _in_turns(setup, take, timed)
        if step_s[threads] > BUSY * step_s[min(step_s)]:
            raise _NoAnswer
        grown = (_resident_bytes() - loaded) * batch / timed
        return Probe(tuple(step_s.items()), IMPORTS_BYTES + max(0.0, loaded - before + grown))
    finally:
        torch.set_num_threads(threads)
        return_freed_memory()  # this process now only waits for its workers


def _in_turns(setup: Setup, take: Stepper, images: int) -> dict[int, float]:
    """Return the seconds of a step by number of threads, each of its fastest turn."""
    threads = torch.get_num_threads()
    turns: dict[int, list[float]] = {threads_each(jobs, threads): [] for jobs in range(1, MOST_JOBS + 1)}
    for _ in range(TURNS):
        for number, times in turns.items():
            torch.set_num_threads(number)
            steps, began = 0, time.perf_counter()
            while steps == 0 or time.perf_counter() - began < TURN_S:
                _step_s(setup, take, images)
                steps += 1
            times.append((time.perf_counter() - began) / steps)
    return {number: min(times[1:]) for number, times in turns.items()}


def _step_s(setup: Setup, take: Stepper, images: int) -> float:
    """Return the seconds of a step of the first images of a batch, with their share of preparing it."""
    began = time.perf_counter()
    batch, labels, whole = next(batches_of_members(setup, 0))
    fed = time.perf_counter()
    take(batch[:images], labels[:images], images)
    return (fed - began) * images / whole + time.perf_counter() - fed


def _resident_bytes() -> int:
    """Return the memory of this process; 0 where the system does not tell."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * mmap.PAGESIZE if path.exists() else 0
