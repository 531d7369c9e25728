"""Whether `torch.compile` pays off for a run: a short trial on a copy of the net, with its result in a sentence."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.models.winograd import WinogradConv2d
from rungs.training.resume import CHOSEN_BEFORE
from rungs.training.setup import Setup
from rungs.training.step import replayable

WORTH_A_TRIAL_S = 20 * 60.0
"""A trial costs about a minute, mostly for compiling: a shorter run would hardly gain."""

LEAST_GAIN = 1.05
"""A smaller speedup is noise."""

TRIAL_IMAGES = 64
"""Images per step of a trial: few, because a net may be large."""


def choose_compiling(setup: Setup, asked: str, say: Callable[[str], None]) -> None:
    """Decide whether to compile, and record the choice in the setup's recipe and the reason in its environment.

    Args:
        setup: The run's; its net is copied, not touched.
        asked: The recipe's value before `resume.chosen_before`.
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


def _try_it(setup: Setup, say: Callable[[str], None]) -> tuple[Literal["no", "yes"], str]:
    if setup.world.size > 1:
        return "no", "not tried: the ranks could choose differently"
    if any(isinstance(module, WinogradConv2d) for module in setup.model.modules()):
        return "no", "Winograd's convolutions are products of matrices, which compiling does not make faster"
    x, y = _trial_batch(setup)
    try:
        plain_s = _step_s(setup, copy.deepcopy(setup.model), x, y)
    except Exception as error:  # a recording on this GPU may raise anything
        return "no", f"the trial failed: {type(error).__name__}"
    run_s = plain_s / len(x) * len(setup.parts.train) * setup.recipe.training.epochs
    if run_s < WORTH_A_TRIAL_S:
        return "no", "too short a run to win back the time of compiling"
    say("testing whether compiling the net pays off; this takes about a minute")
    try:
        compiled = copy.deepcopy(setup.model)
        compiled.compile(dynamic=False)
        compiled_s = _step_s(setup, compiled, x, y)
    except Exception as error:  # a compiler, or a missing one, may raise anything
        return "no", f"compiling failed: {type(error).__name__}"
    measured = f"{1e3 * plain_s:.0f} ms a step of {len(x)} images uncompiled, {1e3 * compiled_s:.0f} ms compiled"
    return ("yes" if plain_s > LEAST_GAIN * compiled_s else "no"), measured


def _trial_batch(setup: Setup) -> tuple[Tensor, Tensor]:
    images = min(
        TRIAL_IMAGES, len(setup.parts.train), setup.recipe.training.micro_batch or setup.recipe.training.batch_size
    )
    size, device = setup.parts.train.image_size, setup.world.device
    x = torch.zeros(images, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    return x, torch.zeros(images, dtype=torch.int64, device=device)


def _step_s(setup: Setup, model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the seconds of a forward and a backward pass, the fastest of three after one to warm up."""

    def once() -> None:
        model.zero_grad(set_to_none=True)
        with setup.autocast():
            logits = model(x)
        torch.autograd.backward(F.cross_entropy(logits.float(), y))

    do, times = replayable(once) if setup.records else once, []
    for _ in range(4):
        began = time.perf_counter()
        do()
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])
