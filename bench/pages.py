"""What do memory pages of 2 MB bring? Fresh processes take the same steps, in turns, with and without them.

Linux gives large pages to those who ask where `/sys/kernel/mm/transparent_hugepage/enabled` says `madvise`. `rungs`
lets torch ask for its tensors; a climb's workers ask for all memory. Ratios are the time without over the time with.

    python bench/pages.py speedrun-94
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from variants import compared, keep, script

from rungs.study.climb import LARGE_PAGES

SIDES = {
    "none": {"THP_MEM_ALLOC_ENABLE": "0", "GLIBC_TUNABLES": ""},
    "for torch's tensors": {"THP_MEM_ALLOC_ENABLE": "1", "GLIBC_TUNABLES": ""},
    "for all memory": {"THP_MEM_ALLOC_ENABLE": "1", "GLIBC_TUNABLES": LARGE_PAGES},
}


def measure(recipe: str, data: str, images: int, pages: dict[str, str]) -> float:
    """Return the seconds an image that a fresh process takes to train, median of three rounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, Path(__file__).with_name("variants.py"), recipe, "--variants", "--data", data]
        options = ["--images", str(images), "--json", path]
        subprocess.run([*command, *options], env={**os.environ, **pages}, check=True, capture_output=True)
        return statistics.median(json.loads(path.read_text())["base_s"])


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "speedrun-94",
    data: str = "cifar10",
    images: int = 1000,
    rounds: int = 5,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print the ratios.

    Args:
        recipe: What to train.
        data: Source of images.
        images: Trained on in each of a process's rounds.
        rounds: Fresh processes of each kind.
        json_path: Also write the figures here.
    """
    times: dict[str, list[float]] = {name: [] for name in SIDES}
    for _ in range(rounds):
        for name, pages in SIDES.items():
            times[name].append(measure(recipe, data, images, pages))
    result = [compared(times[name], times["none"], name) for name in list(SIDES)[1:]]
    for row in result:
        print(row)
    keep({"recipe": recipe, "images": images, "n": rounds, "seconds_an_image": times, "ratios": result}, json_path)


if __name__ == "__main__":
    script(main)
