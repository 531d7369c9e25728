"""How much faster is one of our recipes than another training script, on this machine, to the same accuracy?

Theirs is a Python file of your own that adapts their script to this device and precision. It must define `images`, the
number of images in their whole training (epochs x images), and `step()`, which takes one optimiser step, synchronises
the GPU and returns the number of images. Their steps and ours alternate in one process; seconds per image times images
is the time of a whole training, without startup, compiling and scoring, on both sides.

    python bench/beside.py speedrun-94 --theirs airbench_on_cpu.py
"""

from __future__ import annotations

import json
import runpy
import time
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import compared, keep, sentences
from msgspec.structs import replace
from variants import seconds_an_image

from rungs import data as sources
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.toml import load
from rungs.training.device import cores, device_name
from rungs.training.setup import image_size


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "speedrun-94",
    *,
    theirs: Path,
    data: str = "cifar10",
    rounds: int = 5,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print the ratio of both times.

    Args:
        recipe: Ours. Its `image_scales` count: each size is timed.
        theirs: The file that defines `images` and `step()`.
        data: Source of images for ours.
        rounds: Measured pairs, after one for warm-up.
        json_path: Also write the figures here.
    """
    if not theirs.is_file():
        raise UserError("no such file", where=str(theirs), do="give the file that defines `images` and `step()`")
    other = runpy.run_path(str(theirs))
    ours = load(recipe)
    train = sources.load(data, ours.data.image_size).train
    ours = replace(ours, data=replace(ours.data, image_size=train.image_size))
    sizes = [image_size(ours, epoch) for epoch in range(ours.training.epochs)]
    sides = {
        size: seconds_an_image(recipe, [f"data.source={json.dumps(data)}", f"data.image_size={size}"], 1000, rounds + 1)
        for size in sorted(set(sizes))
    }
    ours_s: list[float] = []
    theirs_s: list[float] = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        images = other["step"]()
        theirs_s.append((time.perf_counter() - began) / images * other["images"])
        an_image = {size: next(side) for size, side in sides.items()}
        ours_s.append(sum(an_image[size] for size in sizes) * len(train))
    ours_s, theirs_s = ours_s[1:], theirs_s[1:]
    result = {
        "machine": f"{device_name(open_device())}, {cores()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "n": rounds,
        "ours_s": [round(s, 1) for s in ours_s],
        "theirs_s": [round(s, 1) for s in theirs_s],
        **compared(ours_s, theirs_s, "theirs / ours"),
    }
    print(json.dumps(result, indent=1))
    keep(result, json_path)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
