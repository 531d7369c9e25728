"""Commands on one run: train, evaluate, predict, report."""

from __future__ import annotations

import csv
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from rungs.cli.terminal import is_first_rank, out, print_json, print_unfolded
from rungs.errors import UserError
from rungs.recipe.flags import Data, Files, Part, Where
from rungs.training.options import TrainOptions

if TYPE_CHECKING:
    from rungs.ship.predict import Prediction
    from rungs.study.folds.record import FoldsRecord


def train(options: Annotated[TrainOptions, arg(name="")], quiet: bool = False) -> None:
    """Train a recipe; write a run folder with weights, record and report.

    With --folds K it is cross-validated: a run for each fold, and a final net that is trained on all images.

    Args:
        options: See `TrainOptions`.
        quiet: Show errors only.
    """
    from rungs.report import run_tables
    from rungs.run.record import RunRecord
    from rungs.study.folds import tables
    from rungs.study.folds import train as training
    from rungs.training.screen import pick_screen
    from rungs.training.train import require_run

    if options.resume and options.folder is not None:
        require_run(options.folder)
    plan = training.prepare(dataclasses.replace(options, screen=pick_screen(quiet=quiet)))
    record = training.run(plan)
    if not quiet and is_first_rank():
        summary = run_tables.summary(record) if isinstance(record, RunRecord) else tables.summary(record)
        out.print(summary)
        out.print(f"report: {plan.folder.report}", soft_wrap=True)
    if isinstance(record, RunRecord) and record.status == "diverged":
        sys.exit(1)


def evaluate(
    run: Positional[Path],
    /,
    data: Data = None,
    part: Part = None,
    model: Where = None,
    skip_unreadable: bool = False,
    json: bool = False,
) -> None:
    """Score a run's weights on any set of images of its classes; the set may lack some of them.

    The final net of a cross-validation was trained on all images: without --data the folds' score is printed.

    Args:
        run: Run folder, that of a cross-validation, or weights.safetensors.
        data: Source of images (default: the recipe's own).
        part: Part of the source (default: test where there is one, else all).
        model: Python file of the run's net, if it is your own; only a file named here is loaded.
        skip_unreadable: Leave unreadable files out instead of stopping.
        json: Print the whole result as JSON.
    """
    from rungs.report import format as fmt
    from rungs.report import metric, run_tables
    from rungs.ship.predict import load

    if data is None and part is None and (folds := _cross_validated(run)) is not None:
        _print_folds(folds, json=json)
        return
    net = load(run, model=model)
    result = net.evaluate(data, part, skip_unreadable=skip_unreadable)
    if json:
        print_json(result)
        return
    interval = metric.between("accuracy", *result.accuracy_interval)
    accuracy = f"accuracy {fmt.percent(result.accuracy)} (95 % interval {interval})"
    accuracy += f", top 5 {fmt.percent(result.top5_accuracy)}" if result.top5_accuracy is not None else ""
    out.print(f"{accuracy}, loss {fmt.loss(result.loss)}, n = {fmt.count(result.n)}", soft_wrap=True)
    out.print(f"calibration error {run_tables.calibration(result)}", soft_wrap=True)
    if absent := [name for name, row in zip(net.classes, result.confusion, strict=True) if not sum(row)]:
        out.print(f"no images of {', '.join(map(fmt.named, absent))}", markup=False, soft_wrap=True)
    for note in result.notes:
        out.print(note, markup=False, soft_wrap=True)
    out.print(run_tables.per_class(result, net.classes))


def _cross_validated(run: Path) -> FoldsRecord | None:
    """Return the record of a cross-validation; None for any other folder or file."""
    from rungs.study.folds.record import FoldsDir

    place = FoldsDir(run)
    return place.read_record() if place.record.is_file() else None


def _print_folds(record: FoldsRecord, *, json: bool) -> None:
    from rungs.study.folds import tables, words

    if json:
        print_json(record.result)
        return
    out.print(words.verdict(record), soft_wrap=True)
    out.print("The final net was trained on all of them: score it on new images with --data SOURCE.", soft_wrap=True)
    out.print(tables.by_class(record))


def predict(run: Positional[Path], files: Files, /, model: Where = None, json: bool = False, csv: bool = False) -> None:
    """Print label and probability for image files.

    Args:
        run: Run folder, that of a cross-validation, or weights.safetensors.
        files: Images (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC), or folders: all images in and below them.
        model: Python file of the run's net, if it is your own; only a file named here is loaded.
        json: Print JSON with all probabilities.
        csv: Print CSV with all probabilities.
    """
    from rungs.data.formats import READERS
    from rungs.report import run_tables
    from rungs.ship.predict import load

    if json and csv:
        raise UserError("two output formats given", where="--json --csv", do="give one of them")
    if not files:
        raise UserError("no files given", do="rungs predict RUN photo.jpg …, or a folder")
    net = load(run, model=model)
    found = net.predict(files)
    if json:
        print_json(found)
    elif csv:
        _print_csv(found, net.classes)
    else:
        _print_table(found)
        if (folds := _cross_validated(run)) is not None:
            out.print(run_tables.of_folds(folds.score), soft_wrap=True)
    if bad := [f"{one.path}: {one.error}" for one in found if one.error]:
        do = f"check the paths, and give image files ({', '.join(READERS)})"
        raise UserError("not readable as an image:\n  " + "\n  ".join(bad), do=do)


def _print_csv(found: Sequence[Prediction], classes: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "label", "probability", *classes, "error"])
    for one in found:
        values = [] if one.probabilities is None else [f"{value:.6g}" for value in one.probabilities.values()]
        row = [one.path, one.label, one.probability and f"{one.probability:.6g}", *values]
        writer.writerow([*row, *[""] * (len(classes) + 3 - len(row)), one.error])


def _print_table(found: Sequence[Prediction]) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    noted = any(one.notes for one in found)
    table = Table(Column("file", overflow="fold"), "label", "probability", *["note"] * noted, box=None)
    for one in found:
        notes = [escape("; ".join(one.notes))] * noted
        if one.label is None or one.probability is None:
            table.add_row(escape(one.path), "[red]unreadable[/]", "", *notes)
        else:
            table.add_row(escape(one.path), escape(one.label), f"{100 * one.probability:.1f} %", *notes)
    print_unfolded(table)


def report(run: Positional[Path], /) -> None:
    """Rebuild report.html and the figures of a run or a study from its record alone.

    Args:
        run: Folder of a run, a cross-validation, a climb, a bench, a search, a comparison or a range test.
    """
    from rungs.study.folders import rewrite_report

    out.print(f"report: {rewrite_report(run)}", soft_wrap=True)
