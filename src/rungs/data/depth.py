"""Bring pixels of more than 8 bits to 8: 16-bit PNG and TIFF, integers and floats in TIFF.

- A file that says which range its values have (the significant bits of a PNG, BitsPerSample or MaxSampleValue of a
  TIFF) is scaled by that range, if its values keep within it. A PNG whose values were scaled to 16 bits already, as
  the standard asks, is recognised by its low bits and left alone.
- Otherwise 16 bits keep the high byte: 0 to 65,535. If no value reaches a quarter of that, it is told.
- Floats and other integers are taken to range to 1 (floats only), 255 or 65,535, whichever they fit into, else from
  their smallest to their largest value; but for floats of 0 to 1 that is told, too.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

from rungs.data.formats import READERS

DARK = 1 << 14
"""16-bit values that all stay below this are probably of fewer bits."""
STRIP = 256
"""Rows that are converted at a time, so that a large picture is not held in memory several times."""
BITS_PER_SAMPLE, WHITE_IS_ZERO, LOWEST, HIGHEST = 258, 262, (280, 340), (281, 341)
"""Tags of TIFF."""
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""The byte order of 16 bits -> the other one, by which Pillow, which keeps the high byte, reads the low one."""

Numbers = npt.NDArray[np.generic]


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether a loaded picture is grey with more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def grey_to_8(image: Image.Image, data: bytes) -> tuple[Image.Image, list[str]]:
    """Return a deep grey picture (mode I;16, I or F) as RGB, and what is doubtful about it.

    Args:
        image: Loaded.
        data: Its file.
    """
    values = np.asarray(image)
    known = values[np.isfinite(values)] if image.mode == "F" else values
    smallest, largest = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    low, high, notes = _range(image, data, smallest, largest)
    inverted = _tags(image).get(WHITE_IS_ZERO) == 0
    key = image.info.get("transparency", -1)
    out = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP):
        part = values[top : top + STRIP]
        pixels = _scaled(part, low, high)
        pixels = 255 - pixels if inverted else pixels
        if image.format == "PNG":
            pixels[part == key] = 255  # the colour key: over white
        out.paste(Image.fromarray(pixels).convert("RGB"), (0, top))
    return out, notes


