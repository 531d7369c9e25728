"""The table of a range test's checks, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.report import metric
from rungs.study.rates import words
from rungs.study.rates.record import RateRecord

HEADS = ("rate", "why", "verdict", "accuracy", "loss", "above the best", "95 % interval")
"""Accuracy and loss are on validation, means over the seeds; the interval is for the difference."""

WORDS = (1, 2)
"""Columns of text."""


def rows(record: RateRecord) -> Iterator[tuple[str, ...]]:
    """Yield a row for each checked rate, the smallest first: see `HEADS`."""
    for check in record.checks:
        apart = check.difference
        yield (
            f"{check.rate:g}",
            words.roles(check),
            words.comparison(record, check),
            fmt.percent(None if check.accuracy is None else check.accuracy.mean),
            fmt.loss(None if check.loss is None else check.loss.mean),
            "" if apart is None else metric.signed(apart.metric, apart.mean),
            "" if apart is None else metric.difference_bounds(apart.metric, apart.low, apart.high),
        )


def summary(record: RateRecord) -> RenderableType:
    """Return the result of a range test: the checked rates and the verdict."""
    runs, steps = fmt.many(len(record.seeds), "run"), fmt.many(record.steps, "step")
    title = f"{record.recipe.name}: {runs} of {steps} for each rate, on validation"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for i, head in enumerate(HEADS):
        table.add_column(head, justify="left" if i in WORDS else "right", no_wrap=i not in WORDS)
    for check, row in zip(record.checks, rows(record), strict=True):
        table.add_row(*map(Text, row), style="bold green" if check is record.best else "")
    return Group(table, Text(" ".join([words.verdict(record), *words.words(record)])))
