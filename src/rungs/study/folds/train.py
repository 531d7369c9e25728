"""Train a recipe: `rungs.train`. With `data.folds` it is cross-validated, else it is one run."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean, stdev

import numpy as np
from msgspec.structs import replace

from rungs.data.imageset import Source
from rungs.data.split import fold_of_each
from rungs.errors import UserError
from rungs.recipe.flags import door, echo
from rungs.recipe.identity import differences, digest
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import read, to_toml
from rungs.run.folder import RunDir, write_whole
from rungs.run.predictions import decode
from rungs.run.record import EvalResult, RunRecord, to_json
from rungs.study.folds import page
from rungs.study.folds.final import final_recipe, finish
from rungs.study.folds.pooled import pooled
from rungs.study.folds.record import FoldRow, FoldsDir, FoldsRecord, packed
from rungs.study.processes import require_alone
from rungs.study.statistics import of_folds
from rungs.training import train as training
from rungs.training.dataset import open_source
from rungs.training.device import World, open_world
from rungs.training.options import RunOptions, TrainOptions
from rungs.training.run import run_recipe
from rungs.training.train import TrainPlan


@dataclass(frozen=True)
class FoldsPlan:
    """A cross-validation, ready to run."""

    options: TrainOptions
    recipe: Recipe
    folder: FoldsDir


def prepare(options: TrainOptions) -> TrainPlan | FoldsPlan:
    """Read the recipe and choose the folder; nothing is written.

    Raises:
        UserError: No such recipe, or a wrong field, type or value; nothing to resume.
    """
    plan = training.prepare(options)
    if plan.recipe.data.folds is None or plan.recipe.data.fold is not None:
        return plan
    require_alone("train")
    if not plan.recipe.evaluation.score_test:
        do = "leave evaluation.score_test out, or data.folds"
        raise UserError("folds are tested, but the test set is to stay closed", where="data.folds", do=do)
    folder = FoldsDir(plan.folder.path)
    if options.resume:
        _require_same(plan.recipe, folder)
    else:
        plan.folder.require_free()
        folder.require_free()
    return FoldsPlan(options, plan.recipe, folder)


def _require_same(recipe: Recipe, folder: FoldsDir) -> None:
    """Refuse to resume in a folder of a single run, or of a cross-validation with other settings.

    Raises:
        UserError: It is one.
    """
    single = RunDir(folder.path)
    if single.record.exists() or any(single.checkpoints.glob("*.ckpt")):
        do = "give another --out, or leave data.folds out to resume it"
        raise UserError("this folder holds a single run, not a cross-validation", where=folder.path, do=do)
    if folder.recipe.exists() and digest(before := read(folder.recipe)) != digest(recipe):
        what = f"this folder holds another recipe: {', '.join(differences(recipe, before))} differ"
        do = "give the same recipe as before (see recipe.toml there), or another --out"
        raise UserError(what, where=folder.path, do=do)


def run(plan: TrainPlan | FoldsPlan) -> RunRecord | FoldsRecord:
    """Train, write the folder and its report, and return the record.

    With `data.folds`, a net is trained for each fold, which tests it, and then a final one on all images.

    Raises:
        UserError: Bad data, a net that does not fit, a folder that holds another run, a fold that diverged.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    return training.run(plan) if isinstance(plan, TrainPlan) else cross_validate(plan)


train = door("train", TrainOptions, prepare, run)


def cross_validate(plan: FoldsPlan) -> FoldsRecord:
    """Train the folds and the final net, keeping those that are finished; write and return the record."""
    place, started = plan.folder, datetime.now(UTC).isoformat(timespec="seconds")
    place.prepare()
    with place.locked(), open_world() as world:
        source = open_source(plan.recipe)
        write_whole(place.recipe, to_toml(plan.recipe).encode())
        try:
            folds = _train_folds(plan, source, world)
        finally:
            if not place.fold(0).path.exists():  # nothing was trained, as of bad data: leave no folder behind
                place.recipe.unlink()
        final = _run(plan, final_recipe(plan.recipe, folds), place.final, source, world)
        record = _record(plan, source, folds, final, started)
        finish(final, folds, record.score, place.final)
        write_whole(place.predictions, _as_csv(record).encode())
        write_whole(place.record, to_json(record))
        page.write(record, place)
    return record


