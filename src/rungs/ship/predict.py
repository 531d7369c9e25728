"""Predict the label and class probabilities of image files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch

from rungs.data.batches import to_float
from rungs.data.decode import Undecodable, read_header, read_picture
from rungs.data.doubts import doubts
from rungs.data.reading import reading_of
from rungs.data.sources.names import natural, printable
from rungs.data.sources.tree import read_image, walk
from rungs.evaluate.device import open_device
from rungs.models.own import OwnNet
from rungs.models.weights import Weights
from rungs.run.folder import RunDir, net_folder
from rungs.run.record import EvalResult
from rungs.ship.bundle import load_weights
from rungs.ship.evaluate import Part, evaluate


class Prediction(msgspec.Struct, frozen=True):
    """The prediction for one file, or `error` if it is not a readable image.

    `notes`: what is odd about the picture, a phrase each, such as a TIFF of several pages.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    error: str | None = None
    notes: tuple[str, ...] = ()


class Classifier:
    """A trained net that classifies image files.

    Attributes:
        weights: Its net, classes, image size and recipe.
        looks: The log of test-set openings of its run; None without a run folder.
    """

    def __init__(self, weights: Weights, looks: Path | None = None) -> None:
        self.weights, self.looks = weights, looks
        self.device = weights.model.mean.device

    @property
    def classes(self) -> tuple[str, ...]:
        """The K names, in the order of the probabilities."""
        return self.weights.classes

    def predict(self, files: str | Path | Iterable[str | Path], batch_size: int = 64) -> list[Prediction]:
        """Classify an image file, or several, or all in and below a folder, decoded as in training, in fp32.

        The logits are divided by the net's temperature, so that the probabilities are those validation found honest.

        Returns:
            One per file; for an unreadable file, the reason in `error` and no label.

        Raises:
            UserError: A folder that may not be listed.
        """
        given = [files] if isinstance(files, str | Path) else files
        paths = [path for file in given for path in _images(Path(file))]
        found: list[Prediction] = []
        for start in range(0, len(paths), batch_size):
            found.extend(self._predict_batch(paths[start : start + batch_size]))
        return found

    def evaluate(
        self, source: str | None = None, part: Part | None = None, *, skip_unreadable: bool = False
    ) -> EvalResult:
        """Evaluate the net on any source with its classes: see `rungs.ship.evaluate.evaluate`."""
        return evaluate(self.weights, source, part, skip_unreadable=skip_unreadable, log=self.looks)

    def probabilities(self, images: np.ndarray) -> torch.Tensor:
        """Return float32 (B, K) for uint8 (B, 3, H, W) images of the net's size, calibrated by its temperature."""
        with torch.inference_mode():
            x = to_float(torch.from_numpy(images).to(self.device))
            logits: torch.Tensor = self.weights.model(x)  # (B, K)
            return (logits.float() / self.weights.temperature).softmax(1).cpu()

    def _predict_batch(self, paths: Sequence[Path]) -> list[Prediction]:
        images, errors, notes, how = [], {}, [], reading_of(self.weights.recipe.data)
        for path in paths:
            try:
                if path.is_dir():
                    raise IsADirectoryError("a folder without images")
                content = read_image(path)
                header = read_header(content, str(path))
                picture = read_picture(content, self.weights.image_size, str(path), how.interpolation, how.crop)
                images.append(picture.pixels)
                notes.append((*doubts(path.name, header, picture.pixels), *picture.notes))
            except Undecodable as error:
                errors[path] = error.reason
            except (OSError, ValueError) as error:  # ValueError: an invalid path
                errors[path] = getattr(error, "strerror", None) or str(error)
        rows = self.probabilities(np.stack(images)).tolist() if images else []
        read = zip(rows, notes, strict=True)
        return [
            Prediction(_shown(path), error=errors[path]) if path in errors else self._prediction(path, *next(read))
            for path in paths
        ]

    def _prediction(self, path: Path, row: list[float], notes: tuple[str, ...]) -> Prediction:
        probability = max(row)
        label = self.classes[row.index(probability)]
        probabilities = dict(zip(self.classes, row, strict=True))
        return Prediction(_shown(path), label, probability, probabilities, notes=notes)


def _images(path: Path) -> list[Path]:
    """Return the images in and below a folder, hidden and systems' files left out; for a file or nothing, itself."""
    if not os.path.isdir(path):  # noqa: PTH112 (`Path.is_dir` raises on invalid names)
        return [path]
    files = [file for file in walk(path).files if file.is_image]
    return [path.joinpath(*file.steps) for file in sorted(files, key=lambda file: natural(file.name))] or [path]


def _shown(path: Path) -> str:
    """Return a file's name with undecodable bytes escaped."""
    return printable(str(path))


def load(run: str | Path, *, model: str | Path | OwnNet | None = None) -> Classifier:
    """Load the net of a run folder or a weights file, for prediction.

    Args:
        run: The folder or the file; of a cross-validation, its final net is loaded.
        model: The user's own net, if the run was trained with one: its file, or as in `rungs.train`. Code in a run's
            folder is never loaded by itself.

    Raises:
        UserError: No weights, or damaged ones.
    """
    path = net_folder(run)
    place = RunDir(path if path.is_dir() else path.parent)
    return Classifier(load_weights(path, open_device(), model), place.looks if place.holds_run() else None)
