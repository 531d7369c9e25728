"""What does the engine cost over a bare loop? The same net, batch and precision, written by hand and through `train`.

Ours includes all that a user gets: seeded order and augmentation, running accuracy, the check for a finite loss,
history, best weights and an fsynced checkpoint each epoch. An epoch of one alternates with an epoch of the other
in one process, so that both meet the same noise; peak memory is that of two processes of their own.

    python bench/overhead.py --data cifar10
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import sentences
from torch import nn
from torch.nn import functional as F

from rungs import data as sources
from rungs.data.stats import mean_std
from rungs.models import build_model
from rungs.recipe.toml import load
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import EpochRow
from rungs.training.device import World, cores, device_name, peak_memory_bytes
from rungs.training.options import RunOptions, always
from rungs.training.precision import pick_precision
from rungs.training.run import run_recipe

OVERRIDES = [
    "data.validation=0",
    "augment.train=[{name='flip'}]",
    "augment.validation=[]",
    "evaluation.score_train=false",
    "evaluation.batch_size=64",
]


class BareLoop:
    """What one writes by hand when nothing but speed counts: data resident as uint8, whole batches, no bookkeeping."""

    def __init__(self, data: str, images: int, batch_size: int, bf16: bool) -> None:
        train = sources.load(data, 32).train
        self.x, self.y = train.images[:images], train.labels[:images]
        self.batch_size, self.bf16 = batch_size, bf16
        mean, std = mean_std([self.x])
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        torch.manual_seed(0)
        net: nn.Module = build_model(load("lab-003").model, image_size=32, classes=10)
        self.net = net.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, fused=True)

    def epoch(self) -> float:
        """Train one epoch; return its seconds."""
        began, total = time.perf_counter(), torch.zeros(())
        self.net.train()
        for index in torch.randperm(len(self.y)).split(self.batch_size):
            x = self.x[index].contiguous(memory_format=torch.channels_last).float().div_(255)
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                logits = self.net((x - self.mean) / self.std)
            loss = F.cross_entropy(logits.float(), self.y[index])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        if not total.isfinite():
            raise ValueError("the bare loop diverged: the comparison means nothing")
        return time.perf_counter() - began


def alternate(data: str, images: int, batch_size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return seconds an epoch of ours and of the bare loop, in pairs; the first pair warms up and is left out."""
    precision, _ = pick_precision("auto", torch.device("cpu"))
    bare = BareLoop(data, images, batch_size, precision == "bf16")
    ours_s: list[float] = []
    bare_s: list[float] = []
    began = time.perf_counter()

    def after_ours(row: EpochRow) -> bool:
        nonlocal began
        ours_s.append(time.perf_counter() - began)
        bare_s.append(bare.epoch())
        began = time.perf_counter()
        return row.epoch <= rounds

    train(data, images, batch_size, rounds + 2, after_ours)
    return ours_s[1:], bare_s[1:]


def train(
    data: str, images: int, batch_size: int, epochs: int, keep_going: Callable[[EpochRow], bool] = always
) -> None:
    """Train lab-003's net through the engine."""
    size = [f"data.train={images}", f"training.batch_size={batch_size}", f"training.epochs={epochs}"]
    recipe = load("lab-003", [*OVERRIDES, *size, f"data.source={json.dumps(data)}"])
    world = World(0, 1, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        run_recipe(recipe, RunDir(folder), world, RunOptions(keep_going=keep_going))


def peak(which: str, data: str, images: int, batch_size: int) -> int:
    """Return the peak memory in bytes of a fresh process that trains one epoch."""
    command = [sys.executable, __file__, "--only", which, "--data", data, "--images", str(images)]
    done = subprocess.run([*command, "--batch-size", str(batch_size)], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def main(
    data: str = "cifar10",
    images: int = 12800,
    batch_size: int = 64,
    rounds: int = 5,
    only: str = "",
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print the two ratios.

    Args:
        data: Source of 32-pixel images.
        images: Training images an epoch.
        batch_size: Images a step.
        rounds: Pairs of epochs that count.
        only: "ours" or "bare": train one epoch of it and print the peak memory (used by the script itself).
        json_path: Also write the figures here.
    """
    device = torch.device("cpu")
    if only == "ours":
        train(data, images, batch_size, 1, lambda row: False)
        print(peak_memory_bytes(device))
        return
    if only == "bare":
        BareLoop(data, images, batch_size, pick_precision("auto", device)[0] == "bf16").epoch()
        print(peak_memory_bytes(device))
        return
    ours, bare = alternate(data, images, batch_size, rounds)
    ratios = sorted(a / b for a, b in zip(ours, bare, strict=True))
    memory = {which: peak(which, data, images, batch_size) for which in ("ours", "bare")}
    result = {
        "machine": f"{device_name(device)}, {cores()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "n": len(ratios),
        "images": images,
        "batch_size": batch_size,
        "ours_s": [round(s, 3) for s in ours],
        "bare_s": [round(s, 3) for s in bare],
        "time_ratio": round(statistics.median(ratios), 4),
        "time_ratio_range": [round(ratios[0], 4), round(ratios[-1], 4)],
        "memory_ratio": round(memory["ours"] / memory["bare"], 4),
        "peak_bytes": memory,
    }
    print(json.dumps(result, indent=1))
    if json_path is not None:
        write_whole(json_path, json.dumps(result, indent=1).encode() + b"\n")


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
