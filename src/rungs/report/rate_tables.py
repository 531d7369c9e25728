"""The table of a range test's checks, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rungs.rate_records import RateRecord
from rungs.records import Estimate
from rungs.report import format as fmt
from rungs.report import rate_words

HEADS = ("rate", "validation loss", "95 %", "accuracy", "checked because it is", "beside the suggested one")


def rows(record: RateRecord) -> Iterator[tuple[str, ...]]:
    """Yield a row for each rate that was checked, the smallest first: see `HEADS`."""
    for check in record.checks:
        accuracy = None if check.accuracy is None else check.accuracy.mean
        loss = None if check.loss is None else check.loss.mean
        yield (
            f"{check.rate:g}",
            fmt.loss(loss),
            _interval(check.loss),
            fmt.percent(accuracy),
            rate_words.roles(check),
            rate_words.against(record, check),
        )


def _interval(found: Estimate | None) -> str:
    if found is None or found.low is None or found.high is None:
        return fmt.NOTHING
    return f"{found.low:.4f} to {found.high:.4f}"


def summary(record: RateRecord) -> RenderableType:
    """What a person reads after a range test: the rates that were checked, the verdict, the next command."""
    title = (
        f"{record.recipe.name}: {fmt.many(len(record.seeds), 'run')} of {fmt.many(record.steps, 'step')} for each rate"
    )
    table = Table(title=Text(title), title_justify="left", box=SIMPLE, pad_edge=False)
    for i, head in enumerate(HEADS):
        table.add_column(head, justify="right" if i < 4 else "left", no_wrap=i < 4)
    for check, row in zip(record.checks, rows(record), strict=True):
        table.add_row(*map(Text, row), style="bold green" if check is record.best else "")
    said = Text(" ".join([rate_words.verdict(record), *rate_words.words(record)]))
    return Group(table, said, Text(f"next: {record.next_command}", style="bold", no_wrap=True, overflow="ignore"))
