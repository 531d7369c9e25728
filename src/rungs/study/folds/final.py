"""The final net of a cross-validation: trained on all images, so that its accuracy is that of the folds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.models.weights import with_temperature
from rungs.recipe.optimizers import Plateau
from rungs.recipe.shorten import stretched
from rungs.recipe.spec import Recipe
from rungs.report import run_page
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import FoldsScore, RunRecord
from rungs.study.folds.pooled import mean_temperature


def final_recipe(recipe: Recipe, folds: Sequence[RunRecord]) -> Recipe:
    """Return the recipe of the final net: all images, and as many epochs as the folds' best ones have on average.

    Nothing is left to stop at or to choose an epoch by, so its schedule ends with the last of these epochs. A schedule
    that follows validation needs it: then the recipe stays as it is, with its validation part.
    """
    if isinstance(recipe.schedule, Plateau):
        return recipe
    epochs = max(1, round(fmean(record.best_epoch or 1 for record in folds)))
    shorter = stretched(recipe, epochs / recipe.training.epochs)
    return replace(
        shorter,
        data=replace(shorter.data, validation=0),
        training=replace(shorter.training, epochs=epochs),
        stopping=replace(shorter.stopping, patience=None),
    )


def finish(record: RunRecord, folds: Sequence[RunRecord], score: FoldsScore, place: RunDir) -> RunRecord:
    """Give the final net the folds' number and, where it has no validation images, their mean temperature."""
    record = replace(record, folds=score)
    if record.validation is None and all(fold.validation is not None for fold in folds):
        temperature = mean_temperature([fold.temperature for fold in folds])
        write_whole(place.weights, with_temperature(place.weights, temperature))
        record = replace(record, temperature=temperature, temperature_reason="taken as the mean of the folds'")
    place.write_record(record)
    run_page.write(record, examine(record), place, interpretation(record))
    return record
