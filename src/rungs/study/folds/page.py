"""The page of a cross-validation: one HTML file that needs no network, and its figures as SVG and PNG."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report import run_figures
from rungs.report.page import Drawing, compact, lay_out
from rungs.study.folds import figures, tables, words
from rungs.study.folds.record import FoldsDir, FoldsRecord


def write(record: FoldsRecord, folder: FoldsDir) -> Path:
    """Write the page from the record alone and return its path."""
    facts = {
        "record": record,
        "verdict": words.verdict(record),
        "words": words.words(record),
        "method": words.METHOD,
        "fold_heads": tables.FOLD_HEADS,
        "fold_rows": list(tables.folds(record)),
        "class_heads": tables.CLASS_HEADS,
        "class_rows": list(tables.classes(record)),
        "folder": shlex.quote(str(folder.path)),
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    return lay_out("rungs.study.folds/page.html", facts, _drawings(record), folder.report)


def _drawings(record: FoldsRecord) -> Iterator[Drawing]:
    result, classes = record.result, record.data.classes
    yield Drawing("folds", f"{words.verdict(record)} The table below has the folds.", figures.folds(record))
    about = f"Confusion matrix of {result.n} images, {len(classes)} classes"
    yield Drawing("confusion-counts", f"{about}: counts", run_figures.confusion(result, classes, normalised=False))
    shares = run_figures.confusion(result, classes, normalised=True)
    yield Drawing("confusion-percent", f"{about}: per cent of each true class", shares)
    alt = f"Accuracy over confidence; calibration error {result.calibration_error:.3f}"
    yield Drawing("calibration", alt, run_figures.calibration(result))
