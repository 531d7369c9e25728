"""The one error that a user can cause: it says what is wrong, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class UserError(Exception):
    """Bad input or a bad place; the command line prints it without a traceback and exits with code 2.

    Args:
        what: What is wrong, one sentence.
        where: The file, field or flag it is about.
        do: What to do about it.
    """

    def __init__(self, what: str, *, where: object = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, None if where is None else str(where), do
        lines = [what if where is None else f"{where}: {what}"]
        if do:
            lines.append(f"  -> {do}")
        super().__init__("\n".join(lines))


def did_you_mean(word: str, allowed: list[str]) -> str:
    """Return the sentence that offers the nearest right name and lists the allowed ones."""
    from difflib import get_close_matches

    near = get_close_matches(word, allowed, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}allowed: {', '.join(sorted(allowed))}"


def require_between(value: int, low: int, high: int, flag: str) -> None:
    """Check a number that the user gave.

    Raises:
        UserError: It is not from `low` to `high`.
    """
    if not low <= value <= high:
        raise UserError(f"{value} is not from {low} to {high}", where=flag, do="give a number between these")
