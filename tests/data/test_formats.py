"""TIFF, AVIF, HEIC and the rest: which formats are read, of how many bits, and what is told of a file."""

from __future__ import annotations

import io
import struct
import sys
import threading
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from pictures import BLUE, GREEN, RED, WHITE, corners, encoded, quarters
from PIL import Image, features

from rungs.data import decode as decoding
from rungs.data.decode import Undecodable, decode, read_header, read_picture
from rungs.data.formats import NoReader, format_of
from rungs.data.pillow_notes import listening

pillow_heif = pytest.importorskip("pillow_heif")
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")


def heic(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


def tiff(values: np.ndarray, tags: dict[int, Any] | None = None, **options: Any) -> bytes:
    return encoded(Image.fromarray(values), "TIFF", tiffinfo=tags or {}, **options)


def deep_png(rows: np.ndarray, sbit: int | None = None) -> bytes:
    """A PNG of 16 bits a channel, uint16 (H, W) or (H, W, 3 or 4), whatever its values are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    channels = 1 if rows.ndim == 2 else rows.shape[2]
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    said = chunk(b"sBIT", bytes([sbit] * channels)) if sbit else b""
    pixels = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + said
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


def ramp(top: int, channels: int = 1) -> np.ndarray:
    values = np.linspace(0, top, 256).round().astype(np.uint16)[None].repeat(2, 0)
    return values if channels == 1 else values[..., None].repeat(channels, 2)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "L", "1"])
def test_tiff_of_any_kind(mode: str, compression: str | None) -> None:
    image = quarters().convert(mode)
    data = encoded(image, "TIFF", compression=compression)
    want = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert format_of(data) == read_header(data, "x").format == "TIFF"
    assert (decode(data, None, "x") == want).all()


@needs_avif
def test_avif_and_heic() -> None:
    for kind, data in (
        ("AVIF", encoded(quarters(), "AVIF", quality=100, subsampling="4:4:4")),
        ("HEIC", heic(quarters())),
    ):
        header = read_header(data, "x")
        assert (format_of(data), header.format, header.width, header.height) == (kind, kind, 16, 8)
        got = np.array(corners(decode(data, None, "x")))
        assert np.abs(got - [RED, GREEN, BLUE, WHITE]).max() <= 12
        with pytest.raises(Undecodable, match="damaged"):
            decode(data[: len(data) // 2], None, "x")


ROTATED = {1: (RED, GREEN, BLUE, WHITE), 3: (WHITE, BLUE, GREEN, RED), 6: (BLUE, RED, WHITE, GREEN)}


@needs_avif
@pytest.mark.parametrize("kind", ["TIFF", "TIFF lzw", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", sorted(ROTATED))
def test_each_is_turned_upright_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = quarters()
    data = {
        "TIFF": lambda: encoded(image, "TIFF", tiffinfo={0x0112: orientation}),
        "TIFF lzw": lambda: encoded(image, "TIFF", tiffinfo={0x0112: orientation}, compression="tiff_lzw"),
        "AVIF": lambda: encoded(image, "AVIF", exif=exif.tobytes(), quality=100, subsampling="4:4:4"),
        "HEIC": lambda: heic(image, exif=exif.tobytes()),  # says it twice, as phones do: in the format's own way, too
    }[kind]()
    got = decode(data, None, "x")
    assert np.abs(np.array(corners(got)) - ROTATED[orientation]).max() <= 12
    assert got.shape == ((3, 16, 8) if orientation == 6 else (3, 8, 16))


def test_of_several_pages_the_first_is_used() -> None:
    pages = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert read_header(data, "x").animated and decode(data, None, "x")[:, 4, 4].tolist() == list(RED)


def test_without_the_extra_a_heic_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(quarters())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (read_header, lambda data, where: decode(data, 8, where)):
        with pytest.raises(NoReader, match=r"cat/1.heic: HEIC needs .* pip install -e '\.\[photos\]'"):
            read(data, "cat/1.heic")


def test_without_avif_in_pillow_the_cure_is_to_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(NoReader, match="pip install -U pillow"):
        decode(b"\0\0\0\x1cftypavif" + bytes(40), 8, "x")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("sbit", "brightest", "told"), [(None, 15, True), (12, 255, False), (16, 15, True)])
def test_12_bits_in_a_16_bit_png(channels: int, sbit: int | None, brightest: int, told: bool) -> None:
    values = ramp(4095, channels)
    if channels == 4:
        values[..., 3] = 65535
    got = read_picture(deep_png(values, sbit), None, "x")
    assert got.pixels[0, 0].tolist() == (values[0].reshape(256, -1)[:, 0] >> (8 if told else 4)).tolist()
    assert got.pixels.max() == brightest and (got.pixels == got.pixels[:1]).all()
    assert [note.startswith("values reach 4,095 of 65,535, so it is nearly black: ") for note in got.notes] == [
        True
    ] * told


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_that_is_scaled_as_the_standard_asks_is_left_alone(channels: int) -> None:
    for top in (4095, 100):  # of 12 bits; the second is dark, and so are its values
        values = ramp(top, channels)
        got = read_picture(deep_png(values << 4 | values >> 8, 12), None, "x").pixels
        assert got[0, 0].tolist() == (values[0].reshape(256, -1)[:, 0] >> 4).tolist()


def test_sixteen_bits_that_are_used_raise_no_doubt() -> None:
    for channels in (1, 3):
        got = read_picture(deep_png(ramp(65535, channels)), None, "x")
        assert got.notes == () and got.pixels[0, 0].tolist() == (ramp(65535)[0] >> 8).tolist()


MAX_SAMPLE_VALUE, WHITE_IS_ZERO = {281: 4095}, {262: 0}


def test_tiff_of_16_bits_is_scaled_by_what_it_says() -> None:
    said, unsaid = (read_picture(tiff(ramp(4095), tags), None, "x") for tags in (MAX_SAMPLE_VALUE, {}))
    assert said.pixels[0, 0].tolist() == list(range(256)) and said.notes == ()
    assert unsaid.pixels.max() == 15 and "nearly black" in unsaid.notes[0]
    full = read_picture(tiff(ramp(65535)), None, "x")
    assert full.pixels[0, 0].tolist() == list(range(256)) and full.notes == ()


@pytest.mark.parametrize(
    ("values", "want", "told"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], ""),
        ([0.0, 100.0, 255.0], [0, 100, 255], "decimal numbers from 0 to 255: read as 0, black, to 255, white"),
        ([-1.0, 0.0, 1.0], [0, 128, 255], "decimal numbers from -1 to 1"),
        ([float("nan"), 0.5, 1.0], [0, 128, 255], ""),
    ],
)
def test_tiff_of_floats(values: list[float], want: list[int], told: str) -> None:
    got = read_picture(tiff(np.array([values], np.float32)), None, "x")
    assert got.pixels[0, 0].tolist() == want
    assert len(got.notes) == bool(told) and all(note.startswith(told) for note in got.notes)


def test_tiff_of_32_bit_integers() -> None:
    got = read_picture(tiff(np.array([[0, 7, 255]], np.int32)), None, "x")
    assert got.pixels[0, 0].tolist() == [0, 7, 255] and got.notes[0].startswith("whole numbers from 0 to 255")


def corrupt_exif() -> bytes:
    return encoded(quarters(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")


def test_warnings_belong_to_their_file(capfd: pytest.CaptureFixture[str]) -> None:
    """In every thread and for every file, though Python shows a warning once; and nothing on the screen."""
    files, found = [corrupt_exif() if i % 2 else encoded(quarters()) for i in range(40)], dict[int, tuple[str, ...]]()

    def work(start: int) -> None:
        for i in range(start, 40, 4):
            found[i] = read_picture(files[i], 8, "x").notes

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    before = warnings.showwarning, list(warnings.filters)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(bool(notes) == bool(i % 2) for i, notes in found.items()) and len(found) == 40
    assert found[1][0].startswith("read with a warning: Corrupt EXIF data")
    assert (warnings.showwarning, list(warnings.filters)) == before
    assert capfd.readouterr() == ("", "")


def test_warnings_of_others_go_their_way() -> None:
    with listening() as heard, pytest.warns(UserWarning, match="not ours"):
        thread = threading.Thread(target=lambda: warnings.warn("not ours", stacklevel=1))
        thread.start()
        thread.join()
    assert heard == []


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_libtiff_prints_nothing(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(quarters().resize((64, 64)), "TIFF", compression=compression))
    data[8:60] = b"\xff" * 52
    try:
        decode(bytes(data), None, "x")
    except Undecodable as error:
        assert "decoder error" not in str(error) and "driver" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_large_pictures_are_decoded_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("RGB", (100, 100), RED))
    monkeypatch.setattr(decoding.IN_FLIGHT, "limit", 15_000)
    inside, most = [], []
    decoded = decoding._decoded

    def watched(*args: Any) -> Any:
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.01)
        inside.pop()
        return decoded(*args)

    monkeypatch.setattr(decoding, "_decoded", watched)
    for limit, together in ((15_000, 1), (5_000, 1), (25_000, 2)):
        monkeypatch.setattr(decoding.IN_FLIGHT, "limit", limit)
        most.clear()
        threads = [threading.Thread(target=decode, args=(data, 8, "x")) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert max(most) == together and len(most) == 4
