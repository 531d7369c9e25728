"""How a record looks at the end of a notebook's cell: its tables and figures as HTML that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.report import run_figures, run_page, run_tables, style
from rungs.run.record import EvalResult, RunRecord

WIDE = 200
"""Characters: no table need be narrowed."""


def run(record: RunRecord) -> str:
    """Return a run: its verdict, its table, its curves and its confusion matrix."""
    figures = [("Learning curves", run_figures.learning_curves(record))]
    scored, classes = run_page.scored(record), record.data.classes
    if scored and len(classes) <= style.NUMBERED_CLASSES:
        figures.append((f"Confusion matrix of {scored[0]}", run_figures.confusion(scored[1], classes, normalised=True)))
    return page([run_tables.verdict(record), run_tables.summary(record)], figures)


def score(result: EvalResult) -> str:
    """Return a score: a table, and the diagram of calibration."""
    table = Table(show_header=False)
    top5 = [("accuracy, top 5", fmt.percent(result.top5_accuracy))] if result.top5_accuracy is not None else []
    for row in (
        ("accuracy", f"{fmt.percent(result.accuracy)}\n{fmt.interval(result.accuracy_interval)}"),
        *top5,
        ("mean recall of the classes", fmt.percent(result.balanced_accuracy)),
        ("loss", fmt.loss(result.loss)),
        ("calibration error", run_tables.calibration(result)),
        ("images", fmt.count(result.n)),
    ):
        table.add_row(*map(Text, row))
    return page([table], [("Calibration", run_figures.calibration(result))])


def page(shown: Iterable[RenderableType], figures: Iterable[tuple[str, Figure]]) -> str:
    """Return what the terminal shows as HTML, and below it figures, each with what it shows in words."""
    drawn = "".join(_image(figure, alt) for alt, figure in figures)
    return f'<div>{"".join(map(_html, shown))}<div style="display:flex;flex-wrap:wrap;gap:.5em">{drawn}</div></div>'


def _html(shown: RenderableType) -> str:
    """Return something that the terminal shows as HTML."""
    if isinstance(shown, Group):
        return "".join(map(_html, shown.renderables))
    if isinstance(shown, Table):
        return _table(shown)
    return f"<p>{_cell(Text(shown) if isinstance(shown, str) else shown)}</p>"


def _table(table: Table) -> str:
    """Return a table of the terminal as one of HTML."""
    rows = [[_cell(cell) for cell in column.cells] for column in table.columns]
    heads = [_row("th", [_cell(column.header) for column in table.columns], table)] if table.show_header else []
    foot = [_row("th", [_cell(column.footer) for column in table.columns], table)] if table.show_footer else []
    body = "".join([*heads, *(_row("td", cells, table) for cells in zip(*rows, strict=True)), *foot])
    title = f"<p><b>{_cell(table.title)}</b></p>" if table.title else ""
    caption = f"<p><small>{_cell(table.caption)}</small></p>" if table.caption else ""
    return f"{title}<table>{body}</table>{caption}"


def _row(kind: str, cells: Iterable[str], table: Table) -> str:
    looks = {"left": "text-align:left", "right": "text-align:right;white-space:nowrap"}
    made = (
        f'<{kind} style="{looks.get(column.justify, "")};vertical-align:top">'
        f"{f'<b>{cell}</b>' if column.style == 'bold' else cell}</{kind}>"
        for cell, column in zip(cells, table.columns, strict=True)
    )
    return f"<tr>{''.join(made)}</tr>"


def _cell(cell: RenderableType) -> str:
    """Return the text of a cell, without its colours; like the terminal, it takes a string as markup."""
    text = cell if isinstance(cell, Text) else Text.from_markup(str(cell))
    return escape(text.plain).replace("\n", "<br>")


def _image(figure: Figure, alt: str) -> str:
    address = f"data:image/svg+xml;base64,{base64.b64encode(style.svg(figure)).decode()}"
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    size = f'width="{width}" height="{height}" style="max-width:100%;height:auto"'
    return f'<img src="{address}" alt="{escape(alt)}" {size}>'
