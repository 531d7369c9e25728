"""Decode image files to RGB uint8, identically in training and serving. Needs numpy and Pillow, never torch.

- Formats: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, and HEIC with the extra `photos`, told apart by their first bytes,
  whatever the file is called. Of an animated image the first frame, of several pages the first. Headers that declare
  more than `MAX_PIXELS` are refused before a pixel is decoded.
- The picture is rotated to its EXIF orientation (a HEIC or AVIF as that format says it); an EXIF block that cannot be
  read is ignored, and so are colour profiles.
- Colours: CMYK and YCCK are converted by Pillow's plain formula. More than 8 bits a channel become 8 as in
  `rungs.data.depth`. 1-bit images become black and white, palettes their colours. Transparency (alpha channel, palette
  or colour key; of 16-bit colour, its high bytes) is laid over white. Grey is repeated in the three channels.
- Size: the centre square of the shorter side, resized to `image_size` by Pillow's antialiased bicubic filter, up or
  down; the same as to resize the shorter side and crop the centre. A large JPEG is first scaled by the decoder itself
  (DCT scaling by 1/2, 1/4 or 1/8), never below twice `image_size`.
- All threads together decode at most `IN_FLIGHT` pixels at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps

from rungs.data.depth import STRIP, colours_to_8, grey_to_8, is_deep_grey
from rungs.data.formats import MAX_PIXELS, Header, Undecodable, format_of, open_image, read_header, undecodable
from rungs.data.parallel import Budget
from rungs.data.pillow_notes import listening

__all__ = ["DECODE_VERSION", "MAX_PIXELS", "Header", "Undecodable", "decode", "read_header", "read_picture"]

DECODE_VERSION = 3
"""Raised whenever the same file would decode to other pixels, so that older cache entries are not used."""

IN_FLIGHT = Budget(MAX_PIXELS)
"""Pixels, by what is loaded at once: a picture of 132 million is decoded alone, those of a phone by every core."""

Pixels = npt.NDArray[np.uint8]
Interpolation: TypeAlias = Literal["bicubic", "bilinear"]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Picture:
    """A decoded file: uint8 (3, H, W), RGB, and what is doubtful about it, a phrase each."""

    pixels: Pixels
    notes: tuple[str, ...]


def decode(
    data: bytes, image_size: int | None, where: str, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Pixels:
    """Return the picture in a file as uint8 (3, H, W), RGB; the arguments and errors are those of `read_picture`."""
    return read_picture(data, image_size, where, interpolation, crop).pixels


def read_picture(
    data: bytes, image_size: int | None, where: str, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Picture:
    """Return the picture in a file, and what is doubtful about how it was read.

    Args:
        data: The whole file.
        image_size: Height and width of the result in pixels; None keeps the picture's own.
        where: What to call the file in errors.
        interpolation: The filter that resizes it, antialiased.
        crop: The share of the shorter side that the centre square keeps.

    Raises:
        Undecodable: Empty, not an image, of another format, truncated, damaged or far too large.
    """
    with listening() as said:
        image = open_image(data, where)
        try:
            if image_size is not None and format_of(data) == "JPEG":
                needed = math.ceil(2 * image_size / crop)
                image.draft(None, (needed, needed))
            with IN_FLIGHT.taking(image.width * image.height):
                picture, doubts = _decoded(image, data)
                if image_size is not None:
                    picture = _square(picture, image_size, interpolation, crop)
                pixels = np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))  # (H, W, 3) -> (3, H, W)
        except Exception as error:  # Pillow raises a dozen kinds on damaged files
            raise undecodable(error, where) from error
    return Picture(pixels, (*doubts, *(f"read with a warning: {line}" for line in said)))


def _decoded(image: ImageFile.ImageFile, data: bytes) -> tuple[Image.Image, list[str]]:
    """Load a picture, upright and in RGB; also return doubts."""
    image.load()
    _convert_key(image, data)
    kind = format_of(data) or ""
    picture, doubts = grey_to_8(image, data) if is_deep_grey(image) else colours_to_8(image, data, kind)
    _turn_upright(picture, image)
    return _rgb(picture), doubts


def resize_array(
    images: Pixels, image_size: int, interpolation: Interpolation = "bicubic", crop: float = 1.0
) -> Pixels:
    """Return images uint8 (N, 3, H, W) as uint8 (N, 3, image_size, image_size), resized as `decode` does."""
    out = np.empty((len(images), 3, image_size, image_size), np.uint8)
    for i, image in enumerate(images):
        picture = _square(Image.fromarray(image.transpose(1, 2, 0).copy()), image_size, interpolation, crop)
        out[i] = np.asarray(picture).transpose(2, 0, 1)
    return out


def _convert_key(image: Image.Image, data: bytes) -> None:
    """Convert a PNG's colour key from the file's bit depth to the 8 bits of Pillow's pixels."""
    if image.format != "PNG":
        return
    key, bits = image.info.get("transparency"), data[24]
    if isinstance(key, tuple) and bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and image.mode == "L" and bits < 8:
        image.info["transparency"] = key * 255 // (2**bits - 1)


def _turn_upright(picture: Image.Image, image: Image.Image) -> None:
    """Rotate a picture, in place, by the orientation in the file that it comes from."""
    try:
        if picture is not image:
            picture.info["exif"] = image.getexif().tobytes()
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # a damaged EXIF block must not lose the picture
        return


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any of Pillow's modes of 8 bits or less to RGB; see the module's docstring."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    out = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        box = (0, top, image.width, min(top + STRIP, image.height))
        out.paste(_over_white(image.crop(box)), box)
    return out


def _over_white(image: Image.Image) -> Image.Image:
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
