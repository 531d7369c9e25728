"""How much does a split flatter that tears near duplicates apart, and is that cured by keeping them together?

Images of a source, its parts pooled, are written to a folder; every k-th of them gets three altered copies: encoded as
JPEG of quality 50, mirrored and cropped by 2 %, darker. A recipe is then trained on that folder with each seed twice:
each image by itself (`data.groups` none) and near duplicates together. Both test on a fifth of the folder, drawn by the
seed. The copies are all that differs between a naive split and an honest one, so the difference is what they pretend.

    python bench/leaky_split.py --data folder:photos --image-size 224 --recipe photos-probe
    python bench/leaky_split.py --data cifar10 --images 1000 --recipe digits-quick --epochs 20
"""

from __future__ import annotations

import io
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import keep, sentences
from PIL import Image, ImageEnhance, ImageOps
from scipy.stats import t as student

import rungs
from rungs import data as sources
from rungs.data.imageset import ImageSet
from rungs.data.twins import whole
from rungs.run.record import RunRecord

GROUPS = {"naive": "none", "groups": "near-duplicates"}


def main(
    *,
    data: str,
    recipe: str = "digits-quick",
    images: int = 1000,
    image_size: int = 32,
    every: int = 2,
    epochs: int | None = None,
    seeds: int = 5,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Train on both splits with each seed and print the accuracies and their difference.

    Args:
        data: Source of the images.
        recipe: What is trained.
        images: Of these, so many at most, classes mixed as they are.
        image_size: Pixels.
        every: Every so many images has copies.
        epochs: Of each training (default: the recipe's).
        seeds: Trainings on each split.
        json_path: Also write the figures here.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        originals, copies = _plant(list(whole(sources.load(data, image_size)).values()), images, every, folder / "all")
        print(f"{originals} images of {data} at {image_size} pixels and {copies} altered copies; {recipe}", flush=True)
        found: dict[str, list[RunRecord]] = {name: [] for name in GROUPS}
        for seed in range(seeds):
            for name, groups in GROUPS.items():
                changes = [f"data.source='folder:{folder / 'all'}'", f"data.groups.name='{groups}'", f"seed={seed}"]
                changes += [f"data.image_size={image_size}", "data.train=none", "data.validation=0.1", "data.test=0.2"]
                changes += [f"training.epochs={epochs}"] if epochs else []
                record = rungs.train(recipe, changes, folder=folder / f"{name}-{seed}")
                found[name].append(record)
                print(f"seed {seed}, {name}: {_line(record)}", flush=True)
    naive, honest = ([_accuracy(record) for record in found[name]] for name in GROUPS)
    difference = [a - b for a, b in zip(naive, honest, strict=True)]
    result = {"naive": _summary(naive), "groups": _summary(honest), "difference": _summary(difference)}
    for name, (mean, low, high) in result.items():
        print(f"{name}: {100 * mean:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n = {seeds})")
    keep({"originals": originals, "copies": copies, "seeds": seeds, **result}, json_path)


def _plant(parts: Sequence[ImageSet], most: int, every: int, folder: Path) -> tuple[int, int]:
    """Write images and altered copies, a folder per class; return how many of both."""
    numbered = [(part, i) for part in parts for i in range(len(part))]
    step = max(1, len(numbered) // most)
    chosen, copies = numbered[::step][:most], 0
    for n, (part, i) in enumerate(chosen):
        place = folder / part.classes[int(part.labels[i])]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(part.at(torch.tensor([i]))[0].permute(1, 2, 0).contiguous().numpy())
        picture.save(place / f"{n:06}.png")
        for k, altered in enumerate(_altered(picture) if n % every == 0 else ()):
            altered.save(place / f"{n:06}-{k}.png")
            copies += 1
    return len(chosen), copies


def _altered(picture: Image.Image) -> Iterator[Image.Image]:
    """Yield three copies as people have them: sent, mirrored and trimmed, darkened."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=50)
    yield Image.open(file).convert("RGB")
    trim = 0.01 * picture.width
    box = (trim, trim, picture.width - trim, picture.height - trim)
    yield ImageOps.mirror(picture).resize(picture.size, Image.Resampling.BICUBIC, box)
    yield ImageEnhance.Brightness(picture).enhance(0.8)


def _accuracy(record: RunRecord) -> float:
    assert record.test is not None
    return record.test.accuracy


def _line(record: RunRecord) -> str:
    words = f"test accuracy {100 * _accuracy(record):.1f} %"
    if record.test is not None and (rest := record.test.without_twins) is not None:
        words += f"; {100 * rest.accuracy:.1f} % without {rest.twins} twins of training images"
    return words


def _summary(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval over seeds (Student's t); that of one value is unknown."""
    mean, n = statistics.fmean(values), len(values)
    half = student.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.inf
    return mean, mean - half, mean + half


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
