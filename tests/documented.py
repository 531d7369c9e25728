"""What the README and the docs tell a reader to type: the code blocks of their pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench/README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str = "") -> list[tuple[str, str]]:
    """Return the name of its page and the text of each code block in this language; without one, it holds commands."""
    found = ((page, *block) for page in PAGES for block in FENCED.findall(page.read_text(encoding="utf-8")))
    return [(page.relative_to(ROOT).as_posix(), text) for page, kind, text in found if kind == language]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def quoted(page: Path) -> list[str]:
    """Return what stands between backticks in the prose of a page."""
    return re.findall(r"`([^`]+)`", prose(page))


def commands() -> list[str]:
    """Return each command once, without comments, as a shell would take it."""
    lines = (line for _, text in blocks() for line in text.splitlines())
    return list(dict.fromkeys(shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))))


def of_program(*programs: str) -> list[str]:
    """Return the commands that start with one of these words."""
    return [command for command in commands() if command.split()[0] in programs]
