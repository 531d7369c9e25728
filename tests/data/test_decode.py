"""The one way from a file to RGB uint8."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import BLUE, GREEN, RED, WHITE, corners, encoded, photo, quarters
from PIL import Image

from rungs.data.decode import MAX_PIXELS, Undecodable, decode, read_header, resize_array


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey PNG from its compressed rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WebP", "GIF", "JPEG"])
def test_formats_give_the_same_picture(kind: str) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WebP" else {"quality": 100, "subsampling": 0}
    got = decode(encoded(quarters(), kind, **({} if kind in ("PNG", "BMP", "GIF") else options)), None, "x")
    want = np.asarray(quarters()).transpose(2, 0, 1)
    assert got.dtype == np.uint8 and got.shape == (3, 8, 16)
    assert np.abs(got.astype(int) - want).max() <= (3 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    ("orientation", "want"),
    [
        (1, [RED, GREEN, BLUE, WHITE]),
        (2, [GREEN, RED, WHITE, BLUE]),
        (3, [WHITE, BLUE, GREEN, RED]),
        (4, [BLUE, WHITE, RED, GREEN]),
        (5, [RED, BLUE, GREEN, WHITE]),
        (6, [BLUE, RED, WHITE, GREEN]),
        (7, [WHITE, GREEN, BLUE, RED]),
        (8, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_exif_orientation(orientation: int, want: list[tuple[int, ...]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "WebP"):
        options = {"lossless": True} if kind == "WebP" else {}
        got = decode(encoded(quarters(), kind, exif=exif.tobytes(), **options), None, "x")
        assert corners(got) == want
        assert got.shape == ((3, 16, 8) if orientation >= 5 else (3, 8, 16))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored() -> None:
    data = encoded(quarters(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert corners(decode(data, None, "x")) == [RED, GREEN, BLUE, WHITE]


def test_cmyk_jpeg() -> None:
    got = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), None, "x")
    assert np.abs(got[:, 4, 4].astype(int) - RED).max() <= 3


def test_sixteen_bits_keep_the_high_byte() -> None:
    grey = np.array([[0, 255, 256, 65535]], np.uint16)
    got = decode(encoded(Image.fromarray(grey)), None, "x")
    assert got[:, 0].tolist() == [[0, 0, 1, 255]] * 3


def test_one_bit_and_grey_are_repeated() -> None:
    for mode in ("1", "L"):
        image = Image.new(mode, (2, 1))
        image.putpixel((1, 0), 255)
        assert decode(encoded(image), None, "x")[:, 0].tolist() == [[0, 255]] * 3


def keyed_png(bits: int, colours: int, row: bytes, key: bytes) -> bytes:
    """A PNG of two pixels, grey or RGB, with a colour key."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, bits, 2 if colours == 3 else 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


@pytest.mark.parametrize(
    ("bits", "colours", "row", "key", "want"),
    [
        (16, 1, "1234 1235", "1234", [255, 0x12]),
        (16, 3, "123412341234 340034003400", "123412341234", [255, 0x34]),
        (8, 1, "1213", "0012", [255, 0x13]),
        (4, 1, "12", "0001", [255, 0x22]),
        (2, 1, "60", "0001", [255, 0xAA]),
        (1, 1, "80", "0000", [255, 255]),
    ],
)
def test_a_colour_key_of_any_depth(bits: int, colours: int, row: str, key: str, want: list[int]) -> None:
    got = decode(keyed_png(bits, colours, bytes.fromhex(row), bytes.fromhex(key)), None, "x")
    assert got[:, 0].tolist() == [want] * 3


