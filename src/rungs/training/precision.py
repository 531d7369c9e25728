"""Which precision training computes in, bf16 or fp32."""

from __future__ import annotations

import time
from functools import cache

import torch

from rungs.training.remembered import remembered

LEAST_GAIN = 1.5
"""bf16 pays off on a CPU if its matrix product is this much faster: Winograd's convolution, up to 1.7 times as fast as
the direct one, needs fp32."""
PRODUCT = 512
"""Rows and columns of the matrices that are multiplied to compare precisions: milliseconds on any chip."""
ROUNDS = 10


def pick_precision(choice: str, device: torch.device) -> tuple[str, str]:
    """Return "bf16" or "fp32" and the reason for it.

    Args:
        choice: "auto", "bf16" or "fp32", from a recipe.
        device: Where it will run.
    """
    if choice != "auto":
        return choice, "the recipe asks for it"
    fast, reason = _fast_bf16(device)
    return ("bf16" if fast else "fp32"), reason


def _fast_bf16(device: torch.device) -> tuple[bool, str]:
    if reason := lacks_bf16(device):
        return False, reason
    if device.type == "cuda":
        return True, "this GPU computes bf16 in hardware"
    gain = _bf16_gain()
    reason = f"this CPU has {_cpu_bf16()[0]}: a matrix product in bf16 is {gain:.1f} times as fast as in fp32"
    return gain >= LEAST_GAIN, reason


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


def _measured_gain() -> float:
    """Measure in turns, in the time of one thread, so that other load on the machine does not decide."""
    products = [torch.ones(PRODUCT, PRODUCT, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    best, threads = [float("inf")] * 2, torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(ROUNDS):
            for i, a in enumerate(products):
                began = time.thread_time()
                torch.mm(a, a)
                best[i] = min(best[i], time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return round(best[0] / best[1], 2)
