"""How fast are training batches produced: rungs' whole batches against a DataLoader with per-image transforms?

Both crop (zero padding 4), flip and normalise the same images, in batches of 128, in a new order each
round, on a CPU with all its cores: rungs in this process with torch's threads, the DataLoader with two
workers and transforms written with Pillow and NumPy. Rounds alternate; the first of each is warm-up.
The machine should be otherwise idle: threads that wait for each other suffer first.

    python bench/pipeline.py --data cifar10 [--json result.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import sentences
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rungs import data
from rungs.data.augment import Draw, apply
from rungs.data.batches import batches, order, to_float
from rungs.data.imageset import ImageSet
from rungs.recipe.augments import Crop, Flip
from rungs.run.folder import write_whole

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's 50,000 training images, pixels in [0, 1]; any numbers cost the same."""
BATCH_SIZE, PADDING, WORKERS = 128, 4, 2


def ours(images: ImageSet, epoch: int) -> Iterator[Tensor]:
    """Yield normalised batches, float (B, 3, H, W)."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    generator = torch.Generator().manual_seed(epoch)
    visits = order(len(images), 0, epoch)
    for raw, labels, index, _ in batches(images, visits, BATCH_SIZE):
        draw = Draw(generator, epoch, index, len(images.classes))
        x, _ = apply([Crop(padding=PADDING), Flip()], to_float(raw), labels, draw)
        yield x.sub_(mean).div_(std)  # as the net's first layer does


class PerImage(Dataset[tuple[Tensor, int]]):
    """The dataset of a typical tutorial: one image at a time."""

    def __init__(self, images: ImageSet) -> None:
        self.pixels = images.images.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
        self.labels = images.labels.tolist()
        self.mean, self.std = np.array(MEAN, dtype=np.float32), np.array(STD, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.pixels[i])
        left, top = random.randint(0, 2 * PADDING), random.randint(0, 2 * PADDING)
        box = (left, top, left + image.width, top + image.height)
        image = ImageOps.expand(image, PADDING).crop(box)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = (np.asarray(image, dtype=np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))), self.labels[i]


def images_per_s(made: Iterator[Tensor]) -> tuple[float, float]:
    """Exhaust an iterator of batches; return its speed, and the mean of all values to compare both."""
    start, n, total = time.perf_counter(), 0, 0.0
    for x in made:
        n += len(x)
        total += float(x.mean()) * len(x)
    return n / (time.perf_counter() - start), total / n


def measure(images: ImageSet, rounds: int) -> dict[str, Any]:
    load = os.getloadavg()[0]
    loader = DataLoader(PerImage(images), BATCH_SIZE, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    speeds: list[tuple[float, float]] = []
    for epoch in range(rounds + 1):
        (fast, one), (slow, two) = images_per_s(ours(images, epoch)), images_per_s(x for x, _ in loader)
        if abs(one - two) > 0.05:
            raise SystemExit(f"the two do not produce the same batches: mean value {one:.3f} and {two:.3f}")
        speeds.append((fast, slow))
    speeds = speeds[1:]
    ratios = [fast / slow for fast, slow in speeds]
    return {
        "question": "images/s of batches: rungs / DataLoader",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
        "load_before": load,
        "images": len(images),
        "rounds": rounds,
        "rungs_images_per_s": statistics.median(fast for fast, _ in speeds),
        "dataloader_images_per_s": statistics.median(slow for _, slow in speeds),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", default="cifar10", help="a source, as for rungs train; cifar10 is found by RUNGS_DATA"
    )
    parser.add_argument("--images", type=int, default=10_000, help="images per round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    train = data.load(args.data).train
    result = measure(train.take(torch.arange(min(args.images, len(train)))), args.rounds)
    print(
        f"{result['machine']}, load before {result['load_before']:.1f}; {result['images']} images, {args.rounds} rounds"
    )
    print(f"rungs, whole batches, {result['threads']} threads  {result['rungs_images_per_s']:>10,.0f} images/s")
    print(f"DataLoader, {WORKERS} workers             {result['dataloader_images_per_s']:>10,.0f} images/s")
    low, high = result["ratio_range"]
    print(f"ratio                             {result['ratio']:>10.1f} ({low:.1f} to {high:.1f})")
    if args.json:
        write_whole(args.json, json.dumps(result, indent=1).encode() + b"\n")


if __name__ == "__main__":
    with sentences():
        main()
