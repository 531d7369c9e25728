"""The compute device."""

from __future__ import annotations

import torch

from rungs.errors import UserError


def open_device(local_rank: int = 0) -> torch.device:
    """Return this rank's NVIDIA or AMD GPU, set to exact and deterministic convolutions, or the CPU without a GPU.

    Raises:
        UserError: More ranks than GPUs.
    """
    if torch.cuda.is_available():
        if local_rank >= torch.cuda.device_count():
            what = f"rank {local_rank} sees {torch.cuda.device_count()} GPUs: each rank needs its own"
            raise UserError(what, where="torchrun", do="start fewer ranks: --nproc-per-node")
        torch.backends.cudnn.deterministic = True  # a resumed run equals an uninterrupted one
        torch.backends.cudnn.allow_tf32 = False  # "fp32" means fp32; TF32 has 10 bits
        return torch.device("cuda", local_rank)
    return torch.device("cpu")
