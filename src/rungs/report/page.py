"""What every page shares: pictures, templates, compact TOML."""

from __future__ import annotations

import base64
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from matplotlib.figure import Figure

from rungs.report import format as fmt
from rungs.report import style


class Picture(NamedTuple):
    """A figure as the page embeds it."""

    address: str  # data:
    alt: str
    width: int  # CSS pixels
    height: int


def picture(figure: Figure, alt: str, stem: Path) -> Picture:
    """Write `stem`.svg and `stem`.png, and return the figure as a page embeds it."""
    svg = style.save(figure, stem)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}", alt, width, height)


def render(package: str, template: str, facts: dict[str, Any]) -> str:
    """Fill in a template; whatever is filled in is text.

    Args:
        package: The package that the template lies in; what it includes is looked for there, then in `rungs.report`.
        template: Its file name.
        facts: What is filled in.
    """
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
    filters = ("percent", "interval", "points", "count", "loss", "seconds", "flops", "size", "shape", "sure", "many")
    environment.filters.update({name: getattr(fmt, name) for name in filters})
    return environment.get_template(template).render(facts)


def compact(toml: str) -> str:
    """Put each list of numbers on one line; no string is touched, for none contains a line break."""
    lists = re.compile(r"\[\n\s*((?:[-+.\deE]+,\s*\n\s*)+)\]")
    return lists.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", toml)
