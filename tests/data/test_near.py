"""Images that look alike without being identical are found, and those that only resemble each other are not."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from rungs import data
from rungs.data import near
from rungs.data.audit import contents
from rungs.data.imageset import ImageSet, Source, content_hash
from rungs.data.near import near_pairs
from rungs.data.pair_sheet import pair_sheet
from rungs.data.twins import near_between, near_within, positions, source_pairs, twins
from rungs.run.record import NearPair

Pixels = npt.NDArray[np.uint8]


def near_copies(parts: dict[str, ImageSet]) -> list[NearPair]:
    """Return the near duplicates of parts that are a source's own."""
    source = Source("x", "x", parts["train"], parts.get("validation"), parts.get("test"))
    return [pair for pair in near_between(source, parts) if not pair.suspect]


def image_set(pixels: Pixels, paths: list[str] | None = None) -> ImageSet:
    images, labels = torch.from_numpy(pixels), torch.zeros(len(pixels), dtype=torch.int64)
    return ImageSet(images, labels, ("x",), content_hash(images, labels, ("x",)), paths)


def photos(n: int, size: int = 32, seed: int = 0) -> Pixels:
    """Clouds of many scales in colour: the spectrum of a photo, uint8 (n, 3, H, W)."""
    draw = np.random.default_rng(seed)
    total = np.zeros((n, 3, size, size), dtype=np.float32)
    for side in (2, 4, 8, 16):
        noise = torch.from_numpy(draw.normal(size=(n, 3, side, side)).astype(np.float32))
        total += torch.nn.functional.interpolate(noise, size, mode="bilinear").numpy() / side**0.5
    return np.asarray(np.clip(128 + 60 * total, 0, 255), dtype=np.uint8)


def jpeg(x: Pixels, quality: int = 70) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(x.transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file)).transpose(2, 0, 1)


def brighter(x: Pixels) -> Pixels:
    return np.asarray(np.clip(x * 0.9 + 20, 0, 255), dtype=np.uint8)


def moved(x: Pixels) -> Pixels:
    return np.roll(x, 1, axis=2)


def noisy(x: Pixels) -> Pixels:
    return np.asarray(np.clip(x + np.random.default_rng(0).normal(0, 6, x.shape), 0, 255), dtype=np.uint8)


def mirrored(x: Pixels) -> Pixels:
    return x[:, :, ::-1].copy()


@pytest.mark.parametrize("change", [jpeg, brighter, moved, noisy, mirrored])
@pytest.mark.parametrize("size", [32, 50, 96])
def test_changed_copies_are_found_in_any_part_with_their_originals(change, size: int) -> None:  # type: ignore[no-untyped-def]
    pixels = photos(400, size)
    train, validation, test = pixels[:200], pixels[200:300].copy(), pixels[300:].copy()
    for i in range(20):
        validation[i] = change(train[i + 50])
        test[i] = change(train[i] if i < 10 else validation[40 + i])
    pairs = near_copies({"train": image_set(train), "validation": image_set(validation), "test": image_set(test)})
    found = {(pair.image, pair.other) for pair in pairs}
    planted = {(f"validation image {i}", f"train image {i + 50}") for i in range(20)}
    planted |= {(f"test image {i}", f"train image {i}" if i < 10 else f"validation image {40 + i}") for i in range(20)}
    assert found <= planted
    assert len(found) >= 0.8 * len(planted)


def test_identical_images_are_leaks_and_not_named_again() -> None:
    pixels = photos(60)
    assert near_copies({"train": image_set(pixels), "test": image_set(pixels[:20])}) == []
    named = near_copies(
        {"train": image_set(pixels, [f"a/{i}.png" for i in range(60)]),
         "test": image_set(np.stack([jpeg(pixels[7])]), ["b/copy.jpg"])}
    )  # fmt: skip
    assert [(pair.image, pair.other) for pair in named] == [("b/copy.jpg", "a/7.png")]


def test_the_audit_names_them_except_in_a_published_data_set() -> None:
    pixels = photos(60)
    copy = image_set(np.stack([jpeg(pixels[7]), *photos(5, seed=9)]))
    source = Source("x", "x", image_set(pixels), test=copy)
    (problem,) = contents(source).problems
    assert problem.path == "test image 0"
    assert problem.reason == "looks like train image 7: perhaps a leak from train to test"
    assert contents(dataclasses.replace(source, canonical=True)).problems == ()


def test_plain_drawings_and_small_pictures_are_not_compared() -> None:
    digits = np.repeat((load_digits().images * 255 / 16).astype(np.uint8)[:, None], 3, 1)
    assert near_copies({"train": image_set(digits[:1200]), "test": image_set(digits[1200:])}) == []
    larger = digits.repeat(4, 2).repeat(4, 3)  # 32 pixels
    few = near_copies({"train": image_set(larger[:1200]), "test": image_set(larger[1200:])})
    assert len(few) <= 0.01 * len(digits[1200:])
    drawn = []
    for i in range(60):
        picture = Image.new("RGB", (32, 32), (90, 150, 220))
        ImageDraw.Draw(picture).ellipse((10 + i % 3, 12, 18 + i % 3, 20), fill=(20, 20, 20))
        drawn.append(np.array(picture).transpose(2, 0, 1))
    plain = np.stack(drawn)
    assert near_copies({"train": image_set(plain[:30]), "test": image_set(plain[30:])}) == []


