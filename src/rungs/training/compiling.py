"""Whether `torch.compile` pays for a run: a short trial on a copy of the net, and a sentence on what it found."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.recipe.spec import Recipe
from rungs.recipe.toml import read
from rungs.run.folder import RunDir
from rungs.training.setup import Setup
from rungs.training.step import replayable

WORTH_A_TRIAL_S = 20 * 60.0
"""A trial costs about a minute, mostly of compiling: a shorter run could not win it back by much."""

LEAST_GAIN = 1.05
"""A smaller one is noise."""

TRIAL_IMAGES = 64
"""Images of a trial's steps: few, since a net may be large."""


def chosen_before(recipe: Recipe, folder: RunDir) -> Recipe:
    """Return a recipe with the choice of its run's first session: a second trial could fall out otherwise."""
    if recipe.training.compile != "auto" or not folder.recipe.exists():
        return recipe
    return replace(recipe, training=replace(recipe.training, compile=read(folder.recipe).training.compile))


def choose_compiling(setup: Setup, asked: str, say: Callable[[str], None]) -> None:
    """Put into a setup's recipe whether to compile, and why into its environment.

    Args:
        setup: The run's; its net is copied, not touched.
        asked: What the recipe said before `chosen_before`.
        say: Told before a trial begins, because it takes a while.
    """
    training = setup.recipe.training
    choice, reason = training.compile, "the recipe asks for it" if asked != "auto" else "chosen when the run began"
    if training.compile == "auto":
        choice, reason = _try_it(setup, say)
    setup.recipe = replace(setup.recipe, training=replace(training, compile=choice))
    setup.environment = replace(setup.environment, compile_reason=reason)


def compile_net(setup: Setup) -> None:
    """Compile the net of a setup in place; names of weights stay. The first step at each image size waits for it."""
    if setup.recipe.training.compile == "yes":
        setup.model.compile(dynamic=False)


def _try_it(setup: Setup, say: Callable[[str], None]) -> tuple[Literal["no", "yes"], str]:
    if setup.world.size > 1:
        return "no", "not tried: each rank could find another answer"
    if setup.recipe.training.convolution == "winograd":
        return "no", "Winograd's convolutions are products of matrices, which compiling does not make faster"
    x, y = _trial_batch(setup)
    try:
        plain_s = _step_s(setup, copy.deepcopy(setup.model), x, y)
    except Exception as error:  # whatever a recording on this GPU raises
        return "no", f"the trial failed: {type(error).__name__}"
    run_s = plain_s / len(x) * len(setup.parts.train) * setup.recipe.training.epochs
    if run_s < WORTH_A_TRIAL_S:
        return "no", "too short a run to win back the time of compiling"
    say("trying whether compiling the net pays; this takes about a minute")
    try:
        compiled = copy.deepcopy(setup.model)
        compiled.compile(dynamic=False)
        compiled_s = _step_s(setup, compiled, x, y)
    except Exception as error:  # whatever a compiler, or its absence, raises
        return "no", f"compiling failed: {type(error).__name__}"
    measured = f"{1e3 * plain_s:.0f} ms a step of {len(x)} images as it is, {1e3 * compiled_s:.0f} ms compiled"
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
