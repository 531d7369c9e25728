"""From what a user typed to a path."""

from __future__ import annotations

from pathlib import Path

from rungs.errors import UserError


def user_path(text: str, where: str) -> Path:
    """Return a path, `~` and `~user` expanded; it need not exist.

    Args:
        text: What the user typed.
        where: The flag, field or variable it came from.

    Raises:
        UserError: No such user's home, a name that no system takes (a null byte, too long), no right to look.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except RuntimeError as error:
        raise UserError(f"no home folder is known for {text}", where=where, do="write the path in full") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"no path that can be used: {reason}", where=ascii(where)[1:-1], do="check it") from error
    return path
