"""How a page is laid out: its pictures, its template, compact TOML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from rungs.report import format as fmt
from rungs.report import style
from rungs.run.folder import write_whole

FIGURES = "figures"
"""The folder of the figures, next to the page."""


class Picture(NamedTuple):
    """A figure as the page embeds it."""

    address: str  # data:
    alt: str
    width: int  # CSS pixels
    height: int


class Drawing(NamedTuple):
    """A figure of a page before it is saved."""

    name: str  # of its files, and by which the template draws it
    alt: str  # for those who cannot see it
    figure: Figure


def lay_out(template: str, facts: dict[str, Any], drawings: Iterable[Drawing], report: Path) -> Path:
    """Write a page, one HTML file that needs no network, and its figures next to it as SVG and PNG.

    The same facts and drawings give the same bytes.

    Args:
        template: "package/file"; what it extends and includes lies in `rungs.report`.
        facts: What the template fills in; whatever is filled in is text. `pictures` is added to them.
        drawings: The figures of the page.
        report: The path of the page; the figures go into `figures/` next to it.

    Returns:
        The path of the page.

    Raises:
        UserError: The folder cannot be written.
    """
    pictures = {one.name: picture(one, report.parent / FIGURES) for one in drawings}
    write_whole(report, render(template, {**facts, "pictures": pictures}).encode())
    return report


def picture(drawing: Drawing, folder: Path) -> Picture:
    """Write a figure as SVG and PNG, and return it as a page embeds it."""
    svg = style.save(drawing.figure, folder / drawing.name)
    width, height = (round(96 * inches) for inches in drawing.figure.get_size_inches())
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", drawing.alt, width, height)


def render(template: str, facts: dict[str, Any]) -> str:
    """Fill in a template; see `lay_out`."""
    package, _, name = template.partition("/")
    folders = [resources.files(package), resources.files("rungs.report")]

    def read(name: str) -> str:
        return next(folder / name for folder in folders if (folder / name).is_file()).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(read),
    )
    filters = (
        "percent",
        "interval",
        "points",
        "count",
        "loss",
        "seconds",
        "flops",
        "size",
        "shape",
        "confidence",
        "many",
        "named",
    )
    environment.filters.update({name: getattr(fmt, name) for name in filters})
    return environment.get_template(name).render(facts)


def compact(toml: str) -> str:
    """Put each list of numbers on one line; no string is touched, for none contains a line break."""
    lists = re.compile(r"\[\n\s*((?:[-+.\deE]+,\s*\n\s*)+)\]")
    return lists.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", toml)
