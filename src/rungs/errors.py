"""The error for bad input: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class UserError(Exception):
    """Bad input or an unusable path; the command line prints it without a traceback and exits with code 2.

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


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """Return a hint with the closest allowed name and a list of all allowed ones."""
    return f"{closest(word, allowed)}allowed: {', '.join(sorted(allowed))}"


def closest(word: str, allowed: Iterable[str]) -> str:
    """Return a hint with the closest allowed name, and a blank behind it; "" where none is close."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}? " if near else ""


def require_between(value: float | None, low: float, high: float, flag: str) -> None:
    """Check a number that the user gave.

    Args:
        value: The number; None, which leaves it to the default, is fine.
        low: The least that is allowed.
        high: The most; infinity where there is none.
        flag: The name of the number.

    Raises:
        UserError: It is not from `low` to `high`.
    """
    if value is None or low <= value <= high:
        return
    least, most, got = (f"{number:g}" if isinstance(number, float) else number for number in (low, high, value))
    allowed = f"at least {least}" if high == float("inf") else f"from {least} to {most}"
    raise UserError(f"{flag} must be {allowed}, got {got}", do=f"give {flag} a number in this range")


def require_positive(value: float, flag: str, *, usual: str) -> None:
    """Check a number that the user gave and that has no natural upper end.

    Args:
        value: The number.
        flag: The name of the number.
        usual: Values that are usual, for the hint.

    Raises:
        UserError: It is not above 0, or not finite.
    """
    if not 0 < value < float("inf"):
        raise UserError(f"{flag} must be a finite number above 0, got {value:g}", do=f"{usual} is usual")


def require_share(value: float | None, flag: str) -> None:
    """Check a share that the user gave.

    Raises:
        UserError: It is not above 0 and at most 1.
    """
    if value is not None and not 0 < value <= 1:
        do = f"give {flag} a share, such as 0.1 for a tenth"
        raise UserError(f"{flag} must be above 0 and at most 1, got {value:g}", do=do)


def require_one_of(word: str, allowed: Sequence[str], flag: str) -> None:
    """Check a word that the user gave.

    Raises:
        UserError: It is not one of `allowed`.
    """
    if word not in allowed:
        raise not_allowed(word, allowed, flag)


def not_allowed(given: object, allowed: Sequence[str], where: str) -> UserError:
    """Return the error that says what is allowed instead."""
    return UserError(f"{given!r} is not allowed", where=where, do=did_you_mean(str(given), allowed))
