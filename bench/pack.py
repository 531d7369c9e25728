"""What does a pack gain? S seeds of one recipe trained side by side, against one seed alone and S seeds in turn.

Epochs of one seed alone and of each pack alternate in one process, so that all see the same noise. An epoch is that of
the real loop: batches, augmentation, steps, validation; not startup, files and final scores, which a pack repeats for
each seed. "to one alone" is the time of a pack relative to one seed; "to each in turn"
divides it by S: below 1, packing pays.

    python bench/pack.py --data cifar10                                      # net1-002, packs of 2, 4 and 10
    python bench/pack.py --data digits --recipe digits-quick --packs 1 2 4
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Annotated

import torch
import tyro
from common import sentences
from msgspec.structs import replace

from rungs import data as sources
from rungs.evaluate.device import open_device
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import choose
from rungs.training.dataset import load_dataset
from rungs.training.device import World, cores, device_name, peak_memory_bytes
from rungs.training.loop import train_together
from rungs.training.pack import join
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble
from rungs.training.step import WARM_UP


def setups_of(recipe: Recipe, many: int, world: World) -> list[Setup]:
    source, moved = sources.load(recipe.data.source, recipe.data.image_size), {}
    return [assemble(*load_dataset(replace(recipe, seed=i), True, source), world, moved) for i in range(many)]


@dataclass
class Timed:
    """A pack and the seconds of its epochs."""

    many: int
    setup: Setup
    seconds: list[float]

    def __post_init__(self) -> None:
        self.epochs = train_together(self.setup, [], Screen())

    def epoch(self) -> None:
        """Train one more epoch."""
        if self.setup.world.device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        next(self.epochs)
        self.setup.copy_to_members()
        if self.setup.world.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - began)


def main(
    data: str = "cifar10",
    recipe: str = "net1-002",
    packs: tuple[int, ...] = (2, 4, 10),
    images: int | None = None,
    rounds: int = 5,
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Print the time of each pack relative to one seed alone.

    Args:
        data: Source of images.
        recipe: The recipe whose seeds are trained.
        packs: Sizes of the packs, in seeds.
        images: Training images of each seed; all by default.
        rounds: Measured epochs of each, after a few for warm-up.
        overrides: Fields of the recipe, changed.
    """
    few = () if images is None else (f"data.train={images}",)
    chosen = choose(recipe, (*few, *overrides, f"training.epochs={WARM_UP + rounds}"), data=data)
    world = World(0, 1, open_device())
    timed = [Timed(many, join(setups_of(chosen, many, world)), []) for many in (1, *packs)]
    one = timed[0].setup
    sizes = {name: len(part) for name, part in one.parts.present().items()}
    threads = "" if world.device.type == "cuda" else f", {torch.get_num_threads()} of {cores()} cores"
    print(f"{recipe}, {sizes}, batches of {chosen.training.batch_size}, {one.environment.precision}")
    print(f"{device_name(world.device)}{threads}, torch {torch.__version__}, n = {rounds} epochs each")
    for _ in range(WARM_UP + rounds):
        for pack in timed:
            pack.epoch()
    alone = timed[0].seconds[WARM_UP:]
    print(f"one alone: {statistics.median(alone):.3f} s an epoch ({min(alone):.3f} to {max(alone):.3f})")
    for pack in timed[1:]:
        times = pack.seconds[WARM_UP:]
        ratios = sorted(ours / theirs for ours, theirs in zip(times, alone, strict=True))
        ratio, spread = statistics.median(ratios), f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        each = f"{ratio / pack.many:.2f} to each in turn"
        print(
            f"pack of {pack.many}: {statistics.median(times):.3f} s an epoch, {ratio:.2f} {spread} to one alone, {each}"
        )
    print(f"peak memory, all packs together: {peak_memory_bytes(world.device) / 1e6:,.0f} MB")


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
