"""How do seconds per epoch and peak memory grow with cores, batch size, image size and data?

Each row is a fresh process of `rungs train` that differs from the first row in one setting; seconds are those of the
faster of two epochs, memory is the process's peak. Seconds should grow in proportion to the images and to the pixels,
and hardly with the batch size; memory with the batch and the pixels, and with the data only by their bytes.

    python bench/growth.py --data cifar10
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import sentences

from rungs.run.folder import write_whole
from rungs.run.record import RunRecord, from_json
from rungs.training.device import cores, device_name

BASE = {"cores": "1", "data.train": "5000", "training.batch_size": "100", "data.image_size": "32"}
ROWS: tuple[dict[str, str], ...] = (
    {},
    {"cores": "2"},
    {"data.train": "25000"},
    {"data.train": "50000"},
    {"training.batch_size": "50"},
    {"training.batch_size": "400"},
    {"training.batch_size": "1600"},
    {"data.image_size": "16"},
    {"data.image_size": "64"},
)


def measure(recipe: str, data: str, change: dict[str, str]) -> tuple[float, int]:
    """Return seconds per epoch and peak memory in bytes of a fresh process."""
    fields = {**BASE, **change}
    threads = fields.pop("cores")
    sets = {**fields, "data.validation": "0", "training.epochs": "2", "evaluation.score_train": "false"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "rungs", "train", recipe, "--data", data, "--out", f"{folder}/run"]
        options = [word for field, value in sets.items() for word in ("--set", f"{field}={value}")]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        subprocess.run([*command, *options], env=environment, check=True, stdout=subprocess.DEVNULL)
        path = Path(folder) / "run" / "run.json"
        record = from_json(path.read_bytes(), RunRecord, path)
    return min(row.train_s for row in record.history), record.peak_memory_bytes


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "net1-002",
    data: str = "cifar10",
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print a row for each change.

    Args:
        recipe: A small one, to keep this short.
        data: Source of 50,000 images.
        json_path: Also write the figures here.
    """
    rows = []
    for change in ROWS:
        seconds, peak = measure(recipe, data, change)
        rows.append({"change": change, "epoch_s": round(seconds, 2), "peak_mb": round(peak / 1e6)})
        first = rows[0]
        ratios = (
            f"{seconds / float(str(first['epoch_s'])):.2f} x time, {peak / 1e6 - float(str(first['peak_mb'])):+.0f} MB"
        )
        print(
            ", ".join(f"{k} {v}" for k, v in (change or BASE).items()),
            f"{seconds:.2f} s, {ratios}",
            sep=": ",
            flush=True,
        )
    machine = f"{device_name(torch.device('cpu'))}, {cores()} cores, torch {torch.__version__}"
    if json_path is not None:
        content = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "recipe": recipe, "base": BASE, "rows": rows}
        write_whole(json_path, json.dumps(content, indent=1).encode() + b"\n")


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