def test_thousands_of_images_that_are_all_alike_take_no_quadratic_time(monkeypatch: pytest.MonkeyPatch) -> None:
    one = photos(1)
    draw = np.random.default_rng(0)
    many = np.asarray(np.clip(one + draw.normal(0, 4, (4000, *one.shape[1:])), 0, 255), dtype=np.uint8)
    looked: list[int] = []
    monkeypatch.setattr(near, "MOST", 20)
    kept = near._compare
    monkeypatch.setattr(near, "_compare", lambda *args: looked.append(len(args[2])) or kept(*args))
    pairs = near_copies({"train": image_set(many[:3500]), "test": image_set(many[3500:])})
    assert len(pairs) == 500
    assert max(looked) <= 20 and len(looked) == 3999


@pytest.mark.needs_cifar
@pytest.mark.dear
def test_the_near_copies_of_cifar10_are_found_in_a_few_seconds() -> None:
    source = data.load("cifar10")
    assert source.test is not None
    began = time.perf_counter()
    pairs = near_copies({"train": source.train, "test": source.test})
    assert time.perf_counter() - began < 600  # about 27 on one core, once a machine
    assert 100 <= len(pairs) <= 330  # Barz & Denzler 2020, arXiv:1902.00423, count 3.3 % of the test images by eye


def test_a_pair_says_how_alike_its_images_are_and_whether_one_is_mirrored() -> None:
    pixels = photos(40)
    pixels[20], pixels[21] = jpeg(pixels[3]), mirrored(pixels[4])
    pairs = near_pairs([image_set(pixels)])
    assert pairs.later.tolist() == [20, 21] and pairs.earlier.tolist() == [3, 4]
    assert pairs.mirrored.tolist() == [False, True]
    assert near.SAME <= pairs.similarity[0] < 1 and pairs.similarity[1] == pytest.approx(1)


def test_grey_pictures_are_not_mirrored() -> None:
    pixels = np.repeat(photos(40)[:, :1], 3, axis=1)
    pixels[20] = mirrored(pixels[3])
    assert len(near_pairs([image_set(pixels)]).later) == 0
    pixels[20] = pixels[3]
    assert len(near_pairs([image_set(pixels)]).later) == 1


def test_the_bound_of_the_first_stage_loses_no_candidate() -> None:
    coarse = near._coarse(near._cells(image_set(photos(300, seed=3))))
    flat = coarse.reshape(300, -1)
    axes = near._principal_axes(flat)
    bounds = near._bounds(flat, axes)
    assert bounds.shape == (300, near.BOUND + 1)
    exact = flat @ flat.T
    assert (bounds @ bounds.T >= exact).all()
    assert ((bounds @ bounds.T)[exact < 0.3] < near.LIKE).mean() > 0.5  # and is of some use


def test_plain_images_are_alike_only_if_they_are_identical() -> None:
    plain = np.zeros((6, 3, 32, 32), np.uint8)
    plain[:3] = 200
    plain[3, :, 16:] = 90
    pairs = near_pairs([image_set(plain)])
    assert sorted(zip(pairs.later.tolist(), pairs.earlier.tolist(), strict=True)) == [(1, 0), (2, 0), (5, 4)]


def test_parts_are_found_in_their_source_and_test_images_know_their_twins() -> None:
    pixels = photos(60)
    test = photos(10, seed=9)
    test[2], test[5], test[7] = jpeg(pixels[7]), pixels[8], mirrored(pixels[9])
    source = Source("x", "x", image_set(pixels), test=image_set(test))
    assert source.test is not None
    train = source.train.take(torch.tensor([9, 8, 1, 2]))
    assert positions(source, train).tolist() == [9, 8, 1, 2]
    assert positions(source, source.test).tolist() == list(range(60, 70))
    assert positions(source, train.take(torch.tensor([1, 3]))).tolist() == [8, 2]
    assert twins(source, train, source.test).tolist() == [5, 7]  # of 7 no copy is trained on here
    assert twins(source, source.train, source.test).tolist() == [2, 5, 7]
    assert [pair.image for pair in near_within(source)] == ["test image 7", "test image 2"]  # identical ones are leaks


def test_a_process_searches_a_small_source_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    monkeypatch.setattr("rungs.data.twins._remembered", {})
    monkeypatch.setattr("rungs.data.twins.near_pairs", lambda sets: searched.append(1) or near_pairs(sets))
    pixels = photos(20)
    for _ in range(3):
        assert len(source_pairs(Source("x", "x", image_set(pixels))).later) == 0
    assert searched == [1]
    pixels[9] = pixels[3]
    assert len(source_pairs(Source("x", "x", image_set(pixels))).later) == 1


def test_pairs_are_searched_for_once_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("rungs.data.twins.MANY", 30)
    pixels = photos(40)
    pixels[20] = jpeg(pixels[3])
    source = Source("x", "x", image_set(pixels))
    found = source_pairs(source)
    searched: list[int] = []
    monkeypatch.setattr("rungs.data.twins.near_pairs", lambda sets: searched.append(1) or near_pairs(sets))
    monkeypatch.setattr("rungs.data.twins._remembered", {})  # as in another process
    for column, kept in zip(found, source_pairs(source), strict=True):
        assert column.dtype == kept.dtype and (column == kept).all()
    assert not searched
    (file,) = (tmp_path / "rungs" / "near").glob("*.npz")
    file.write_bytes(b"half")
    monkeypatch.setattr("rungs.data.twins._remembered", {})
    assert len(source_pairs(source).later) == 1 and searched == [1]
    pixels[30] = pixels[5]
    assert len(source_pairs(Source("x", "x", image_set(pixels))).later) == 2


def test_the_sheet_of_pairs_tells_names_apart_in_any_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rungs.data.lettering._system_fonts", list)  # none has these letters
    sheets = [
        pair_sheet(
            [NearPair(part="test", image=name, other_part="train", other="1.png", similarity=0.96, suspect=False)]
        )
        for name in ("\U0001f9ff.png", "\U0001f9fe.png")
    ]
    assert sheets[0] != sheets[1]
