"""What the README and the docs tell a reader to type: the code blocks of their pages."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = tuple(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")) + tuple(
    sorted((ROOT / "docs").glob("*.md"))
)


def blocks(language: str = "") -> list[tuple[str, str]]:
    """Return the name of its page and the text of each code block in this language; without one, it holds commands."""
    found = []
    for page in PAGES:
        for kind, text in re.findall(
            r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            if kind == language:
                found.append((page.relative_to(ROOT).as_posix(), text))
    return found


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


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
