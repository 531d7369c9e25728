"""Commands on one run: train, evaluate, predict, report."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.markup import escape
from rich.table import Table

from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.run.record import EvalResult, RunRecord, to_json

if TYPE_CHECKING:
    from rungs.ship.predict import Classifier
from rungs.cli.terminal import is_first_rank, out


def finish(record: RunRecord, folder: Path, *, quiet: bool) -> None:
    """Print the verdict of a run and where its report lies; exit 1 when training diverged."""
    from rungs.report import run_tables as tables

    if not quiet and is_first_rank():
        out.print(tables.summary(record))
        out.print(f"report: {RunDir(folder).report}", soft_wrap=True)
    if record.status == "diverged":
        sys.exit(1)


def report(folder: Path) -> None:
    """Rebuild the report of a run or of a study from its record."""
    from rungs.study.folders import rewrite_report

    out.print(f"report: {rewrite_report(folder)}", soft_wrap=True)


def evaluation(result: EvalResult, classes: Sequence[str], *, as_json: bool) -> None:
    """Print the score of a net on a set."""
    from rungs.report import format as fmt
    from rungs.report import metric
    from rungs.report import run_tables as tables

    if as_json:
        sys.stdout.buffer.write(to_json(result))
    else:
        low, high = result.accuracy_interval
        accuracy = f"accuracy {fmt.percent(result.accuracy)} (95 % interval {metric.between('accuracy', low, high)})"
        out.print(f"{accuracy}, loss {fmt.loss(result.loss)}, n = {fmt.count(result.n)}", soft_wrap=True)
        out.print(tables.per_class(result, classes))


def predictions(classifier: Classifier, files: Sequence[Path], form: str) -> None:
    """Print what the net says of each file.

    Raises:
        UserError: After printing, when a file was no readable image.
    """
    if not files:
        raise UserError("no files given", do="rungs predict RUN photo.jpg …")
    found = classifier.predict(files)
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["path", "label", "probability", *classifier.classes, "error"])
        for p in found:
            values = [] if p.probabilities is None else [f"{v:.6g}" for v in p.probabilities.values()]
            row = [p.path, p.label, p.probability and f"{p.probability:.6g}", *values]
            writer.writerow([*row, *[""] * (len(classifier.classes) + 3 - len(row)), p.error])
    else:
        table = Table("file", "label", "probability", box=None)
        for p in found:
            if p.label is None or p.probability is None:
                table.add_row(escape(p.path), "[red]unreadable[/]", "")
            else:
                table.add_row(escape(p.path), escape(p.label), f"{100 * p.probability:.1f} %")
        out.print(table)
    bad = [f"{p.path}: {p.error}" for p in found if p.error]
    if bad:
        do = "give image files (JPEG, PNG, WebP, GIF, BMP)"
        raise UserError("not readable as an image:\n  " + "\n  ".join(bad), do=do)
