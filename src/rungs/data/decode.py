"""Decode image files to RGB uint8, identically in training and serving. Needs numpy and Pillow, never torch.

- Formats: JPEG, PNG, WebP, GIF and BMP, told apart by their first bytes, whatever the file is called. Of an animated
  image, the first frame. Headers that declare more than `MAX_PIXELS` are refused before a pixel is decoded.
- The picture is rotated to its EXIF orientation; an EXIF block that cannot be read is ignored, and so are colour
  profiles.
- Colours: CMYK and YCCK are converted by Pillow's plain formula. Of 16 bits a channel the high byte is kept, in grey
  as in colour. 1-bit images become black and white, palettes their colours. Transparency (alpha channel, palette or
  colour key; of 16-bit colour, its high bytes) is laid over white. Grey is repeated in the three channels.
- Size: the centre square of the shorter side, resized to `image_size` by Pillow's antialiased bicubic filter, up or
  down; the same as to resize the shorter side and crop the centre. A large JPEG is first scaled by the decoder itself
  (DCT scaling by 1/2, 1/4 or 1/8), never below twice `image_size`.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import BmpImagePlugin, GifImagePlugin, Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin
from PIL.WebPImagePlugin import WebPImageFile

DECODE_VERSION = 2
"""Raised whenever the same file would decode to other pixels, so that older cache entries are not used."""

MAX_PIXELS = 2**27
"""134 million: a 108-megapixel photo passes, and an image that is decoded takes at most 0.4 GB as RGB."""

READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}

Pixels = npt.NDArray[np.uint8]
Interpolation: TypeAlias = Literal["bicubic", "bilinear"]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Undecodable(Exception):  # noqa: N818 (it describes the file)
    """A file that cannot be decoded; `reason` is a short phrase."""

    def __init__(self, reason: str, where: str) -> None:
        self.reason, self.where = reason, where
        super().__init__(f"{where}: {reason}")


@dataclass(frozen=True)
class Header:
    """The header of an image file; sizes in pixels, as stored."""

    format: str
    width: int
    height: int
    animated: bool


def decode(
    data: bytes, image_size: int | None, where: str, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Pixels:
    """Return the picture in a file as uint8 (3, H, W), RGB.

    Args:
        data: The whole file.
        image_size: Height and width of the result in pixels; None keeps the picture's own.
        where: What to call the file in errors.
        interpolation: The filter that resizes it, antialiased.
        crop: The share of the shorter side that the centre square keeps.

    Raises:
        Undecodable: Empty, not an image, of another format, truncated, damaged or far too large.
    """
    image = _open(data, where)
    try:
        if image_size is not None:
            needed = math.ceil(2 * image_size / crop)
            image.draft(None, (needed, needed))
        image.load()
        _convert_key(image, data)
        picture = _rgb(_upright(image))
        if image_size is not None:
            picture = _square(picture, image_size, interpolation, crop)
        return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))  # (H, W, 3) -> (3, H, W)
    except Exception as error:  # Pillow raises a dozen kinds on damaged files
        raise _undecodable(error, where) from error


def read_header(data: bytes, where: str) -> Header:
    """Return the header of a file.

    Raises:
        Undecodable: As in `decode`, as far as the header shows it.
    """
    image = _open(data, where)
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception as error:  # as in `decode`
        raise _undecodable(error, where) from error
    return Header(_format(data) or "", image.width, image.height, animated)


def resize_array(
    images: Pixels, image_size: int, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Pixels:
    """Return images uint8 (N, 3, H, W) as uint8 (N, 3, image_size, image_size), resized as `decode` does."""
    out = np.empty((len(images), 3, image_size, image_size), np.uint8)
    for i, image in enumerate(images):
        picture = _square(Image.fromarray(image.transpose(1, 2, 0).copy()), image_size, interpolation, crop)
        out[i] = np.asarray(picture).transpose(2, 0, 1)
    return out


def _format(data: bytes) -> str | None:
    """Detect the format from the file's first bytes."""
    starts = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"}
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in starts.items() if data.startswith(start)), None)


def _open(data: bytes, where: str) -> ImageFile.ImageFile:
    """Read the header with the format's own reader: `Image.open` would warn of large images through global state."""
    if not data:
        raise Undecodable("empty file", where)
    kind = _format(data)
    if kind is None:
        raise Undecodable(f"not an image ({', '.join(READERS)})", where)
    try:
        image = READERS[kind](io.BytesIO(data))
    except Exception as error:  # as in `decode`
        raise _undecodable(error, where) from error
    if image.width * image.height > MAX_PIXELS:
        megapixels = f"{image.width} x {image.height} pixels"
        raise Undecodable(f"decompression bomb? {megapixels}, more than {MAX_PIXELS / 1e6:.0f} million", where)
    return image


def _undecodable(error: Exception, where: str) -> Undecodable:
    if isinstance(error, MemoryError):
        return Undecodable("does not fit into memory", where)
    return Undecodable(f"damaged: {error or type(error).__name__}", where)


def _convert_key(image: Image.Image, data: bytes) -> None:
    """Convert a PNG's colour key from the file's bit depth to the 8 bits of Pillow's pixels."""
    if image.format != "PNG":
        return
    key, bits = image.info.get("transparency"), data[24]
    if isinstance(key, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and image.mode == "L" and bits < 8:
        image.info["transparency"] = key * 255 // (2**bits - 1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block must not lose the picture
        return image


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any of Pillow's modes to RGB; see the module's docstring."""
    if image.mode.startswith("I"):  # 16 bits, in the types I;16, I;16B or I
        values = np.asarray(image).clip(0, 65535)
        pixels = (values >> 8).astype(np.uint8)
        pixels[values == image.info.get("transparency", -1)] = 255  # the colour key: over white
        return Image.fromarray(pixels).convert("RGB")
    if image.mode == "F":  # floats, 0 to 1
        grey = np.nan_to_num(np.asarray(image)).clip(0, 1)
        return Image.fromarray((grey * 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _square(
    image: Image.Image, image_size: int, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Image.Image:
    """Crop the centre square and resize it in one step, so that no intermediate size is rounded."""
    if image.size == (image_size, image_size) and crop == 1:
        return image
    side = min(image.size) * crop
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((image_size, image_size), FILTERS[interpolation], box=box)
