"""Tell the format of an image file by its first bytes, and open it with that format's reader of Pillow's."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeAlias

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from rungs.data.pillow_notes import listening, silence_libtiff

MAX_PIXELS = 2**27
"""134 million: a 108-megapixel photo passes, and an image that is decoded takes at most 0.5 GB as RGB in Pillow."""

Reader: TypeAlias = Callable[[IO[bytes]], ImageFile.ImageFile]


class Undecodable(Exception):  # noqa: N818 (it describes the file)
    """A file that cannot be decoded; `reason` is a short phrase."""

    def __init__(self, reason: str, where: str) -> None:
        self.reason, self.where = reason, where
        super().__init__(f"{where}: {reason}")


class NoReader(Undecodable):
    """A file of a format that can be read, but not with what is installed here; `reason` says what to install."""


@dataclass(frozen=True)
class Header:
    """The header of an image file; sizes in pixels, as stored."""

    format: str
    width: int
    height: int
    animated: bool  # there are more pictures in it than the first


def _tiff(file: IO[bytes]) -> ImageFile.ImageFile:
    silence_libtiff()
    return TiffImagePlugin.TiffImageFile(file)


def _avif(file: IO[bytes]) -> ImageFile.ImageFile:
    if not features.check("avif"):
        raise ImportError("AVIF is not in this build of Pillow: pip install -U pillow")
    from PIL import AvifImagePlugin

    return AvifImagePlugin.AvifImageFile(file)


def _heic(file: IO[bytes]) -> ImageFile.ImageFile:
    """Open with the extra's reader, which rotates the picture itself; registering it with Pillow is not needed."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImportError("HEIC needs an extra, in the folder of rungs: pip install -e '.[photos]'") from error
    return HeifImageFile(file)  # type: ignore[no-untyped-call]


READERS: dict[str, Reader] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": _tiff,
    "AVIF": _avif,
    "HEIC": _heic,
}

STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # with offsets of 64 bits
    b"MM\0+": "TIFF",
}
AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def format_of(data: bytes) -> str | None:
    """Return the format of a file, by its first bytes; None if it is none of `READERS`."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":  # a box of brands: the major one, a version, all compatible ones
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
        return "AVIF" if brands & AVIF_BRANDS else "HEIC" if brands & HEIC_BRANDS else None
    return next((name for start, name in STARTS.items() if data.startswith(start)), None)


def open_image(data: bytes, where: str) -> ImageFile.ImageFile:
    """Read a file's header with the format's own reader: `Image.open` would warn of large images.

    Raises:
        Undecodable: Empty, not an image, of another format, damaged or far too large, as far as the header shows it.
    """
    if not data:
        raise Undecodable("empty file", where)
    kind = format_of(data)
    if kind is None:
        raise Undecodable(f"not an image ({', '.join(READERS)})", where)
    try:
        image = READERS[kind](io.BytesIO(data))
    except ImportError as error:
        raise NoReader(str(error), where) from error
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        raise undecodable(error, where) from error
    if image.width * image.height > MAX_PIXELS:
        megapixels = f"{image.width} x {image.height} pixels"
        raise Undecodable(f"decompression bomb? {megapixels}, more than {MAX_PIXELS / 1e6:.0f} million", where)
    return image


def read_header(data: bytes, where: str) -> Header:
    """Return the header of a file.

    Raises:
        Undecodable: As in `open_image`.
    """
    with listening():
        image = open_image(data, where)
        try:
            animated = bool(getattr(image, "is_animated", False))
        except Exception as error:  # as in `open_image`
            raise undecodable(error, where) from error
    return Header(format_of(data) or "", image.width, image.height, animated)


PLAIN = {
    "not identified by this driver": "it has no usable header",
    "decoder error": "its pixels cannot be decompressed",
    "unknown pixel mode": "an unusual kind of pixels, which Pillow cannot read",
    "unknown data organization": "its pixels are missing, or stored in an unusual way",
    "missing dimensions": "it has no usable header",
}
"""Pillow's words -> plain ones."""


def undecodable(error: Exception, where: str) -> Undecodable:
    """Return what is wrong with a file that Pillow raised an error on."""
    if isinstance(error, MemoryError):
        return Undecodable("does not fit into memory", where)
    said = str(error) or type(error).__name__
    return Undecodable(f"damaged: {next((ours for his, ours in PLAIN.items() if his in said.lower()), said)}", where)
