"""Evaluate a trained net on the parts of its own data, or on any dataset of its classes."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from msgspec import structs
from torch import Tensor

from rungs import data
from rungs.data.audit import require_readable
from rungs.data.batches import batches, to_float
from rungs.data.imageset import ImageSet, Source
from rungs.data.reading import Reading, reading_of
from rungs.data.split import Parts, split_source
from rungs.errors import UserError
from rungs.evaluate import evaluate_logits
from rungs.evaluate.score import score
from rungs.models.weights import Weights
from rungs.run import looks
from rungs.run.record import EvalResult
from rungs.ship import notes
from rungs.ship.bundle import require_classes

Part = Literal["train", "validation", "test", "all"]
AT_HAND = ("folder", "csv", "parquet", "digits")
"""Sources that are read without a download."""


def evaluate(
    weights: Weights,
    source: str | None = None,
    part: Part | None = None,
    *,
    skip_unreadable: bool = False,
    log: Path | None = None,
) -> EvalResult:
    """Evaluate a net in its training precision, without augmentation.

    The result is of the net as it was trained, as in its run's record; `scaled` says what its temperature makes of it,
    and `notes` which files were left out, and whether the net was trained on some of the images.
    Classes are matched by name: the source may lack some, whose row of the confusion matrix is then zero.

    Args:
        weights: The net.
        source: Any source of images with no other classes; by default the recipe's own.
        part: "train", "validation" and "test" are split as in the recipe; "all" is every image of the source,
            including the training images. By default "test" for the run's own images, wherever they are stored, and
            for a source that has a test set, else "all".
        skip_unreadable: Skip unreadable files instead of stopping.
        log: The run's log of test-set openings; evaluating on a test set, its own or another, is noted there.

    Raises:
        UserError: The source has a class that the net does not know, or no such part.
    """
    recipe = weights.recipe
    name = source or recipe.data.source
    found = _opened(weights, name)
    lost = require_readable(found, skip_unreadable)
    own = _own_parts(found, weights)
    if part is None:
        part = "test" if name == recipe.data.source or own or found.test is not None else "all"
    sets = [_by_name(one, weights.classes) for one in _sets(found, own, weights, part, name) if len(one)]
    if not sets:
        raise UserError(f"no readable image in the {part} part", where=name, do="fix the files, or choose another part")
    opened = own.test if own is not None and part in ("test", "all") else None
    opened = sets[0] if opened is None and part == "test" else opened
    if log is not None and opened is not None:
        _note(log, f"the trained net, evaluated on {name}{', all its images' * (part == 'all')}", opened)
    known = notes.on_own(own, part, sets) if own else notes.on_others(_trained_on(weights), sets, recipe.data.source)
    result = _scored(weights, sets)
    return structs.replace(result, notes=(*notes.on_skipped(lost), *known))


def _scored(weights: Weights, sets: Sequence[ImageSet]) -> EvalResult:
    """Return the score of a net on all images of some sets together."""
    recipe, device = weights.recipe, weights.model.mean.device
    precision = recipe.training.precision

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()

    def images(index: Tensor) -> Tensor:
        starts = torch.tensor([0, *itertools.accumulate(len(s) for s in sets)])
        which = torch.searchsorted(starts, index, right=True) - 1
        chosen = [sets[w].at(i[None] - starts[w]) for w, i in zip(which.tolist(), index, strict=True)]
        return torch.cat(chosen) if chosen else sets[0].at(index)

    paths = [path for s in sets for path in s.paths or [""] * len(s)] if sets[0].paths else None
    inputs = _inputs(sets, recipe.evaluation.batch_size, device)
    logits, labels = score(weights.model, inputs, autocast)
    return evaluate_logits(
        logits,
        labels,
        images=images,
        paths=paths,
        mistakes=recipe.evaluation.mistakes,
        temperature=weights.temperature,
    )


def _opened(weights: Weights, name: str) -> Source:
    """Open a source as the recipe reads its own, or, where another does not fit that, as it is.

    Raises:
        UserError: It cannot be read, or has a class that the net does not know.
    """
    spec = weights.recipe.data
    as_own = replace(reading_of(spec), for_training=False)
    as_it_is = replace(as_own, layout="auto", image_column=None, label_column=None, group_column=None)
    ways = [as_own]
    if name != spec.source:  # another table may lack the groups, which only splits need, and have its own columns
        ways += [way for way in dict.fromkeys((replace(as_own, group_column=None), as_it_is)) if way != as_own]
    for way in ways[:-1]:
        with contextlib.suppress(UserError):
            return _read(weights, name, way)
    return _read(weights, name, ways[-1])


def _read(weights: Weights, name: str, reading: Reading) -> Source:
    found = data.load(name, weights.image_size, reading)
    require_classes(weights, found.train.classes, name)
    return found


def _by_name(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    """Return a set with its labels as positions in the net's classes."""
    number = torch.tensor([classes.index(name) for name in images.classes], device=images.labels.device)
    return replace(images, labels=number[images.labels], classes=classes)


def _note(path: Path, purpose: str, test: ImageSet) -> None:
    """Note a use of a test set in the run's log; warn if the log cannot be written."""
    try:
        looks.note(path, "evaluated", purpose, len(test), test.hash)
    except UserError as error:
        message = f"this use of the test set could not be noted in the run's log, {path}: {error.what}"
        warnings.warn(message, stacklevel=2)


def _inputs(sets: Sequence[ImageSet], batch_size: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for part in sets:
        for images, labels, _, _ in batches(part, torch.arange(len(part)), batch_size):
            yield to_float(images.to(device)), labels.to(device)


def _own_parts(source: Source, weights: Weights) -> Parts | None:
    """Return the net's own training, validation and test sets, if the source holds the same images."""
    try:
        parts = split_source(source, weights.recipe.data, weights.recipe.seed)
    except UserError:  # other images, too few for the recipe's split
        return None
    return parts if parts.hash == weights.data_hash else None


def _trained_on(weights: Weights) -> ImageSet | None:
    """Return the images that a net was trained on, if they are at hand, without a download, and as they were."""
    name = weights.recipe.data.source
    if name.partition(":")[0] not in AT_HAND:
        return None
    with contextlib.suppress(UserError):
        parts = _own_parts(_opened(weights, name), weights)
        return None if parts is None else parts.train
    return None


def _sets(source: Source, own: Parts | None, weights: Weights, part: Part, name: str) -> list[ImageSet]:
    if part == "all":
        return [s for s in (source.train, source.validation, source.test) if s is not None]
    if part == "test" and own is not None and own.test is not None:
        return [own.test]  # of a fold's net, its fold, whatever test set the source has besides
    if part == "test" and source.test is not None:
        return [source.test]
    recipe = weights.recipe
    if own is None and name == recipe.data.source:
        what = f"the data changed since training: its {part} part may contain training images"
        raise UserError(what, where=name, do="evaluate on new images in a separate folder, or on all: --part all")
    parts = own or split_source(source, recipe.data, recipe.seed)
    final = recipe.data.folds is not None and recipe.data.fold is None
    return [_required(getattr(parts, part), name, part, of_folds=final)]


def _required(part: ImageSet | None, name: str, wanted: str, *, of_folds: bool) -> ImageSet:
    if part is None and of_folds:
        what = f"there is no {wanted} part: this net was trained on all images, and its accuracy is that of the folds"
        raise UserError(what, where=name, do="give new images: --data SOURCE; for the folds: rungs evaluate FOLDER")
    if part is None:
        raise UserError(
            f"there is no {wanted} part", where=name, do="choose another part: train, validation, test or all"
        )
    return part
