"""The tables of a cross-validation, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.run.reliability import wilson
from rungs.study.folds import words
from rungs.study.folds.record import FoldsRecord

FOLD_HEADS = ("fold", "accuracy", "95 % interval", "loss", "tested", "trained on", "kept epoch")
CLASS_HEADS = ("class", "recall", "95 % interval", "precision", "F1", "images")


def folds(record: FoldsRecord) -> Iterator[tuple[str, ...]]:
    """Yield a row for each fold, counted from 1: see `FOLD_HEADS`."""
    for fold in record.folds:
        yield (
            str(fold.fold + 1),
            fmt.percent(fold.accuracy),
            fmt.interval(fold.accuracy_interval),
            fmt.loss(fold.loss),
            fmt.count(fold.images),
            fmt.count(fold.train),
            f"{fold.best_epoch} of {fold.epochs}",
        )


def classes(record: FoldsRecord) -> Iterator[tuple[str, ...]]:
    """Yield a row for each class, over all images, its recall with Wilson's interval: see `CLASS_HEADS`."""
    result = record.result
    for k, name in enumerate(record.data.classes):
        images, correct = sum(result.confusion[k]), result.confusion[k][k]
        shares = (fmt.percent(share[k], 1) for share in (result.precision, result.f1))
        interval = fmt.interval(wilson(correct, images), 1)
        yield (fmt.named(name), fmt.percent(result.recall[k], 1), interval, *shares, fmt.count(images))


def summary(record: FoldsRecord) -> RenderableType:
    """Return the result of a cross-validation: the folds, the classes and the verdict."""
    return Group(
        _table(f"{record.recipe.name}: {len(record.folds)} folds", FOLD_HEADS, folds(record)),
        by_class(record),
        Text(" ".join([words.verdict(record), *words.words(record)])),
    )


def by_class(record: FoldsRecord) -> Table:
    """Return the table of classes."""
    return _table("per class, over all folds", CLASS_HEADS, classes(record))


def _table(title: str, heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=i > 0)
    for row in rows:
        table.add_row(*map(Text, row))
    return table
