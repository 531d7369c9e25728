"""The contents of a source."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rungs import data
from rungs.data.audit import contents, require_trainable, suspects
from rungs.data.imageset import ImageSet, Source, content_hash
from rungs.data.lettering import lettering
from rungs.data.sheet import COLOURS, contact_sheet
from rungs.errors import UserError
from rungs.run.record import Problem, from_json, to_json

CLASSES = ("cat", "dog")


def images(n: int, seed: int, paths: bool = False) -> ImageSet:
    pixels = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(n) % 2
    names = [f"{seed}/{i}.png" for i in range(n)] if paths else None
    return ImageSet(pixels, labels, CLASSES, content_hash(pixels, labels, CLASSES), names)


def source(paths: bool = False, problems: tuple[Problem, ...] = ()) -> Source:
    return Source("folder:x", "/x", images(6, 0, paths), test=images(3, 1, paths), problems=problems)


def test_contents_say_what_is_there(tmp_path: Path) -> None:
    got = contents(source())
    assert (got.image_size, got.classes, got.canonical, got.problems) == (8, CLASSES, None, ())
    assert {part: (known.n, known.counts) for part, known in got.parts.items()} == {
        "train": (6, (3, 3)),
        "test": (3, (2, 1)),
    }
    assert got.parts["test"].hash == source().test.hash  # type: ignore[union-attr]
    assert from_json(to_json(got), type(got), tmp_path) == got


def test_equal_images_are_found_within_and_across_parts() -> None:
    twins = source()
    assert twins.test is not None
    twins.train.images[3] = twins.train.images[0]
    twins.train.images[4] = twins.train.images[2]
    twins.test.images[1] = twins.train.images[1]
    assert {p.path: p.reason for p in contents(twins).problems} == {
        "train image 3": "the same pixels as train image 0, which is labelled cat, not dog",
        "train image 4": "the same pixels as train image 2",
        "test image 1": "the same pixels as train image 1: a leak from train to test",
    }


def test_files_already_known_as_duplicates_are_told_once() -> None:
    known = Problem(path="0/4.png", kind="duplicate", reason="the same bytes as 0/2.png")
    twins = source(paths=True, problems=(known,))
    twins.train.images[4] = twins.train.images[2]
    assert contents(twins).problems == (known,)


def test_images_that_only_look_alike_are_no_duplicates_in_the_list(tmp_path: Path) -> None:
    near, exact = clouds(), clouds()
    near[3] = (near[0].float() * 0.9 + 20).byte()
    exact[3] = exact[0]
    for pixels, kind in ((near, "near duplicate"), (exact, "duplicate")):
        labels = torch.zeros(4, dtype=torch.int64)
        train, test = (
            ImageSet(x, labels[: len(x)], ("x",), content_hash(x, labels[: len(x)], ("x",)))
            for x in (pixels[:3], pixels[3:])
        )
        got = contents(Source("folder:x", "/x", train, test=test))
        assert [(problem.path, problem.kind) for problem in got.problems] == [("test image 0", kind)]
        assert from_json(to_json(got), type(got), tmp_path) == got


def clouds() -> torch.Tensor:
    """Four smooth pictures in colour, uint8 (4, 3, 32, 32)."""
    noise = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return (128 + 50 * torch.nn.functional.interpolate(noise, 32, mode="bilinear")).clamp(0, 255).byte()


def test_sixty_thousand_images_are_quick() -> None:
    pixels, labels = torch.zeros(60_000, 3, 32, 32, dtype=torch.uint8), torch.zeros(60_000, dtype=torch.int64)
    begun = time.perf_counter()
    got = contents(Source("x", "x", ImageSet(pixels, labels, CLASSES, "")))
    assert len(got.problems) == 59_999 and time.perf_counter() - begun < 300  # in pairs it would take hours


def test_require_trainable_lists_and_counts() -> None:
    lost = tuple(
        Problem(path=f"x/{i}.png", kind="unreadable" if i else "empty", reason=f"reason {i}") for i in range(25)
    )
    odd = Problem(path="x/odd.png", kind="doubtful", reason="odd")
    with pytest.raises(UserError, match="25 files cannot be used") as caught:
        require_trainable(source(problems=(odd, *lost)), skip_unreadable=False)
    text = str(caught.value)
    assert "x/19.png: reason 19" in text and "x/20.png" not in text and "and 5 more" in text and "odd" not in text
    assert "--skip-unreadable" in text
    assert require_trainable(source(problems=(odd, *lost)), skip_unreadable=True) == lost
    assert require_trainable(source(problems=(odd,)), skip_unreadable=False) == ()


def test_a_class_without_readable_images_is_not_trainable() -> None:
    bare = replace(source(), train=images(6, 0).take(torch.tensor([0, 2])))
    with pytest.raises(UserError, match="no readable training image of dog"):
        require_trainable(bare, skip_unreadable=True)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_part_without_readable_images_is_not_trainable(part: str) -> None:
    nothing = images(6, 0).take(torch.tensor([], dtype=torch.int64))
    with pytest.raises(UserError, match=f"folder:x: no readable image in the {part} part\n  -> fix the files"):
        require_trainable(replace(source(), **{part: nothing}), skip_unreadable=True)
    both = replace(source(), validation=nothing, test=nothing)
    with pytest.raises(UserError, match="no readable image in the validation and test parts"):
        require_trainable(both, skip_unreadable=False)


def test_an_unreadable_test_folder_stops_before_training(photos: Path) -> None:
    for shape in ("circle", "cross", "square"):
        (photos / "train" / shape).parent.mkdir(exist_ok=True)
        (photos / shape).rename(photos / "train" / shape)
    (photos / "test" / "cross").mkdir(parents=True)
    (photos / "test" / "cross" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = data.load(f"folder:{photos}", 16)
    with pytest.raises(UserError, match="1 file cannot be used"):
        require_trainable(found, skip_unreadable=False)
    with pytest.raises(UserError, match="no readable image in the test part"):
        require_trainable(found, skip_unreadable=True)


def test_contents_say_how_large_the_pictures_are_stored() -> None:
    extent = ((40, 30), (4000, 3000))
    assert contents(replace(source(), extent=extent)).extent == extent
    assert contents(source()).extent is None


@pytest.mark.parametrize("size", [None, 16])
def test_the_digits_are_stored_with_8_pixels(size: int | None) -> None:
    assert contents(data.load("digits", size)).extent == ((8, 8), (8, 8))


@pytest.mark.needs_cifar
def test_cifar_10_is_stored_with_32_pixels(cifar10: Source) -> None:
    assert cifar10.extent == ((32, 32), (32, 32))


@pytest.mark.parametrize(("size", "tile"), [(8, 64), (32, 64), (50, 100), (64, 64), (200, 128), (1000, 128)])
def test_contact_sheet_shows_each_image(size: int, tile: int) -> None:
    flat = np.broadcast_to(np.arange(10, 130, 10, dtype=np.uint8)[:, None, None, None], (12, 3, size, size))
    drawn = contact_sheet(np.ascontiguousarray(flat), np.arange(12) % 2, CLASSES, columns=4)
    sheet = np.asarray(Image.open(io.BytesIO(drawn)))
    for value, shown in zip(range(10, 130, 10), [1] * 8 + [0] * 4, strict=True):
        assert (sheet == value).all(-1).sum() >= tile * tile * shown
    assert sheet.shape[0] < 2 * (tile + 20) + 40


def test_contact_sheet_of_many_classes_says_how_many_more() -> None:
    pixels = np.zeros((30, 3, 8, 8), np.uint8)
    names = [f"a class with a very long name, number {i}\n" for i in range(30)]
    tall, short = (
        Image.open(io.BytesIO(contact_sheet(pixels, np.arange(30), names[:n], rows=20))).size for n in (30, 20)
    )
    assert tall[0] == short[0] and tall[1] - short[1] == 20


def test_suspects_lead_their_row_in_a_frame_of_their_kind() -> None:
    pixels = np.zeros((40, 3, 8, 8), np.uint8)
    pixels[:] = np.arange(100, 140, dtype=np.uint8)[:, None, None, None]
    odd = {38: "doubtful", 36: "duplicate", 39: "near duplicate"}
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(pixels, np.arange(40) % 2, CLASSES, suspects=odd))))
    left_to_right = [grey for grey in first_seen(sheet[44]) if 100 <= grey < 140]
    assert left_to_right == [136, 138, 100, 102, 104, 106, 108, 110, 112, 114]
    for colour in COLOURS.values():
        assert (sheet == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(-1).sum() > 64 * 4 * 3
    plain = np.asarray(Image.open(io.BytesIO(contact_sheet(pixels, np.arange(40) % 2, CLASSES))))
    assert sheet.shape[0] - plain.shape[0] == 20  # the legend


def first_seen(row: np.ndarray) -> list[int]:
    greys = [int(r) for r, g, b in row if r == g == b]
    return list(dict.fromkeys(greys))


def test_a_class_with_a_suspect_is_shown_though_there_are_many_classes() -> None:
    pixels, names = np.full((30, 3, 8, 8), 50, np.uint8), [f"class {i}" for i in range(30)]
    pixels[27] = 200
    for odd, shown in (({}, False), ({27: "doubtful"}, True)):
        sheet = np.asarray(Image.open(io.BytesIO(contact_sheet(pixels, np.arange(30), names, rows=20, suspects=odd))))
        assert bool((sheet == 200).all(-1).sum() >= 64 * 64) == shown


def test_suspects_are_found_by_their_path_or_number() -> None:
    problems = [Problem(path=path, kind="doubtful", reason="x") for path in ("0/4.png", "train image 2", "elsewhere")]
    assert suspects(problems, images(6, 0, paths=True)) == {4: "doubtful"}
    assert suspects(problems, images(6, 0)) == {2: "doubtful"}


def test_umlauts_are_drawn_as_letters() -> None:
    text, font = lettering("Blüte, Žluťoučký, бабочка, ξίφος", 15)
    assert text.startswith("Blüte") and bytes(font.getmask("ü")) != bytes(font.getmask("\U0010ffff"))


def test_letters_that_no_font_has_become_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rungs.data.lettering._system_fonts", list)
    assert lettering("a \U0001f9ff", 15)[0] == r"a \U0001f9ff"
