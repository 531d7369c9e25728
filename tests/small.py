"""A recipe that trains in a second or two, and the shortest way to train it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rungs.evaluate.device import open_device
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import parse
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.training.device import World
from rungs.training.options import RunOptions
from rungs.training.run import run_recipe
from rungs.training.screen import Screen

SMALL = """
name = "small"
[data]
source = "digits"
train = 400
validation = 100
[augment]
train = [{ name = "crop", padding = 1 }, { name = "rotate", degrees = 5 }, { name = "mixup", p = 0.5 }]
[model]
name = "plain"
stages = [[8], [16]]
hidden = [16]
dropout = [0.1]
batch_norm = true
[optim]
name = "sgd"
lr = 0.05
momentum = 0.9
nesterov = true
weight_decay = 0.0005
[schedule]
name = "one-cycle"
warmup_epochs = 0.5
[training]
epochs = 4
batch_size = 50
ema_decay = 0.9
clip_norm = 5.0
label_smoothing = 0.05
"""


def small(*overrides: str) -> Recipe:
    """Return the small recipe with some fields changed."""
    return parse(SMALL, "small", overrides)


class Told(Screen):
    """A screen that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def run(
    recipe: Recipe, folder: Path, *, stop_after: int | None = None, screen: Screen | None = None, **options: Any
) -> RunRecord:
    """Train alone in this process, as if the caller stopped it after some epochs."""
    going: Callable[[EpochRow], bool] = lambda row: row.epoch != stop_after  # noqa: E731
    world = World(0, 1, open_device())
    return run_recipe(recipe, RunDir(folder), world, RunOptions(screen=screen, keep_going=going, **options))
