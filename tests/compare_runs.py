"""Runs to compare: real trainings of a second on drawn shapes, which have a test set of their own, and on digits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bank import Bank
from conftest import draw_photos
from small import run, small

SHAPES = ("data.image_size=16", "data.train=none", "data.validation=0.25", "augment.train=[]", "training.epochs=12",
          "training.batch_size=20", "training.ema_decay=none", "model.stages=[[8], [16], [32]]")  # fmt: skip
CRIPPLED = ("optim.lr=0.00001",)
OTHERS = {
    "healthy": ("seed=0",),
    "again": ("seed=1",),
    "third": ("seed=2",),
    "crippled": CRIPPLED,
    "crippled-1": (*CRIPPLED, "seed=1"),
    "crippled-2": (*CRIPPLED, "seed=2"),
    "closed": ("evaluation.score_test=false",),
    "closed-crippled": (*CRIPPLED, "evaluation.score_test=false"),
    "larger": ("data.image_size=20", "training.epochs=2"),
    "unvalidated": ("data.validation=0", "training.epochs=2"),
    "diverged": ("optim.lr=1e30", "training.clip_norm=none"),
    "other-validation": ("augment.validation=[{name='flip'}]", "training.epochs=2"),
}
LEARNT = ("augment.train=[]", "training.ema_decay=none")
DIGITS = {
    "digits": LEARNT,
    "digits-seed1": (*LEARNT, "seed=1"),
    "digits-slow": (*LEARNT, "optim.lr=0.00001"),
    "digits-1": (*LEARNT, "seed=1", "optim.lr=0.00001"),
}


def trainer(bank: Bank, root: Path) -> Callable[[str], Path]:
    """Return a function that gives the folder of a run by its name: its own copy, as comparing writes into its log.

    Args:
        bank: Where the runs are trained, each when first asked for.
        root: Where the copies go.
    """
    photos = bank.folder("compare/photos", _draw)

    def train(name: str) -> Path:
        source = () if name in DIGITS else (f"data.source='folder:{photos}'", *SHAPES)
        recipe, folder = small(*source, *{**OTHERS, **DIGITS}[name]), root / "runs" / name
        if not folder.exists():
            shutil.copytree(bank.folder(f"compare/runs/{name}", lambda made: run(recipe, made)), folder)
        return folder

    return train


def _draw(root: Path) -> None:
    draw_photos(root / "train", per_class=40, seed=0)
    draw_photos(root / "test", per_class=60, seed=1)
