"""Which precision training computes in, bf16 or fp32, and how 3x3 convolutions are computed."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal

import torch

from rungs.errors import UserError
from rungs.training.remembered import remembered

LEAST_GAIN = 1.5
"""bf16 pays off on a CPU if its matrix product is this much faster: Winograd's convolution, up to 1.7 times as fast as
the direct one, needs fp32."""
PRODUCT = 512
"""Rows and columns of the matrices that are multiplied to compare precisions: milliseconds on any chip."""


def pick_precision(choice: str, device: torch.device) -> tuple[str, str]:
    """Return "bf16" or "fp32" and the reason for it.

    Args:
        choice: "auto", "bf16" or "fp32", from a recipe.
        device: Where it will run.
    """
    fast, reason = _fast_bf16(device)
    if choice == "auto":
        return ("bf16" if fast else "fp32"), reason
    return choice, "the recipe asks for it"


def pick_convolution(choice: str, precision: str, device: torch.device) -> Literal["direct", "winograd"]:
    """Return how to compute 3x3 convolutions.

    Args:
        choice: "auto", "direct" or "winograd", from a recipe.
        precision: Resolved. bf16 is too imprecise for Winograd's sums.
        device: Where it will run. cuDNN chooses its own algorithm.

    Raises:
        UserError: Winograd was asked for where it is not supported.
    """
    can = precision == "fp32" and device.type == "cpu"
    if choice == "winograd" and not can:
        what = f"winograd needs fp32 on a CPU, got {precision} on {device.type}"
        raise UserError(what, where="training.convolution", do="set it to auto")
    return "winograd" if can and choice != "direct" else "direct"


def _fast_bf16(device: torch.device) -> tuple[bool, str]:
    if reason := lacks_bf16(device):
        return False, reason
    if device.type == "cuda":
        return True, "this GPU computes bf16 in hardware"
    gain = _bf16_gain()
    return (
        gain >= LEAST_GAIN,
        f"this CPU has {_cpu_bf16()[0]}: a matrix product in bf16 is {gain:.1f} times as fast as in fp32",
    )


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

    def measure() -> float:
        fp32, bf16 = _product_s(torch.float32), _product_s(torch.bfloat16)
        return round(fp32 / bf16, 2)

    return remembered(f"speed of a matrix product of {PRODUCT}: bf16 / fp32", float, measure)


def _product_s(dtype: torch.dtype) -> float:
    """Return the seconds of a matrix product, the fastest of several after one to warm up."""
    a = torch.ones(PRODUCT, PRODUCT, dtype=dtype)
    out, times = torch.empty_like(a), list[float]()
    for _ in range(6):
        began = time.perf_counter()
        torch.mm(a, a, out=out)
        times.append(time.perf_counter() - began)
    return min(times[1:])
