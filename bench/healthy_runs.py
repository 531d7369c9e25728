"""Is a sound training left alone? Sixteen recipes that train well, on real images, and what the diagnosis says of them.

A warning here is a false alarm. Twelve recipes train on the digits that come with scikit-learn, four on a few thousand
images of CIFAR-10; models, optimisers, schedules, batches and regularisation all differ, some of them strongly (mixup,
cutmix, smoothing 0.3), as far as a training stays well with it.

    RUNGS_DATA=... python bench/healthy_runs.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from common import keep, sentences
from PIL import Image
from sklearn.datasets import load_digits

import rungs
from rungs.diagnose import examine
from rungs.run.record import RunRecord

DIGITS = ("training.precision=fp32", "training.compile=no")
CIFAR = ("data.source=cifar10", "evaluation.score_test=false", "data.validation=1500", *DIGITS)
CROP_FLIP = "{name='crop',padding=4},{name='flip'}"

HEALTHY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "digits as shipped": ("digits-quick", ()),
    "mixup": ("digits-quick", ("augment.train=[{name='mixup',alpha=0.4}]", "training.label_smoothing=0")),
    "cutmix and SGD": (
        "digits-quick",
        ("augment.train=[{name='cutmix',p=0.5}]", "optim={name='sgd',lr=0.05,momentum=0.9,nesterov=true}",
         "schedule={name='cosine'}", "training.epochs=30"),
    ),
    "smoothing 0.3": ("digits-quick", ("training.label_smoothing=0.3",)),
    "averaged weights": (
        "digits-quick",
        ("training.ema_decay=0.97", "optim={name='rmsprop',lr=0.001}", "schedule={name='constant'}",
         "training.epochs=24"),
    ),
    "plateau": (
        "digits-quick",
        ("optim={name='sgd',lr=0.05,momentum=0.9}", "schedule={name='plateau',patience=2,factor=0.3}",
         "training.epochs=30"),
    ),
    "heavy dropout": (
        "digits-quick",
        ("model.dropout=[0.5]", "model.feature_dropout=0.3", "optim={name='adam',lr=0.003}",
         "schedule={name='linear'}", "training.epochs=30"),
    ),
    "large batches, warm-up": (
        "digits-quick",
        ("training.batch_size=256", "optim={name='sgd',lr=0.2,momentum=0.9}", "training.epochs=40",
         "schedule={name='cosine',warmup_epochs=4}"),
    ),
    "small batches": (
        "digits-quick",
        ("training.batch_size=8", "optim={name='sgd',lr=0.01,momentum=0.9}", "training.epochs=10"),
    ),
    "unequal classes": ("digits-quick", ("data.source=unequal", "training.epochs=30")),
    "no BatchNorm, sigmoid": (
        "digits-quick",
        ("model={name='layered',convs=[{channels=16,padding=1,activation='sigmoid',pool='max'}],"
         "linears=[{features=32}]}", "optim={name='adamw',lr=0.01}", "training.epochs=40", "augment.train=[]"),
    ),
    "Muon, smoothing and mixup": (
        "digits-quick",
        ("model={name='speedrun',widths=[16,32,32]}", "optim={name='muon',lr=0.05,head_lr=2.0,bias_lr=0.05}",
         "augment.train=[{name='crop',padding=1},{name='mixup',alpha=0.2,p=0.5}]", "training.label_smoothing=0.1"),
    ),
    "plain net on CIFAR-10": (
        "lab-003",
        (*CIFAR, "data.train=4000", "model.stages=[[24],[48],[96]]", "model.batch_norm=true", "model.hidden=[64]",
         "model.dropout=[0.1]", "schedule={name='one-cycle'}", "optim.lr=0.02", "training.epochs=10",
         "augment.validation=[]",
         f"augment.train=[{CROP_FLIP}]"),
    ),
    "cutmix and averaged weights on CIFAR-10": (
        "lab-003",
        (*CIFAR, "data.train=4000", "model.stages=[[24],[48],[96]]", "model.batch_norm=true", "model.hidden=[]",
         "model.dropout=[]", "schedule={name='one-cycle'}", "optim={name='adamw',lr=0.004,weight_decay=0.02}",
         "training.epochs=12", "training.ema_decay=0.99", "augment.validation=[]",
         f"augment.train=[{CROP_FLIP},{{name='cutmix',alpha=1.0,p=0.5}}]"),
    ),
    "ResNet on CIFAR-10": (
        "resnet18",
        (*CIFAR, "data.train=4000", "model.stem=cifar", "model.width=8", "training.epochs=12",
         "training.batch_size=64", "optim={name='sgd',lr=0.05,momentum=0.9,weight_decay=0.0005}",
         "schedule={name='step',milestones=[8,11]}", f"augment.train=[{CROP_FLIP}]"),
    ),
    "speedrun net, smoothing 0.2, on CIFAR-10": (
        "speedrun-94",
        (*CIFAR, "data.train=4000", "model.widths=[16,32,64]", "training.batch_size=250", "training.epochs=9",
         "training.micro_batch=none", "training.label_smoothing=0.2", "evaluation.tta=none",
         "evaluation.score_train=true", "optim.lr=0.1", "optim.head_lr=100.0", "optim.bias_lr=8.0"),
    ),
}  # fmt: skip
"""By name: a shipped recipe and what is changed in it."""


def overrides(name: str, folder: Path) -> tuple[str, ...]:
    """Return the changes of a recipe, with the folder of digits of unequal classes written where it needs it."""
    changes = HEALTHY[name][1]
    if "data.source=unequal" not in changes:
        return (*DIGITS, *changes)
    source = f'data.source="folder:{unequal_digits(folder / "digits")}"'
    return (*DIGITS, "data.image_size=8", *(source if one == "data.source=unequal" else one for one in changes))


def unequal_digits(root: Path) -> Path:
    """Write ROOT/CLASS/NNN.png of the digits: from 175 images of a 0 down to 40 of a 9."""
    table = load_digits()
    for k in range(10):
        (root / str(k)).mkdir(parents=True)
        for i, image in enumerate(table.images[table.target == k][: 175 - 15 * k]):
            Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(root / str(k) / f"{i:03d}.png")
    return root


def trained(names: tuple[str, ...]) -> Iterator[tuple[str, RunRecord, float]]:
    """Train each recipe; yield its name, its record and the seconds that it took."""
    for name in names or tuple(HEALTHY):
        with tempfile.TemporaryDirectory() as folder:
            began, changes = time.perf_counter(), overrides(name, Path(folder))
            record = rungs.train(HEALTHY[name][0], changes, folder=Path(folder) / "run")
            yield name, record, time.perf_counter() - began


@dataclass(frozen=True)
class Outcome:
    """What is told of one run."""

    recipe: str
    changes: str
    accuracy: dict[str, float]  # part -> per cent
    findings: dict[str, str]  # rule -> level
    seconds: float

    def alarms(self) -> list[str]:
        """Return the rules that warn, falsely."""
        return [rule for rule, level in self.findings.items() if level == "warning"]

    def row(self) -> str:
        """Return the row of the table."""
        shares = ", ".join(f"{self.accuracy.get(part, '-')}" for part in ("train", "validation", "test"))
        found = ", ".join(f"{rule} ({level})" for rule, level in self.findings.items())
        return f"| {self.recipe} | {shares} | {found} | {self.seconds:.0f} |"


def outcome(name: str, record: RunRecord, seconds: float) -> Outcome:
    """Return what is told of a run."""
    scored = {"train": record.train, "validation": record.validation, "test": record.test}
    accuracy = {part: round(100 * one.accuracy, 1) for part, one in scored.items() if one is not None}
    findings = {one.rule: str(one.level) for one in examine(record)}
    return Outcome(name, " ".join(HEALTHY[name][1]), accuracy, findings, round(seconds, 1))


def main(only: tuple[str, ...] = (), output: Path | None = None) -> None:
    """Train all, or some.

    Args:
        only: Names of recipes; all by default.
        output: Where to write the outcomes as JSON.
    """
    outcomes, machine = [], ""
    print("| recipe | training, validation, test, % | findings | s |\n|---|---|---|---|")
    for name, record, seconds in trained(only):
        outcomes.append(outcome(name, record, seconds))
        machine = record.environment.device
        print(outcomes[-1].row(), flush=True)
    alarms = [f"{one.recipe} ({', '.join(one.alarms())})" for one in outcomes if one.alarms()]
    print(f"\n{len(outcomes)} runs, {len(alarms)} with a false alarm. {'; '.join(alarms)}\n{machine}")
    keep({"machine": machine, "runs": [asdict(one) for one in outcomes]}, output)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
