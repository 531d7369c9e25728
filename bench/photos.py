"""How good are the photo recipes on a folder of photos? Its own split with several seeds, then folds of all images.

The folder holds `train` and `val` or `test`, with a folder per class in each. Own split: the second part is the test
set, which nothing is chosen by; the validation part is cut from `train` by each seed. Folds: all images pooled, each
tested once by a net that was not trained on it. Finished runs in OUT are kept, so the same command goes on.

    python bench/photos.py --data ~/data/hymenoptera_data --recipes photos-probe photos --out bench-photos
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from common import keep, sentences

import rungs
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.run.record import RunRecord
from rungs.study.folds.record import FoldsRecord
from rungs.training.device import cores, device_name
from rungs.training.memory import keep_freed_memory


def main(
    data: Path,
    out: Path,
    recipes: tuple[str, ...] = ("photos-probe", "photos", "photos-scratch"),
    seeds: int = 5,
    folds: int = 5,
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = (),
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Train the recipes and print their accuracies.

    Args:
        data: The folder of photos.
        out: Where the runs go.
        recipes: Names of recipes.
        seeds: Trainings on the folder's own split; 0: none.
        folds: Folds of all images; 0: none.
        overrides: Fields of all recipes to change.
        json_path: Also write the figures here.
    """
    keep_freed_memory()
    own, pooled = own_split(data, out / "own"), all_images(data, out / "pooled")
    figures: dict[str, Any] = {
        "machine": f"{device_name(open_device())}, {cores()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
    }
    for recipe in recipes:
        runs = [
            rungs.train(
                recipe, overrides, data=f"folder:{own}", seed=seed, folder=out / f"{recipe}-{seed}", resume=True
            )
            for seed in range(seeds)
        ]
        found: dict[str, Any] = {"own split": of_seeds(runs)} if runs else {}
        if folds:
            record = rungs.train(
                recipe, overrides, data=f"folder:{pooled}", folds=folds, folder=out / f"{recipe}-folds", resume=True
            )
            found["folds"] = of_folds(record)
        figures[recipe] = found
        print(recipe, found, flush=True)
        keep(figures, json_path)


def own_split(data: Path, folder: Path) -> Path:
    """Return a folder in which the set's second part is the test set."""
    second = next((data / name for name in ("test", "val") if (data / name).is_dir()), None)
    if second is None or not (data / "train").is_dir():
        raise UserError("no train beside a val or test", where=data, do="give a folder with these two parts")
    link(folder / "train", data / "train")
    link(folder / "test", second)
    return folder


def all_images(data: Path, folder: Path) -> Path:
    """Return a folder of classes, each with the images of all parts."""
    for image in sorted(data.glob("*/*/*")):
        part, name = image.parts[-3:-1]
        link(folder / name / f"{part}-{image.name}", image)
    return folder


def link(place: Path, target: Path) -> None:
    """Make a link, or keep it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.symlink_to(target.resolve(), target_is_directory=target.is_dir())


def of_seeds(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Return the accuracies on the test set, of the weights that validation chose."""
    scores = [run.test.accuracy for run in runs if run.test is not None]
    return {
        "n": len(scores),
        "images": runs[0].test.n if runs[0].test else 0,
        "mean": round(statistics.mean(scores), 4),
        "each": [round(score, 4) for score in scores],
        "seconds": [round(run.wall_s) for run in runs],
        "images/s": [round(statistics.median(row.images_per_s for row in run.history), 1) for run in runs],
    }


def of_folds(record: FoldsRecord) -> dict[str, Any]:
    """Return the accuracy over all images, with its interval."""
    return {
        "images": record.result.n,
        "accuracy": round(record.result.accuracy, 4),
        "interval": [round(bound, 4) for bound in record.interval],
        "each": [round(fold.accuracy, 4) for fold in record.folds],
        "seconds": [round(fold.wall_s) for fold in record.folds],
    }


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
