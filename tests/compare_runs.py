"""Runs to compare: real trainings of a second on drawn shapes, which have a test set of their own, and on digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


def trainer(root: Path) -> Callable[[str], Path]:
    """Return a function that gives the folder of a run by its name; it is trained when first asked for."""
    draw_photos(root / "photos" / "train", per_class=40, seed=0)
    draw_photos(root / "photos" / "test", per_class=60, seed=1)

    def train(name: str) -> Path:
        folder = root / "runs" / name
        if not folder.exists():
            photos = () if name in DIGITS else (f"data.source='folder:{root / 'photos'}'", *SHAPES)
            run(small(*photos, *{**OTHERS, **DIGITS}[name]), folder)
        return folder

    return train
