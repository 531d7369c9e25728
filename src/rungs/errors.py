"""The one error that a user can cause: it says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
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


def require_between(value: float | None, low: float, high: float, flag: str) -> None:
    """Check a number that the user gave; None, where it was not given, passes.

    Raises:
        UserError: It is not from `low` to `high`.
    """
    if value is not None and not low <= value <= high:
        raise UserError(
            f"must be from {low:,} to {high:,}, got {value:,}", where=flag, do="give a number between these"
        )


def require_share(share: float | None, flag: str) -> None:
    """Check a share that the user gave; None, where it was not given, passes.

    Raises:
        UserError: It is not above 0 and at most 1.
    """
    if share is not None and not 0 < share <= 1:
        raise UserError(f"must be above 0 and at most 1, got {share:g}", where=flag, do="give 0.1 for a tenth")


def require_one_of(word: str, allowed: Sequence[str], flag: str) -> None:
    """Check a word that the user gave.

    Raises:
        UserError: It is none of `allowed`.
    """
    if word not in allowed:
        raise UserError(f"{word!r} is not allowed", where=flag, do=did_you_mean(word, list(allowed)))


def _written(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
