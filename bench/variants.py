"""What does a setting of a recipe cost or save in training time? Any recipe, any variants of it, in alternation.

Each variant is one or more assignments as for `rungs train --set`, joined by commas. All variants alternate in one
process, so that they see the same noise; the ratio is the base's time over the variant's, in pairs: above 1 it saves.

    python bench/variants.py speedrun-94 --variants training.convolution=direct training.micro_batch=125
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import keep, sentences
from msgspec.structs import replace

from rungs.data.split import Parts
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.toml import load
from rungs.training.compiling import compile_net
from rungs.training.dataset import load_dataset
from rungs.training.device import World, cores, device_name
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import assemble
from rungs.training.step import WARM_UP


def seconds_an_image(recipe: str, overrides: list[str], images: int, rounds: int) -> Iterator[float]:
    """Yield the training seconds per image of each of `rounds` epochs, after warm-up epochs."""
    fixed = [
        f"training.epochs={WARM_UP + rounds}",
        "training.image_scales=[]",
        "data.validation=0",
        "stopping.patience=none",
    ]
    chosen = load(recipe, [*overrides, *fixed])
    chosen, dataset = load_dataset(chosen, False)
    setup = assemble(chosen, dataset, World(0, 1, open_device()))
    compile_net(setup)
    if images > len(setup.parts.train):
        what = f"{images:,} images, but there are {len(setup.parts.train):,}"
        raise UserError(what, where="--images", do="give fewer, or different --data")
    train = setup.parts.train.take(torch.arange(images))
    steps = -(-images // chosen.training.batch_size)
    setup = dataclasses.replace(setup, parts=Parts(train, None, None), steps_per_epoch=steps)
    few = replace(setup.recipe.evaluation, batch_size=2)  # images of the check for finite outputs after an epoch
    setup.recipe = replace(setup.recipe, evaluation=few)
    for row in islice(train_epochs(setup, [], Screen()), WARM_UP, None):  # compiling, recording: once per batch size
        yield row.train_s / images


def assignments(variant: str) -> list[str]:
    """Split a variant at the commas between its assignments."""
    return re.split(r",(?=\w+\.)", variant)


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "speedrun-94",
    variants: tuple[str, ...] = ("training.convolution=direct",),
    data: str = "cifar10",
    images: int = 1000,
    rounds: int = 3,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print a ratio for each variant.

    Args:
        recipe: The base.
        variants: Assignments, several joined by commas.
        data: Source of images.
        images: Training images per round.
        rounds: Measured rounds, after some for warm-up.
        json_path: Also write the figures here.
    """
    common = [f"data.source={json.dumps(data)}"]
    for variant in variants:  # report a wrong one before the first step
        load(recipe, [*common, *assignments(variant)])
    sides = {"base": seconds_an_image(recipe, common, images, rounds)}
    for variant in variants:
        sides[variant] = seconds_an_image(recipe, [*common, *assignments(variant)], images, rounds)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(next(side))
    device = open_device()
    machine = f"{device_name(device)}, {torch.get_num_threads()} of {cores()} cores, torch {torch.__version__}"
    result = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "recipe": recipe, "images": images, "n": rounds}
    print(f"{recipe} on {machine}: {1e3 * statistics.median(times['base']):.2f} ms an image, n = {rounds}")
    rows = {}
    for name in variants:
        ratios = sorted(a / b for a, b in zip(times["base"], times[name], strict=True))
        rows[name] = {"ratio": statistics.median(ratios), "range": (ratios[0], ratios[-1]), "s": times[name]}
        print(f"{name}: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    keep({**result, "base_s": times["base"], "variants": rows}, json_path)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
