"""Where training computes: the device, the ranks of `torchrun`, memory, and what the machine is."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.identity import VERSION
from rungs.run.record import Environment
from rungs.training.memory import keep_freed_memory

T = TypeVar("T")
PATIENCE = timedelta(days=1)
"""Timeout of a rank that waits for the others: at the end rank 0 scores alone; `torchrun` ends all when one dies."""


@dataclass(frozen=True)
class World:
    """This process among the ranks that train together; a single process is rank 0 of 1."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and prints."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()

    def agree(self, find: Callable[[], T]) -> T:
        """Return what rank 0 finds; each rank could measure something else."""
        found = [find() if self.is_main else None]
        if self.size > 1:
            dist.broadcast_object_list(found, device=self.device if self.device.type == "cuda" else None)
        return found[0]  # type: ignore[return-value]  # rank 0's

    def share_buffers(self, model: nn.Module) -> None:
        """Make BatchNorm's running statistics equal on all ranks: their mean."""
        if self.size > 1:
            for name, buffer in model.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.copy_(self.sum(buffer) / self.size)


@contextmanager
def open_world() -> Iterator[World]:
    """Join the ranks that `torchrun` started (gloo on CPUs, NCCL on GPUs), or run alone; keep freed memory."""
    keep_freed_memory()
    rank, size, local = (int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    rank, local = (rank, local) if size > 1 else (0, 0)  # RANK without WORLD_SIZE is not torchrun's
    device = open_device(local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
    if size > 1:
        # If imported later (an optimiser does it), this module captures the process group as a default argument and
        # keeps it and its threads alive until Python exits, where they sometimes abort the process.
        importlib.import_module("torch.distributed.nn.functional")

        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield World(rank, size, device)
    finally:
        if size > 1:
            dist.destroy_process_group()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch or Python ran out of memory; on a CPU torch reports it only in the message."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "alloc" in str(error)


@contextmanager
def enough_memory(do: str) -> Iterator[None]:
    """Turn running out of memory into an error with advice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("there is not enough memory", where="training.batch_size", do=do) from error


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory used so far: of the allocator on a GPU, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")  # getrusage would include the parent's memory at the fork
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on a Mac


def environment(world: World, precision: str, reason: str) -> Environment:
    """Describe the machine and the software."""
    return Environment(
        rungs=VERSION,
        commit=_commit(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        platform=platform.platform(),
        device=device_name(world.device),
        cores=cores(),
        ranks=world.size,
        precision=precision,
        precision_reason=reason,
    )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """Return the name of the chip."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """Return the commit of the source tree, with "+" when it has changes; None for an installed package."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return None
    try:
        commit = subprocess.run(["git", "-C", here, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
        changes = subprocess.run(["git", "-C", here, "status", "--porcelain"], capture_output=True, text=True)
    except OSError:
        return None
    return commit.stdout.strip() + ("+" if changes.stdout else "") if commit.returncode == 0 else None