def test_transparency_is_laid_over_white() -> None:
    rgba = Image.new("RGBA", (3, 1), (*RED, 255))
    rgba.putpixel((1, 0), (0, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    assert decode(encoded(rgba), None, "x")[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [127, 127, 127]]
    la = Image.new("LA", (1, 1), (0, 0))
    assert decode(encoded(la), None, "x").ravel().tolist() == [255] * 3
    palette = Image.new("P", (2, 1))
    palette.putpalette([*RED, *GREEN])
    palette.putpixel((1, 0), 1)
    assert decode(encoded(palette), None, "x")[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0]]
    assert decode(encoded(palette, transparency=1), None, "x")[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]
    keyed = encoded(Image.new("RGB", (1, 1), (9, 9, 9)), transparency=(9, 9, 9))
    assert decode(keyed, None, "x").ravel().tolist() == [255] * 3


@pytest.mark.parametrize("kind", ["GIF", "WebP", "PNG"])
def test_first_frame_of_animations(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options: dict[str, Any] = {"lossless": True} if kind == "WebP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert read_header(data, "x").animated
    assert decode(data, None, "x")[:, 4, 4].tolist() == list(RED)


def test_square_is_the_middle_up_and_down() -> None:
    strip = np.zeros((10, 30, 3), np.uint8)
    strip[:, 10:20] = 200
    for image in (Image.fromarray(strip), Image.fromarray(strip.transpose(1, 0, 2))):
        for size in (5, 10, 40):
            got = decode(encoded(image), size, "x")
            assert got.shape == (3, size, size)
            middle = got[:, size // 4 : -size // 4, size // 4 : -size // 4].astype(int)
            assert np.abs(middle - 200).max() <= 2  # the filter reaches a little over the edge
    assert decode(encoded(photo(1, 900)), 16, "x").shape == (3, 16, 16)


def test_large_jpeg_is_near_the_exact_resize() -> None:
    image = photo(800, 800)
    data = encoded(image, "JPEG", quality=95)
    exact = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1).astype(int)
    assert np.abs(decode(data, 32, "x") - exact).max() <= 4


def test_same_size_keeps_each_pixel_and_resize_array_agrees() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 12), dtype=np.uint8)
    files = [encoded(Image.fromarray(image.transpose(1, 2, 0))) for image in noise]
    assert (np.stack([decode(file, 12, "x") for file in files]) == noise).all()
    for size in (8, 12, 31):
        assert (np.stack([decode(file, size, "x") for file in files]) == resize_array(noise, size)).all()


def bomb(side: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    return png(side, side, b"".join([*(packer.compress(row) for _ in range(8)), packer.flush()]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"no picture, but text\n", "not an image"),
        (b"II*\0 no TIFF", "damaged: it has no usable header"),
        (encoded(photo(), "JPEG")[:400], "damaged"),
        (encoded(photo())[:100], "damaged"),
        (encoded(photo(), "BMP")[:200], "damaged"),
        (encoded(photo(), "WebP")[:100], "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "damaged"),
        (bomb(12_000), "decompression bomb"),
        (bomb(60_000), "decompression bomb"),
    ],
)
def test_hostile_files_say_why(data: bytes, reason: str) -> None:
    with warnings.catch_warnings(), pytest.raises(Undecodable, match=reason) as caught:
        warnings.simplefilter("error")
        decode(data, 32, "cat/1.jpg")
    assert caught.value.where == "cat/1.jpg" and "cat/1.jpg" in str(caught.value)


def test_a_whole_bomb_is_refused_before_its_pixels() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    packer = zlib.compressobj(1)
    row = bytes(side + 1) * 64
    rows = b"".join([*(packer.compress(row) for _ in range(side // 64 + 1)), packer.flush()])
    data = png(side, side, rows)
    assert len(data) < side * side / 100  # small on disk
    with pytest.raises(Undecodable, match="more than 134 million"):
        decode(data, 32, "x")


VALID = [
    encoded(photo(), "JPEG"),
    encoded(photo().convert("CMYK"), "JPEG"),
    encoded(photo()),
    encoded(photo().convert("P"), transparency=3),
    encoded(photo().convert("RGBA"), "WebP"),
    encoded(photo(), "GIF", save_all=True, append_images=[photo().rotate(90)]),
    encoded(photo(), "BMP"),
]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", *(data[:12] for data in VALID)]), st.sampled_from([None, 8]))
def test_random_bytes_raise_only_undecodable(tail: bytes, start: bytes, size: int | None) -> None:
    survives(start + tail, size)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(VALID), st.sampled_from([None, 8]))
def test_damaged_files_raise_only_undecodable(draw: st.DataObject, whole: bytes, size: int | None) -> None:
    data = bytearray(whole[: draw.draw(st.integers(0, len(whole)))] if draw.draw(st.booleans()) else whole)
    for _ in range(draw.draw(st.integers(0, 8)) if data else 0):
        data[draw.draw(st.integers(0, min(len(data), 200) - 1))] = draw.draw(st.integers(0, 255))
    survives(bytes(data), size)


def survives(data: bytes, size: int | None) -> None:
    try:
        header = read_header(data, "x")
        pixels = decode(data, size, "x")
    except Undecodable as error:
        assert error.reason
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[0] == 3
        assert size is None or pixels.shape == (3, size, size)
        assert header.width * header.height <= MAX_PIXELS


def test_needs_no_torch() -> None:
    code = "import sys, rungs.data.decode, rungs.data.audit; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
