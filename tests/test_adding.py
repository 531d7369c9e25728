"""An augmentation and a model are added by the steps of CONTRIBUTING.md, three files each and no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import rungs

RAIN = '''"""Rain: grey streaks."""

from __future__ import annotations

import torch
from torch import Tensor

from rungs.data.augment.draw import Draw


def rain(x: Tensor, y: Tensor, draw: Draw, *, p: float) -> tuple[Tensor, Tensor]:
    """Turn a pixel grey with probability `p`."""
    return torch.where(torch.rand(x.shape[2:], generator=draw.generator, device=x.device) < p, 0.5, x), y
'''
RAIN_SPEC = '''class Rain(Augment, tag="rain", frozen=True):
    """Grey streaks, at each pixel with probability `p`."""

    p: Probability = 0.1


AnyAugment: TypeAlias = Rain | '''
ONE_LAYER = '''"""A net of one layer."""

from __future__ import annotations

from torch import Tensor, nn


class OneLayer(nn.Module):
    """A hidden linear layer of `width`, then the logits."""

    def __init__(self, *, width: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3 * image_size**2, width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.hidden(x.flatten(1)).relu())
'''
ONE_LAYER_SPEC = '''class OneLayer(Spec, tag="one-layer", tag_field="name", frozen=True):
    """One hidden linear layer."""

    width: Count = 16


AnyModel: TypeAlias = OneLayer | '''
RECIPE = """
name = "toys"
data = { source = "digits", train = 100, validation = 50 }
augment = { train = [{ name = "rain" }] }
model = { name = "one-layer" }
optim = { name = "sgd", lr = 0.1 }
training = { epochs = 1, batch_size = 50, compile = "no" }
"""
USE = """
import sys
from rungs import train
from rungs.cli import main
assert train("toys.toml", folder="run").model.name == "one-layer"
for words in (["list", "models"], ["list", "augments"]):
    sys.argv = ["rungs", *words]
    main.main()
"""


def edit(path: Path, **pairs: str) -> None:
    text = path.read_text()
    for before, after in ((pairs[f"before_{i}"], pairs[f"after_{i}"]) for i in range(len(pairs) // 2)):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path.write_text(text)


def test_three_files_each_add_an_augmentation_and_a_model(tmp_path: Path) -> None:
    package = tmp_path / "rungs"
    shutil.copytree(Path(rungs.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))

    (package / "data/augment/rain.py").write_text(RAIN)
    edit(
        package / "data/augment/__init__.py",
        before_0="from rungs.data.augment.mix import",
        after_0="from rungs.data.augment.rain import rain\nfrom rungs.data.augment.mix import",
        before_1='    "crop": crop,\n',
        after_1='    "crop": crop,\n    "rain": rain,\n',
    )
    edit(package / "recipe/augments.py", before_0="AnyAugment: TypeAlias = ", after_0=RAIN_SPEC)

    (package / "models/one_layer.py").write_text(ONE_LAYER)
    edit(
        package / "models/__init__.py",
        before_0="from rungs.models.plain import",
        after_0="from rungs.models.one_layer import OneLayer\nfrom rungs.models.plain import",
        before_1='    "plain": PlainNet,\n',
        after_1='    "plain": PlainNet,\n    "one-layer": OneLayer,\n',
    )
    edit(package / "recipe/models.py", before_0="AnyModel: TypeAlias = ", after_0=ONE_LAYER_SPEC)

    (tmp_path / "toys.toml").write_text(RECIPE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "one-layer" in done.stdout
    assert "One hidden linear layer." in done.stdout
    assert "Grey streaks, at each pixel with probability `p`." in done.stdout
