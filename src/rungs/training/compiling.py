"""Whether `torch.compile` pays off for a run: a trial on a copy of the net, its result in a sentence.

A trial may take a twentieth of the run that it might speed up, not more. What it measured is kept (see
`rungs.training.remembered`), so that the cells of a climb share one trial; whether compiling pays is decided anew for
each run, by its length.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias

import msgspec
import torch
from filelock import Timeout
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.models.fast_convolution import FastConv2d
from rungs.recipe.identity import code_version
from rungs.training.device import is_out_of_memory
from rungs.training.remembered import remembered
from rungs.training.resume import CHOSEN_BEFORE
from rungs.training.setup import Setup
from rungs.training.step import replayable

MOST_OF_A_RUN = 0.05
"""Share of a run's time that a trial may take."""

LEAST_TRIAL_S = 30.0
"""A trial that may take less is not begun: compiling takes about this long."""

AGAIN = 2.0
"""A trial that failed or ran out of time is repeated by a run that allows this many times as much."""

LEAST_GAIN = 1.05
"""A smaller speedup is noise."""

TRIAL_IMAGES = 64
"""Images per step of a trial: few, because a net may be large."""

PASSES = 4
"""Forward and backward passes that are timed; the first warms up."""

TOO_SHORT = "too short a run to win back the time of compiling"

Decision: TypeAlias = tuple[Literal["no", "yes"], str]
"""Whether to compile, and why."""


class Trial(msgspec.Struct, frozen=True):
    """What a trial measured; without `compiled_s` it failed or ran out of time."""

    given_s: float  # its time limit
    plain_s: float = 0.0  # a forward and a backward pass, uncompiled
    compiled_s: float | None = None
    compiling_s: float = 0.0
    failure: str = ""  # the error's type


class _TimeIsUp(BaseException):
    """Ends a trial. No `Exception`: the compiler catches those and goes on."""


def choose_compiling(setup: Setup, asked: str, say: Callable[[str], None]) -> None:
    """Decide whether to compile, and record the choice in the setup's recipe and the reason in its environment.

    Args:
        setup: The run's; its net is copied, not touched.
        asked: The recipe's value, "auto" also where a resumed run keeps its choice.
        say: Prints a line before a trial, which takes a while.
    """
    training = setup.recipe.training
    choice, reason = training.compile, "the recipe asks for it" if asked != "auto" else CHOSEN_BEFORE
    if training.compile == "auto":
        choice, reason = _try_it(setup, say)
    setup.recipe = replace(setup.recipe, training=replace(training, compile=choice))
    setup.environment = replace(setup.environment, compile_reason=reason)


def compile_net(setup: Setup) -> None:
    """Compile the net of a setup in place; the weights keep their names. The first step at each image size compiles."""
    if setup.recipe.training.compile == "yes":
        setup.model.compile(dynamic=False)


def _try_it(setup: Setup, say: Callable[[str], None]) -> Decision:
    training = setup.recipe.training
    if setup.parts.train.pixels.is_floating_point():
        return "no", "only the head is trained, on features that its body computed before"
    if setup.world.size > 1:
        return "no", "not tried: the ranks could choose differently"
    fast = [module for module in setup.model.modules() if isinstance(module, FastConv2d)]
    if any("winograd" in layer.ways.values() for layer in fast):
        return "no", "Winograd's convolutions are products of matrices, which compiling does not make faster"
    if not _can_limit_time():
        return "no", "not tried: the time of a trial can be limited in a program's main thread alone"
    x, y = _trial_batch(setup)
    images = len(setup.parts.train) * training.epochs
    if PASSES * len(x) > MOST_OF_A_RUN * images:
        return "no", TOO_SHORT
    question = _question(setup, len(x))
    try:
        plain_s = remembered(f"a step of {question}", float, lambda: _step_s(setup, copy.deepcopy(setup.model), x, y))
    except Exception as error:  # a recording on this GPU may raise anything
        return "no", f"the trial failed: {type(error).__name__}"
    scale = statistics.mean([scale**2 for scale in training.image_scales] or [1.0])  # work grows with the pixels
    run_s = plain_s / len(x) * images * scale
    if MOST_OF_A_RUN * run_s < LEAST_TRIAL_S:
        return "no", TOO_SHORT
    return _tried(setup, x, y, f"compiling {question}", run_s, say)


def _tried(setup: Setup, x: Tensor, y: Tensor, question: str, run_s: float, say: Callable[[str], None]) -> Decision:
    """Decide by a trial, by one made before, or by one that another process is making now."""
    given_s, made = MOST_OF_A_RUN * run_s, list[Trial]()

    def measure() -> Trial:
        say(f"testing whether compiling the net pays off; this takes {given_s:.0f} s at most")
        made.append(_trial(setup, x, y, given_s))
        return made[0]

    def enough(trial: Trial) -> bool:
        return trial.compiled_s is not None or given_s < AGAIN * trial.given_s

    try:
        trial = remembered(question, Trial, measure, accept=enough, wait_s=given_s)
    except Timeout:
        return "no", "not tried: another process is still trying it"
    except Exception as error:  # out of memory, perhaps only now
        return "no", f"compiling failed: {type(error).__name__}"
    choice, reason = _decide(trial, len(x), run_s, len(set(setup.recipe.training.image_scales)) or 1)
    return choice, reason if made else f"{reason}; measured before on this machine"


