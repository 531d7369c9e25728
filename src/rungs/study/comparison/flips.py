"""The images that flipped between two runs, with their pictures, read from the data as the runs read it."""

from __future__ import annotations

import numpy as np

from rungs.errors import UserError
from rungs.run.predictions import Ints, Predictions, decode
from rungs.study.comparison.candidates import Given
from rungs.study.comparison.record import Flip, Flips, Part

MOST = 24
"""Pictures in each direction."""


def flips(part: Part, pair: tuple[Given, Given]) -> Flips:
    """Return the images that only one of two runs classifies correctly, by decreasing confidence of the second.

    If the data is gone or has changed, the pictures are missing and the record gives the reason.
    """
    first, second = (_predictions(run, part) for run in pair)
    gained, lost = ~first.correct & second.correct, first.correct & ~second.correct
    chosen = [_most_confident(mask, second) for mask in (gained, lost)]
    index = np.concatenate(chosen)
    pictures, paths, why = [""] * len(index), list[str | None]([None] * len(index)), ""
    try:
        pictures, paths = _pictures(pair[0], part, index)
    except (UserError, OSError) as error:
        why = error.what if isinstance(error, UserError) else str(error)
    rows = [
        Flip(
            index=i,
            path=path,
            truth=int(first.truth[i]),
            first=int(first.predicted[i]),
            second=int(second.predicted[i]),
            first_confidence=float(first.confidence[i]),
            second_confidence=float(second.confidence[i]),
            picture=picture,
        )
        for i, path, picture in zip(index.tolist(), paths, pictures, strict=True)
    ]
    return Flips(
        part=part,
        seeds=(pair[0].seed, pair[1].seed),
        gained=int(gained.sum()),
        lost=int(lost.sum()),
        newly_correct=tuple(rows[: len(chosen[0])]),
        newly_wrong=tuple(rows[len(chosen[0]) :]),
        why_no_pictures=why,
    )


def _predictions(run: Given, part: Part) -> Predictions:
    result = run.on(part)
    assert result is not None and result.per_image is not None  # ensured by `comparable.images`
    return decode(result.per_image, run.folder.record)


def _most_confident(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], predictions: Predictions) -> Ints:
    index = mask.nonzero()[0]
    return np.asarray(index[np.argsort(-predictions.confidence[index], kind="stable")][:MOST])


def _pictures(run: Given, part: Part, index: Ints) -> tuple[list[str], list[str | None]]:
    """Return pictures and files of the images at some positions.

    Raises:
        UserError: The data is missing, or is not what the run saw.
    """
    import torch

    from rungs import data
    from rungs.data.split import split_source
    from rungs.evaluate.mistakes import png

    if not len(index):
        return [], []
    record = run.record
    found = getattr(split_source(data.open_source(record.recipe.data), record.recipe.data,
                           record.recipe.seed), part)  # fmt: skip
    if found is None or found.hash != record.data.hashes.get(part):
        raise UserError("the data has changed since training", where=record.recipe.data.source)
    pictures = [png(image.cpu()) for image in found.at(torch.from_numpy(index))]
    return pictures, [found.paths[i] if found.paths else None for i in index.tolist()]
