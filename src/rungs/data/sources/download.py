"""Download a published file from the first address that has it: resumed where it broke off, verified before use."""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from rungs.errors import UserError

TIMEOUT_S = 30.0
"""After this long without a byte, the next address is tried."""
BLOCK = 1 << 20
"""Bytes read at a time."""


def fetch(urls: Sequence[str], md5: str, target: Path, *, do: str = "check the connection, then try again") -> None:
    """Make sure that `target` is there, downloaded from one of the addresses.

    Received bytes are kept in NAME.part, so that the next address or attempt resumes there (HTTP Range).
    The file gets its own name once its MD5 is verified. One process at a time downloads a file.

    Args:
        urls: Addresses of the same file, tried in order.
        md5: Its MD5, hex.
        target: Where it goes.
        do: Advice to the user if no address has it.

    Raises:
        UserError: No address gave the right file, or it cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _one_process(target):
            if not target.exists():  # the other process may have fetched it
                _from_any(urls, md5, target, do)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        room = "free disk space or fix the permissions, or choose another folder with the variable XDG_CACHE_HOME"
        raise UserError(what, where=target, do=room) from error


@contextlib.contextmanager
def _one_process(target: Path) -> Iterator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=2)
    except Timeout:
        print(f"waiting for another process that downloads {target.name}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _from_any(urls: Sequence[str], md5: str, target: Path, do: str) -> None:
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in urls:
        failure = _download(url, part)
        if failure is None and (got := _md5(part)) != md5:
            failure = f"sent a file with the wrong checksum: MD5 {got}, not {md5}"
            part.unlink()
        if failure is None:
            part.replace(target)
            return
        failures.append(f"{url} {failure}")
    raise UserError(f"cannot be downloaded: {'; '.join(failures)}", where=target.name, do=do)


def _download(url: str, part: Path) -> str | None:
    """Append what is missing of the file at `url` to `part`; return what went wrong, or None."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "rungs"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        nothing_missing = have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return None if nothing_missing else f"answered {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"cannot be reached: {getattr(error, 'reason', error)}"
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        return _save(response, part, have if resumed else 0)


def _save(response: http.client.HTTPResponse, part: Path, have: int) -> str | None:
    """Write the body of `response` to `part` from byte `have` on; return what went wrong."""
    coming = response.headers.get("Content-Length")
    total = None if coming is None else have + int(coming)
    with part.open("r+b" if have else "wb") as file, _progress(part.stem, have, total) as advance:
        file.seek(have)
        while True:
            try:
                block = response.read1(BLOCK)
            except (OSError, http.client.HTTPException) as error:
                return f"broke off after {file.tell():,} bytes: {error}"
            if not block:
                break
            file.write(block)
            advance(len(block))
        end = file.tell()
        file.flush()
        os.fsync(file.fileno())
    return None if total in (None, end) else f"broke off after {end:,} of {total:,} bytes"


@contextlib.contextmanager
def _progress(name: str, have: int, total: int | None) -> Iterator[Callable[[float], None]]:
    """Show a bar on the terminal's error stream; yield a function that advances it by a number of bytes."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"downloading {name}", total=total, completed=have)
        yield lambda count: bar.advance(task, count)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
