"""Small real trainings, each made to show one fault, and others made well: the dataset of the rules' tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from small import run

from rungs.recipe.toml import parse
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.looks import Look
from rungs.run.record import RunRecord

GOOD = """
name = "good"
[data]
source = "digits"
train = 600
validation = 300
[model]
name = "plain"
stages = [[12], [24]]
hidden = [32]
batch_norm = true
[optim]
name = "adamw"
lr = 0.004
[schedule]
name = "one-cycle"
[training]
epochs = 8
batch_size = 40
precision = "fp32"
"""
SGD = 'optim={name="sgd",lr=0.05,momentum=0.9}'
STEADY = "schedule.name=constant"
PLAIN = "model.batch_norm=false"


def train(folder: Path, *overrides: str, **options: bool | int) -> tuple[RunRecord, tuple[Look, ...]]:
    """Train the good recipe with fields changed; return its record and its looks at the test set."""
    record = run(parse(GOOD, "good", overrides), folder, **options)  # type: ignore[arg-type]
    return record, looks.read(RunDir(folder).looks)


def layers(many: int, activation: str = "sigmoid") -> str:
    """Return a net of so many convolutions, each with this activation."""
    one = f'{{channels=8, padding=1, activation="{activation}"}}'
    return f'model={{name="layered", convs=[{", ".join([one] * many)}]}}'


def digits(
    root: Path, classes: int = 10, per_class: int = 60, *, rare: int = 0, wrong: float = 0.0, twice: int = 0
) -> Path:
    """Write ROOT/CLASS/NNN.png of the first digits.

    Args:
        root: Where.
        classes: How many.
        per_class: Images of each.
        rare: Of the last class only so many.
        wrong: Share of images that lie in another class's folder.
        twice: So many images of each class are there a second time under another name.
    """
    table, draw = load_digits(), np.random.default_rng(0)
    for k in range(classes):
        (root / str(k)).mkdir(parents=True)
    for k in range(classes):
        many = rare if rare and k == classes - 1 else per_class
        for i, image in enumerate(table.images[table.target == k][:many]):
            label = int((k + draw.integers(1, classes)) % classes) if draw.random() < wrong else k
            picture = Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8))
            picture.save(root / str(label) / f"{k}-{i:03d}.png")
            if i < twice:
                picture.save(root / str(label) / f"{k}-{i:03d}-again.png")
    return root


def thinned_digits(root: Path, *, rare: tuple[int, ...], images: int) -> Path:
    """Write ROOT/train and ROOT/test of the digits, with only so many training images of the rare classes."""
    table, draw = load_digits(), np.random.default_rng(0)
    for k in range(10):
        own = draw.permutation(np.flatnonzero(table.target == k))
        for part, chosen in (("test", own[:60]), ("train", own[60:][: images if k in rare else 110])):
            (root / part / str(k)).mkdir(parents=True)
            for i in chosen:
                picture = Image.fromarray(np.rint(table.images[i] * 255 / 16).astype(np.uint8))
                picture.save(root / part / str(k) / f"{i}.png")
    return root


def in_parts(root: Path, order: Sequence[int], per_class: int = 90, test: int = 30) -> Path:
    """Write digits to ROOT/train/CLASS and ROOT/test/CLASS, the class k of the test part in the folder `order[k]`."""
    digits(root / "train", classes=len(order), per_class=per_class)
    for k, other in enumerate(order):
        (root / "test" / str(other)).mkdir(parents=True)
        for picture in sorted((root / "train" / str(k)).iterdir())[-test:]:
            picture.rename(root / "test" / str(other) / picture.name)
    return root


def of_folder(root: Path, *, validation: int, test: int) -> tuple[str, ...]:
    """Return the overrides that train on a folder of digits."""
    sizes = (f"data.validation={validation}", f"data.test={test}", "data.train=none", "data.image_size=8")
    return (f'data.source="folder:{root}"', *sizes)