def _train_folds(plan: FoldsPlan, source: Source, world: World) -> list[RunRecord]:
    recipe, found = plan.recipe, list[RunRecord]()
    assert recipe.data.folds is not None
    for fold in range(recipe.data.folds):
        _say(plan, f"fold {fold + 1} of {recipe.data.folds}")
        one = replace(recipe, data=replace(recipe.data, fold=fold))
        found.append(_run(plan, one, plan.folder.fold(fold), source, world))
    _say(plan, "final net, on all images")
    return found


def _run(plan: FoldsPlan, recipe: Recipe, place: RunDir, source: Source, world: World) -> RunRecord:
    """Train one of the runs, or return its record if it is finished."""
    options = plan.options
    how = RunOptions(
        resume=options.resume and place.holds_run(),
        skip_unreadable=options.skip_unreadable,
        tensorboard=options.tensorboard,
        screen=options.screen,
        keep_going=options.keep_going,
        model=options.model,
    )
    began = time.perf_counter()
    record = run_recipe(recipe, place, world, how, source)
    if record.status != "finished":
        do = "change the recipe, and give another --out" if record.status == "diverged" else "resume with --resume"
        raise UserError(f"{record.status}: {record.ending}", where=place.path, do=do)
    result = record.test
    score = f": {100 * result.accuracy:.2f} % of {result.n} images" if result else ""
    _say(plan, f"{place.path}{score}; {time.perf_counter() - began:.0f} s")
    return record


def _say(plan: FoldsPlan, text: str) -> None:
    if plan.options.screen is not None:
        plan.options.screen.say(text)


def _record(plan: FoldsPlan, source: Source, folds: Sequence[RunRecord], final: RunRecord, started: str) -> FoldsRecord:
    fold_of = fold_of_each(source, folds[0].recipe.data, plan.recipe.seed)  # resolved: with the groups of its source
    results = [_tested(record) for record in folds]
    places = [np.flatnonzero(fold_of == fold) for fold in range(len(folds))]
    result = pooled(results, places, plan.recipe.evaluation.mistakes)
    accuracies = [one.accuracy for one in results]
    rows = tuple(_row(plan.folder, fold, record) for fold, record in enumerate(folds))
    return FoldsRecord(
        command=echo("train", plan.options),
        recipe=plan.recipe,
        data=final.data,
        model=final.model,
        environment=final.environment,
        folds=rows,
        result=result,
        fold_of=packed(fold_of),
        paths=_paths(source),
        sd=stdev(accuracies),
        interval=of_folds(
            accuracies, result.accuracy, result.accuracy_interval, fmean(row.images / row.train for row in rows)
        ),
        final_epochs=len(final.history),
        started=min(started, *(record.started for record in folds)),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=sum(record.wall_s for record in (*folds, final)),
    )


def _tested(record: RunRecord) -> EvalResult:
    assert record.test is not None  # it is finished, and its test set is not closed
    return record.test


def _row(folder: FoldsDir, fold: int, record: RunRecord) -> FoldRow:
    result, counts = _tested(record), {part: sum(of_classes) for part, of_classes in record.data.counts.items()}
    return FoldRow(
        fold=fold,
        folder=folder.fold(fold).path.name,
        images=result.n,
        train=counts["train"],
        validation=counts.get("validation", 0),
        accuracy=result.accuracy,
        accuracy_interval=result.accuracy_interval,
        balanced_accuracy=result.balanced_accuracy,
        loss=result.loss,
        best_epoch=record.best_epoch or len(record.history),
        epochs=len(record.history),
        temperature=record.temperature,
        wall_s=record.wall_s,
    )


def _paths(source: Source) -> tuple[str, ...]:
    """Return the files of all images that the folds are made of, in their order; () where they have none."""
    sets = [part for part in (source.train, source.validation) if part is not None]
    return tuple(path for part in sets for path in part.paths or ())


def _as_csv(record: FoldsRecord) -> str:
    """Return a line for each image: its file or number, fold (from 1), truth, prediction and confidence."""
    assert record.result.per_image is not None
    found, names = decode(record.result.per_image), record.data.classes
    paths = record.paths or range(len(found))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["image", "fold", "truth", "predicted", "confidence"])
    columns = (record.of_each + 1, found.truth, found.predicted, found.confidence)
    for path, fold, truth, predicted, confidence in zip(paths, *columns, strict=True):
        writer.writerow([path, fold, names[truth], names[predicted], f"{confidence:.6g}"])
    return out.getvalue()
