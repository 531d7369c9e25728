"""Which precision training computes in, bf16 or fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from rungs.errors import UserError
from rungs.models.describe import run_blank
from rungs.models.efficientnet_lite import Inverted
from rungs.models.fast_convolution import FastConv2d, is_depthwise
from rungs.training.device import World
from rungs.training.remembered import remembered

LEAST_GAIN = 1.5
"""bf16 pays off on a CPU if its matrix product is this much faster: Winograd's convolution, up to 1.7 times as fast as
the direct one, needs fp32."""
LEAST_DEPTHWISE_GAIN = 1.2
"""The same of a block of a depthwise net, for which there is no Winograd: less is noise."""
PRODUCT = 512
"""Rows and columns of the matrices that are multiplied to compare precisions: milliseconds on any chip."""
ROUNDS = 10
BLOCK = (16, 24, 56, 56)
"""Images, channels, height and width of the maps of a depthwise block that is timed: half a second a round."""
BLOCK_ROUNDS = 3


def pick_precision(choice: str, device: torch.device, *, depthwise: bool = False) -> tuple[str, str]:
    """Return "bf16" or "fp32" and the reason for it.

    Args:
        choice: "auto", "bf16" or "fp32", from a recipe.
        device: Where it will run.
        depthwise: Whether the net's convolutions are depthwise: these and its norms wait for memory, so that a matrix
            product does not tell which precision is faster.
    """
    if choice != "auto":
        return choice, "the recipe asks for it"
    fast, reason = _fast_bf16(device, depthwise)
    return ("bf16" if fast else "fp32"), reason


def precision_of(net: nn.Module, choice: str, world: World, sizes: Iterable[int]) -> tuple[str, str]:
    """Return "bf16" or "fp32" for the training of a net, and the reason for it.

    Args:
        net: On the CPU; takes float (B, 3, size, size).
        choice: "auto", "bf16" or "fp32", from a recipe.
        world: Where it is trained.
        sizes: The sizes of images that it sees, in pixels.

    Raises:
        UserError: The recipe asks for bf16, and this net cannot be trained in it there.
    """
    depthwise = is_mostly_depthwise(net)
    precision, reason = world.agree(lambda: pick_precision(choice, world.device, depthwise=depthwise))
    if precision == "bf16" and world.device.type == "cpu" and (name := strided_past_its_map(net, sizes)):
        what = f"{name} has a stride larger than the map that it sees: in bf16 a part of its gradient is left unset"
        if choice == "bf16":
            raise UserError(what, where="training.precision", do="use fp32, or larger images")
        return "fp32", what
    return precision, reason


def is_mostly_depthwise(net: nn.Module) -> bool:
    """Return whether most convolutions of a net that see more than one pixel are depthwise."""
    spatial = [conv for conv in net.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1)]
    return 2 * sum(is_depthwise(conv) for conv in spatial) > len(spatial)


def strided_past_its_map(net: nn.Module, sizes: Iterable[int]) -> str:
    """Return the name of a padded convolution whose stride is larger than the map that it sees; "" if there is none.

    In bf16 on a CPU, oneDNN leaves the gradient of those weights that see padding alone unset (torch 2.13), so that
    training diverges at random.

    Args:
        net: Takes float (B, 3, size, size).
        sizes: The sizes of images, in pixels.
    """
    found: list[str] = []

    def look(path: str, leaf: nn.Module, inputs: tuple[Any, ...], _: object) -> None:
        if isinstance(leaf, nn.Conv2d) and leaf.padding not in ("valid", (0, 0)):
            height, width = inputs[0].shape[2:]
            if leaf.stride[0] > height or leaf.stride[1] > width:
                found.append(path)

    if any(isinstance(module, nn.Conv2d) and max(module.stride) > 1 for module in net.modules()):
        for size in sizes:
            run_blank(net, size, look)
    return found[0].removeprefix("net.") if found else ""


def _fast_bf16(device: torch.device, depthwise: bool) -> tuple[bool, str]:
    if reason := lacks_bf16(device):
        return False, reason
    if device.type == "cuda":
        return True, "this GPU computes bf16 in hardware"
    what, gain, least = "matrix product", _bf16_gain, LEAST_GAIN
    if depthwise:
        what, gain, least = "depthwise block", _depthwise_gain, LEAST_DEPTHWISE_GAIN
    measured = gain()  # to two digits: with one, 1.17 would look like the 1.2 that is enough
    reason = f"this CPU has {_cpu_bf16()[0]}: a {what} in bf16 is {measured} times as fast as in fp32"
    return measured >= least, f"{reason}; bf16 is used at {least} times or more"


def lacks_bf16(device: torch.device) -> str:
    """Return why a device cannot compute bf16 in hardware; "" if it can."""
    if device.type == "cuda":
        return "" if torch.cuda.is_bf16_supported(including_emulation=False) else "this GPU has no bf16 in hardware"
    return "" if _cpu_bf16() else "this CPU has neither AMX nor AVX-512 bf16"


def _cpu_bf16() -> list[str]:
    """Return what computes bf16 in this CPU, the fastest first."""
    has = torch.cpu.get_capabilities()
    return [name for feature, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16")) if has.get(feature)]


@cache
def _bf16_gain() -> float:
    """Return how many times as fast as in fp32 a matrix product in bf16 is on this CPU.

    A feature flag does not tell: some CPUs that name bf16 compute it at half the speed of fp32.
    """
    return remembered(f"speed of a matrix product of {PRODUCT} on one thread: bf16 / fp32", float, _measured_gain)


@cache
def _depthwise_gain() -> float:
    """Return how many times as fast as in fp32 a step of a depthwise block in bf16 is on this CPU."""
    return remembered(f"speed of a depthwise block of {BLOCK} on one thread: bf16 / fp32", float, _measured_block_gain)


def _measured_gain() -> float:
    a, b = (torch.ones(PRODUCT, PRODUCT, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    return _gain(lambda: torch.mm(a, a), lambda: torch.mm(b, b), ROUNDS)


def _measured_block_gain() -> float:
    with torch.random.fork_rng(devices=()):  # only the first run measures it: its random numbers stay those of others
        block = Inverted(BLOCK[1], BLOCK[1], kernel_size=5, stride=1, expansion=6)
    block.conv_dw = FastConv2d(block.conv_dw, {BLOCK[2:]: "columns"})
    block.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.ones(BLOCK).contiguous(memory_format=torch.channels_last)

    def step(bf16: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = block(x)
        torch.autograd.grad(out.float().sum(), list(block.parameters()))

    return _gain(partial(step, False), partial(step, True), BLOCK_ROUNDS)


def _gain(fp32: Callable[[], object], bf16: Callable[[], object], rounds: int) -> float:
    """Measure in turns, in the time of one thread, so that other load on the machine does not decide."""
    best, threads = [float("inf")] * 2, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(rounds):
            for i, compute in enumerate((fp32, bf16)):
                began = time.thread_time()
                compute()
                best[i] = min(best[i], time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return round(best[0] / best[1], 2)
