"""Which precision training computes in, bf16 or fp32, and how 3x3 convolutions are computed."""

from __future__ import annotations

from typing import Literal

import torch

from rungs.errors import UserError


def pick_precision(choice: str, device: torch.device) -> tuple[str, str]:
    """Return "bf16" or "fp32" and the reason for it.

    Args:
        choice: "auto", "bf16" or "fp32", as a recipe says.
        device: Where it will run.
    """
    fast, reason = _fast_bf16(device)
    if choice == "auto":
        return ("bf16" if fast else "fp32"), reason
    return choice, "the recipe asks for it"


def pick_convolution(choice: str, precision: str, device: torch.device) -> Literal["direct", "winograd"]:
    """Return how to compute 3x3 convolutions.

    Args:
        choice: "auto", "direct" or "winograd", as a recipe says.
        precision: Resolved. bf16 has too few digits for Winograd's sums.
        device: Where it will run. A GPU's library has its own ways.

    Raises:
        UserError: Winograd was asked for where it cannot be.
    """
    can = precision == "fp32" and device.type == "cpu"
    if choice == "winograd" and not can:
        what = f"winograd is for fp32 on a CPU, not for {precision} on {device.type}"
        raise UserError(what, where="training.convolution", do="set it to auto")
    return "winograd" if can and choice != "direct" else "direct"


def _fast_bf16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return fast, "this GPU computes bf16 in hardware" if fast else "this GPU has no bf16 in hardware"
    has = torch.cpu.get_capabilities()
    for feature, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16")):
        if has.get(feature):
            return True, f"this CPU has {name}"
    return False, "this CPU has neither AMX nor AVX-512 bf16"
