"""How much sooner is a climb done with one cell for each core than with one cell on all cores?

The same ladder of small nets is climbed with `--jobs 1` and with `--jobs N`, in turns, each time in a fresh folder,
start of the worker processes included. The machine should do nothing else.

    python bench/jobs.py --ladder first-cnn --data cifar10 --images 0.1 --epochs 1 --rounds 3
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from rungs import climb


def seconds(ladder: str, data: str, images: float, epochs: int, jobs: int) -> float:
    """Climb one seed of a ladder and return how long that took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        climb(ladder, data=data, seeds=1, images=images, epochs=epochs, jobs=jobs, folder=Path(folder) / "climb")
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ladder", default="first-cnn")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--images", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ratios = []
    for _ in range(args.rounds):
        one, many = (seconds(args.ladder, args.data, args.images, args.epochs, jobs) for jobs in (1, args.jobs))
        ratios.append(one / many)
        print(f"--jobs 1: {one:.1f} s, --jobs {args.jobs}: {many:.1f} s, ratio {ratios[-1]:.2f}", flush=True)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}"
    print(f"ratio {statistics.median(ratios):.2f} ({spread})")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}")


if __name__ == "__main__":
    main()
