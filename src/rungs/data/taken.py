"""When and by which camera photos were taken, from the EXIF blocks of their files."""

from __future__ import annotations

import contextlib
import io
import warnings
import zipfile
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from PIL import ExifTags

from rungs.data.formats import READERS, format_of

EXIF = ExifTags.IFD.Exif
WHEN, MAKE, MODEL = ExifTags.Base.DateTimeOriginal, ExifTags.Base.Make, ExifTags.Base.Model
START = 256
"""Bytes that tell a file's format."""


class Taken(NamedTuple):
    """A photo's time and camera."""

    when: datetime  # by the camera's clock, in whole seconds
    camera: str  # make and model, "" where the file does not say


@lru_cache(maxsize=2)
def taken_at(paths: tuple[str, ...]) -> tuple[Taken | None, ...]:
    """Return when each photo was taken; None of files that do not say, or cannot be opened, such as rows of a table.

    Args:
        paths: Of files, also within a zip: "photos.zip/cat/1.jpg".
    """
    with contextlib.ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        return tuple(_taken(Path(path), archives, stack) for path in paths)


def _taken(path: Path, archives: dict[Path, zipfile.ZipFile], stack: contextlib.ExitStack) -> Taken | None:
    with contextlib.suppress(Exception), _opened(path, archives, stack) as file, _quiet():
        start = file.read(START)
        file.seek(0)
        with READERS[format_of(start) or ""](file) as image:  # reads the header alone
            exif = image.getexif()
            when = datetime.strptime(str(exif.get_ifd(EXIF)[WHEN])[:19], "%Y:%m:%d %H:%M:%S")
        return Taken(when, " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (MAKE, MODEL)).strip())
    return None


def _opened(path: Path, archives: dict[Path, zipfile.ZipFile], stack: contextlib.ExitStack) -> IO[bytes]:
    if path.exists():
        return path.open("rb")
    archive = next(parent for parent in path.parents if parent.is_file())
    if archive not in archives:
        archives[archive] = stack.enter_context(zipfile.ZipFile(archive))
    return io.BytesIO(archives[archive].read(path.relative_to(archive).as_posix()))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings, of huge pictures and damaged blocks, off the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