def _decide(trial: Trial, images: int, run_s: float, sizes: int) -> Decision:
    """Decide from what a trial measured.

    Args:
        trial: It.
        images: In each of its steps.
        run_s: Seconds of the run, uncompiled.
        sizes: Sizes of images; the net is compiled for each.
    """
    if trial.failure:
        return "no", f"compiling failed: {trial.failure}"
    if trial.compiled_s is None:
        return "no", f"compiling takes longer than {trial.given_s:.0f} s"
    measured = (
        f"{1e3 * trial.plain_s:.0f} ms a step of {images} images uncompiled, {1e3 * trial.compiled_s:.0f} ms compiled, "
        f"after {trial.compiling_s:.0f} s of compiling"
    )
    if trial.plain_s < LEAST_GAIN * trial.compiled_s:
        return "no", measured
    saved_s = run_s * (1 - trial.compiled_s / trial.plain_s)
    if saved_s < sizes * trial.compiling_s:
        return "no", f"{measured}, more than this run would save"
    return "yes", measured


def _question(setup: Setup, images: int) -> str:
    """Return everything on which the outcome of a trial depends, but for the machine."""
    recipe, size, classes = setup.recipe, setup.parts.train.image_size, len(setup.parts.train.classes)
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or "no C++ compiler"
    parts = (
        msgspec.json.encode(recipe.model, enc_hook=str).decode(),
        f"{images} images of {size} pixels, {classes} classes",
        f"{setup.description.parameters} parameters, {setup.description.flops} FLOPs",
        f"{recipe.training.precision}, recorded: {setup.records}",
        msgspec.json.encode(setup.environment.convolutions).decode(),
        f"{torch.get_num_threads()} threads, rungs {code_version()}, {compiler}",
    )
    return "; ".join(parts)


def _trial_batch(setup: Setup) -> tuple[Tensor, Tensor]:
    images = min(
        TRIAL_IMAGES, len(setup.parts.train), setup.recipe.training.micro_batch or setup.recipe.training.batch_size
    )
    size, device = setup.parts.train.image_size, setup.world.device
    x = torch.zeros(images, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    return x, torch.zeros(images, dtype=torch.int64, device=device)


def _trial(setup: Setup, x: Tensor, y: Tensor, given_s: float) -> Trial:
    """Compile a copy of the net and time it beside a plain one, for `given_s` seconds at most."""
    began = time.perf_counter()
    try:
        from torch._inductor import compile_fx, config  # noqa: F401 (an import that is cut short cannot be repeated)

        left_s = max(0.001, given_s - (time.perf_counter() - began))
        # compilers run in this thread, one at a time, so that they end with the trial
        with _time_limit(left_s), config.patch(compile_threads=1):
            # plain first: the compiled net's threads would slow it down
            plain_s = _step_s(setup, copy.deepcopy(setup.model), x, y)
            compiled = copy.deepcopy(setup.model)
            compiled.compile(dynamic=False)
            began = time.perf_counter()
            step = _step(setup, compiled, x, y)
            _seconds(step, x)
            compiling_s = time.perf_counter() - began
            compiled_s = _fastest_s(step, x)
    except _TimeIsUp:
        return Trial(given_s)
    except Exception as error:  # a compiler, or a missing one, may raise anything
        if is_out_of_memory(error):
            raise
        return Trial(given_s, failure=type(error).__name__)
    return Trial(given_s, plain_s, compiled_s, compiling_s)


def _step_s(setup: Setup, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the seconds of a forward and a backward pass."""
    return _fastest_s(_step(setup, model, x, y), x)


def _fastest_s(step: Callable[[], None], x: Tensor) -> float:
    """Return the seconds of a step, the fastest after one to warm up."""
    return min([_seconds(step, x) for _ in range(PASSES)][1:])


def _step(setup: Setup, model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """Return a function that does a forward and a backward pass; where steps are recorded, it replays one."""

    def once() -> None:
        model.zero_grad(set_to_none=True)
        with setup.autocast():
            logits = model(x)
        torch.autograd.backward(F.cross_entropy(logits.float(), y))

    return replayable(once) if setup.records else once


def _seconds(step: Callable[[], None], x: Tensor) -> float:
    began = time.perf_counter()
    step()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _can_limit_time() -> bool:
    """Return whether `_time_limit` works here: in the main thread, where nobody else uses the timer."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
        and signal.getsignal(signal.SIGALRM) is not None
    )


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise `_TimeIsUp` in this block after some seconds."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, should Python drop the first exception
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm may have come before the line above
        signal.signal(signal.SIGALRM, before)