def _scaled(values: Numbers, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Scale `low` to `high` to 0 to 255: floats are rounded, of whole numbers the highest 8 bits are kept."""
    if high == low:
        return np.zeros(values.shape, np.uint8)
    numbers = np.nan_to_num(values.astype(np.float64)).clip(low, high) - low
    if values.dtype.kind == "f":
        return np.asarray((numbers / (high - low) * 255).round(), dtype=np.uint8)
    return np.asarray(numbers * 256 // (high - low + 1), dtype=np.uint8)


def _range(image: Image.Image, data: bytes, smallest: float, largest: float) -> tuple[float, float, list[str]]:
    """Return the values of black and white, and what is doubtful about them."""
    if (declared := _declared(image, data)) and declared[0] <= smallest and largest <= declared[1]:
        return *declared, []
    if image.mode.startswith("I;16"):
        return 0, 65535, dark(int(largest))
    spans, numbers = ((1, 255, 65535), "decimal") if image.mode == "F" else ((255, 65535), "whole")
    span = next((top for top in spans if smallest >= 0 and largest <= top), None)
    low, high = (0, span) if span else (smallest, largest)
    told = f"{numbers} numbers from {smallest:g} to {largest:g}: read as {low:g}, black, to {high:g}, white"
    return low, high, [] if span == 1 else [told]


def _declared(image: Image.Image, data: bytes) -> tuple[float, float] | None:
    """Return the values of black and white as the file says them; None if it says nothing of less than 16 bits."""
    if image.format == "PNG":
        bits = significant_bits(data)
        scaled = bits is not None and not (np.asarray(image) & ((1 << (16 - bits)) - 1)).any()
        return None if bits is None or scaled else (0, (1 << bits) - 1)
    tags = _tags(image)
    low, high = (next((_first(tags[tag]) for tag in pair if tag in tags), None) for pair in (LOWEST, HIGHEST))
    if high is not None and (low or 0) < high < 65535:
        return low or 0, high
    bits = int(_first(tags.get(BITS_PER_SAMPLE, 16)))
    return (0, (1 << bits) - 1) if 8 < bits < 16 else None


def dark(largest: int) -> list[str]:
    """Return what to say of 16-bit values that reach only so far."""
    if not 0 < largest < DARK:
        return []
    how = "nearly black" if largest < 1 << 12 else "dark"
    do = "scale them to 16 bits, or save in the file how many bits they have (PNG: sBIT, TIFF: MaxSampleValue)"
    return [f"values reach {largest:,} of 65,535, so it is {how}: {do}"]


def colours_to_8(image: Image.Image, data: bytes, kind: str) -> tuple[Image.Image, list[str]]:
    """Return a picture in colour, brightened if it has 16 bits and says that fewer of them are used, and doubts.

    Args:
        image: Loaded, with the high bytes of its values.
        data: Its file.
        kind: The format, one of `READERS`.
    """
    if image.mode not in ("RGB", "RGBA") or not _has_16_bits(image, data):
        return image, []
    if max(high for _, high in image.getextrema()[:3]) >= DARK >> 8:  # type: ignore[misc]
        return image, []
    low = _low_bytes(data, kind, image)
    if low is None:
        return image, []
    largest = max(int(values.max()) for _, values in _values(image, low))
    high = _declared_of_colours(image, data, low)
    if high is None or largest > high:
        return image, dark(largest)
    bright = Image.new("RGB", image.size)
    for top, values in _values(image, low):
        bright.paste(Image.fromarray((values * 256 // (high + 1)).astype(np.uint8)), (0, top))
    if image.mode == "RGBA":
        bright.putalpha(image.getchannel("A"))
    return bright, []


def _values(high: Image.Image, low: Image.Image) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield strips of 16-bit colours from their high and low bytes: the first row, and (rows, W, 3)."""
    for top in range(0, high.height, STRIP):
        box = (0, top, high.width, min(top + STRIP, high.height))
        first, second = (np.asarray(one.crop(box))[..., :3].astype(np.int64) for one in (high, low))
        yield top, first << 8 | second


def _has_16_bits(image: Image.Image, data: bytes) -> bool:
    if image.format == "PNG":
        return data[24] == 16
    return image.format == "TIFF" and _first(_tags(image).get(BITS_PER_SAMPLE, 8)) == 16


def _declared_of_colours(image: Image.Image, data: bytes, low: Image.Image) -> int | None:
    """Return the value of white as the file says it; None if it says nothing of less than 16 bits."""
    if image.format == "PNG":
        bits = significant_bits(data)
        unused = 0 if bits is None else (1 << (16 - bits)) - 1
        used = any((values & unused).any() for _, values in _values(image, low))
        return (1 << bits) - 1 if bits is not None and used else None
    declared = _declared(image, data)
    return None if declared is None else int(declared[1])


def _low_bytes(data: bytes, kind: str, loaded: Image.Image) -> Image.Image | None:
    """Return the low bytes of 16-bit colours, read with the bytes swapped; None if Pillow has no way to."""
    image = READERS[kind](io.BytesIO(data))
    tiles = []
    for tile in image.tile:
        mode = tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else ""
        if not isinstance(mode, str) or mode[:-1] not in ("RGB;16", "RGBA;16", "RGBX;16"):
            return None
        swapped = mode[:-1] + SWAPPED[mode[-1]]
        args = swapped if isinstance(tile.args, str) else (swapped, *tile.args[1:])  # type: ignore[index]
        tiles.append(ImageFile._Tile(tile.codec_name, tile.extents, tile.offset, args))
    image.tile = tiles
    image.load()
    return image if image.mode == loaded.mode and image.size == loaded.size else None


def significant_bits(data: bytes) -> int | None:
    """Return how many bits of a 16-bit PNG are used, by its chunk sBIT; None if it says nothing of less than 16."""
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"sBIT":
            bits = max(data[at + 8 : at + 8 + min(length, 3)], default=0)
            return bits if 8 < bits < 16 and data[24] == 16 else None
        if name == b"IDAT":
            break
        at += 12 + length
    return None


def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2 | dict[int, object]:
    return image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}


def _first(value: object) -> float:
    """Return a tag's number, the first of several."""
    number = value[0] if isinstance(value, tuple) else value
    return float(number) if isinstance(number, int | float) else 0.0
