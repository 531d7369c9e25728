"""Which training images stay together: near duplicates, folders, file names, columns and series of photos."""

from __future__ import annotations

import dataclasses
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import ExifTags, Image

from rungs.data.groups import default_groups, describe_groups, group_ids
from rungs.data.imageset import ImageSet, Source, content_hash
from rungs.data.taken import taken_at
from rungs.errors import UserError
from rungs.recipe.groups import AnyGroups, ByColumn, ByFolder, ByName, ByTime, NearDuplicates, NoGroups
from rungs.recipe.spec import DataSpec

CLASSES = ("cat", "dog")


def clouds(n: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    noise = torch.from_numpy(np.random.default_rng(seed).normal(128, 70, (n, 3, 6, 6)).astype(np.float32))
    return torch.nn.functional.interpolate(noise, 32, mode="bicubic").clamp(0, 255).byte().numpy()


def source(pixels: npt.NDArray[np.uint8], paths: list[str] | None = None, **more: object) -> Source:
    labels = torch.arange(len(pixels)) % 2
    images = torch.from_numpy(pixels)
    train = ImageSet(images, labels, CLASSES, content_hash(images, labels, CLASSES), paths)
    return dataclasses.replace(Source("folder:x", "x", train), **more)  # type: ignore[arg-type]


def ids(of: Source, groups: AnyGroups | None) -> list[int]:
    found = group_ids(of, DataSpec(groups=groups))
    assert found is not None and found.dtype == np.int64
    return list(found.tolist())


def test_without_groups_each_image_stands_alone() -> None:
    pixels = clouds(6)
    pixels[3] = pixels[0]
    assert group_ids(source(pixels), DataSpec()) is None  # a recipe that is older than groups
    assert group_ids(source(pixels), DataSpec(groups=NoGroups())) is None
    assert describe_groups(source(pixels), DataSpec(groups=NoGroups())) is None


def test_near_duplicates_are_the_default_of_own_data_alone() -> None:
    assert default_groups(source(clouds(2))) == NearDuplicates()
    for canonical in (True, False):
        assert default_groups(source(clouds(2), canonical=canonical)) is None


def test_near_duplicates_stay_together_also_in_chains() -> None:
    pixels = clouds(8)
    pixels[3] = pixels[0]  # identical
    pixels[5] = np.clip(pixels[1] * 0.8 + 20, 0, 255)
    pixels[7] = pixels[5, :, :, ::-1]
    of = source(pixels)
    assert ids(of, NearDuplicates()) == [0, 1, 2, 0, 3, 1, 4, 1]
    found = describe_groups(of, DataSpec(groups=NearDuplicates()))
    assert found is not None and (found.by, found.n, found.images, found.largest) == ("near-duplicates", 2, 5, 3)


def test_near_duplicates_of_own_test_images_do_not_join_training_images() -> None:
    test = ImageSet(torch.from_numpy(clouds(3)), torch.tensor([0, 1, 0]), CLASSES, "")
    assert ids(source(clouds(3, seed=1), test=test), NearDuplicates()) == [0, 1, 2]


def test_folders_below_the_class_are_groups_and_files_in_the_class_itself_stand_alone() -> None:
    paths = ["r/cat/tom/1.png", "r/dog/1.png", "r/cat/tom/2.png", "r/dog/2.png", "r/cat/kit/1.png", "r/dog/rex/1.png"]
    assert ids(source(clouds(6), paths), ByFolder()) == [0, 1, 0, 2, 3, 4]


def test_folders_of_parts_are_no_groups() -> None:
    paths = [f"r/{step}/{i}.png" for i in range(2) for step in ("cat/train", "dog/train")]
    assert ids(source(clouds(4), paths), ByFolder()) == [0, 1, 2, 3]
    paths = ["r/cat/train/tom/1.png", "r/dog/val/1.png", "r/cat/val/tom/2.png", "r/dog/train/2.png", "r/cat/val/3.png"]
    assert ids(source(clouds(5), paths), ByFolder()) == [0, 1, 0, 2, 3]


def test_a_class_may_be_named_like_a_part() -> None:
    train = source(clouds(4), [f"r/{kind}/{i}.png" for i in range(2) for kind in ("train", "bus")])
    of = dataclasses.replace(train, train=dataclasses.replace(train.train, classes=("train", "bus")))
    assert ids(of, ByFolder()) == [0, 1, 2, 3]


def test_folders_are_those_of_a_class_in_any_spelling_of_unicode() -> None:
    folders = [unicodedata.normalize("NFD", "r/Blüte"), "r/Blatt"]
    found = source(clouds(4), [f"{folder}/{i}.png" for i in range(2) for folder in folders])
    of = dataclasses.replace(found, train=dataclasses.replace(found.train, classes=("Blüte", "Blatt")))
    assert ids(of, ByFolder()) == [0, 1, 2, 3]


def test_a_folder_that_holds_all_of_a_class_is_refused() -> None:
    flat = [f"r/images/{i}.png" for i in range(4)]  # as tables have them
    one_cat = ["r/cat/tom/1.png", "r/dog/rex/1.png", "r/cat/tom/2.png", "r/dog/bob/2.png"]
    for paths, who in ((flat, "cat, dog"), (one_cat, "cat")):
        with pytest.raises(UserError, match=f"all images of {who} are in one folder"):
            ids(source(clouds(4), paths), ByFolder())


def test_every_grouping_joins_near_duplicates_as_well() -> None:
    pixels = clouds(5)
    pixels[3] = pixels[0]
    paths = ["r/cat/tom/1.png", "r/dog/1.png", "r/cat/tom/2.png", "r/dog/2.png", "r/cat/3.png"]
    assert ids(source(pixels, paths), ByFolder()) == [0, 1, 0, 0, 2]


def test_file_names_that_agree_in_the_pattern_are_a_group() -> None:
    paths = ["p1_a/x9_a.png", "p1_b/x9_b.png", "p2/x8_a.png", "p2/other.png", "p2/odd.png", "p2/x8_c.png"]
    of = source(clouds(6), paths)
    assert ids(of, ByName("^(x[0-9]+)_")) == [0, 0, 1, 2, 3, 1]
    assert ids(of, ByName("^x[0-9]+")) == [0, 0, 1, 2, 3, 1]  # without a group of its own, all that it matches


def test_a_bad_pattern_and_images_without_names_are_named() -> None:
    with pytest.raises(UserError, match="no regular expression") as error:
        ids(source(clouds(2), ["a", "b"]), ByName("(x"))
    assert error.value.where == "data.groups.pattern"
    for groups in (ByFolder(), ByName("x"), ByTime(3)):
        with pytest.raises(UserError, match="no file names"):
            ids(source(clouds(2)), groups)


def test_rows_that_agree_in_a_column_are_a_group() -> None:
    assert ids(source(clouds(4), groups=("a", "b", "a", "c")), ByColumn("patient")) == [0, 1, 0, 2]
    with pytest.raises(UserError, match="no column 'patient'"):
        ids(source(clouds(4)), ByColumn("patient"))


def photo(path: Path, second: int | None, camera: str = "Canon") -> str:
    exif = Image.Exif()
    if second is not None:
        exif[ExifTags.Base.Make] = camera
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2024:05:01 12:00:{second:02d}"
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", (16, 16), (second or 0, 9, 9)).save(path, exif=exif)
    return str(path)


def test_photos_of_one_series_are_a_group_by_camera(tmp_path: Path) -> None:
    seconds = [30, 2, None, 4, 33, 7, None, 5]
    paths = [photo(tmp_path / f"{i}.jpg", s, "Nikon" if i == 7 else "Canon") for i, s in enumerate(seconds)]
    of = source(clouds(8), paths)
    assert ids(of, ByTime(3)) == [0, 1, 2, 1, 0, 1, 3, 4]  # 2, 4 and 7 s: each within 3 s of the one before
    assert ids(of, ByTime(2)) == [0, 1, 2, 1, 3, 4, 5, 6]
    found = describe_groups(of, DataSpec(groups=ByTime(3)))
    assert found is not None and (found.n, found.images, found.largest, found.undated) == (2, 5, 3, 2)


def test_photos_of_iphones_say_when_they_were_taken(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    with Image.open(photo(tmp_path / "1.jpg", 12, "Apple")) as image:
        heif.from_pillow(image).save(tmp_path / "1.heic")
    (taken,) = taken_at((str(tmp_path / "1.heic"),))
    assert taken is not None and (taken.when.second, taken.camera) == (12, "Apple")


def test_the_time_is_read_within_a_zip_and_missing_where_a_file_is_none(tmp_path: Path) -> None:
    photo(tmp_path / "1.jpg", 12)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "1.jpg", "cat/1.jpg")
    (tmp_path / "text.jpg").write_text("no picture")
    taken = taken_at((str(tmp_path / "all.zip/cat/1.jpg"), str(tmp_path / "text.jpg"), "row 3"))
    assert taken[0] is not None and (taken[0].when.second, taken[0].camera) == (12, "Canon")
    assert taken[1:] == (None, None)
