"""A folder or zip of pictures, a folder per class."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rungs.data import mapped
from rungs.data.audit import require_trainable
from rungs.data.imageset import content_hash
from rungs.data.sources.folder import load
from rungs.data.sources.names import natural
from rungs.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(path: Path, seed: int, size: tuple[int, int] = (16, 16)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def photos(root: Path, parts: tuple[str, ...] = ("",), classes: tuple[str, ...] = ("cat", "dog"), n: int = 3) -> Path:
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            for i in range(n):
                picture(root / part / name / f"{i}.png", 100 * p + 10 * c + i)
    return root


def zipped(folder: Path, wrapper: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{wrapper}{file.relative_to(folder)}")
    return path


def reasons(source: mapped.Source, kind: str) -> dict[str, str]:
    return {Path(p.path).name: p.reason for p in source.problems if p.kind == kind}


def test_a_folder_per_class(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    source = load(str(root), None)
    train = source.train
    assert source.name == f"folder:{root}" and source.origin == str(root) and source.canonical is None
    assert (train.classes, train.counts(), train.image_size) == (("cat", "dog"), (3, 3), 16)
    assert source.validation is None and source.test is None and source.problems == ()
    assert train.paths is not None and train.paths[4] == f"{root}/dog/1.png"
    assert (train.images[4].permute(1, 2, 0).numpy() == np.asarray(Image.open(train.paths[4]))).all()
    assert train.hash == content_hash(train.images, train.labels, train.classes)


@pytest.mark.parametrize(
    "parts", [("train", "val", "test"), ("Training", "validation", "testing"), ("TRAIN", "valid", "Test")]
)
def test_parts_in_common_spellings(tmp_path: Path, parts: tuple[str, ...]) -> None:
    source = load(str(photos(tmp_path / "photos", parts)), 8)
    assert source.validation is not None and source.test is not None
    assert [len(part) for part in (source.train, source.validation, source.test)] == [6, 6, 6]
    assert source.test.image_size == 8
    assert len({source.train.hash, source.validation.hash, source.test.hash}) == 3


def test_classes_may_be_called_like_parts(tmp_path: Path) -> None:
    source = load(str(photos(tmp_path / "vehicles", classes=("car", "train", "bus"))), None)
    assert source.train.classes == ("bus", "car", "train")


def test_classes_sort_as_people_do(tmp_path: Path) -> None:
    names = ("10", "2", "b", "A", "a1", "a", "a01", "é")
    assert sorted(names, key=natural) == ["2", "10", "A", "a", "a01", "a1", "b", "é"]
    source = load(str(photos(tmp_path / "photos", classes=("class 10", "class 9", "Zebra", "ape"), n=1)), None)
    assert source.train.classes == ("ape", "class 9", "class 10", "Zebra")


@pytest.mark.parametrize("wrapper", ["", "my photos/"])
def test_zip_is_the_same_set(tmp_path: Path, wrapper: str) -> None:
    root = photos(tmp_path / "photos", ("train", "test"))
    (root / "train" / "dog" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    picture(root / "__MACOSX" / "train" / "dog" / "._0.png", 1)
    path = zipped(root, wrapper)
    before = set(tmp_path.rglob("*"))
    of_zip, of_folder = load(str(path), None), load(str(root), None)
    assert of_zip.train.hash == of_folder.train.hash
    assert of_zip.test is not None and of_folder.test is not None and of_zip.test.hash == of_folder.test.hash
    assert of_zip.problems[0].path == f"{path}/{wrapper}train/dog/bad.png"
    assert {p for p in set(tmp_path.rglob("*")) - before if tmp_path / "cache" not in (p, *p.parents)} == set()


def test_zip_that_points_outside_writes_nothing(tmp_path: Path) -> None:
    root = photos(tmp_path / "in" / "photos")
    path = zipped(root)
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(root / "cat" / "0.png", "../../dog/evil.png")
        archive.write(root / "cat" / "1.png", "/cat/absolute.png")
    source = load(str(path), None)
    assert source.train.counts() == (4, 4)
    assert not list(tmp_path.rglob("evil.png")) and not list(tmp_path.rglob("absolute.png"))


def test_damaged_member_of_a_zip_is_unreadable(tmp_path: Path) -> None:
    path = zipped(photos(tmp_path / "photos"))
    data = bytearray(path.read_bytes())
    data[200:210] = b"x" * 10  # in the first file's pixels
    path.write_bytes(data)
    source = load(str(path), None)
    assert len(source.train) == 5 and "CRC" in reasons(source, "unreadable")["0.png"]


def test_hidden_files_and_systems_leftovers_are_ignored(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    for name in (".hidden.png", "cat/.DS_Store", "cat/Thumbs.db", ".git/config", "__MACOSX/cat/0.png", "README.md"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text("text")
    source = load(str(root), None)
    assert source.train.counts() == (3, 3) and source.problems == ()
    ignored = "ignored: 1 file in Thumbs.db, 1 file in __MACOSX, 3 hidden files"
    assert ignored in source.notes
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for file in root.rglob("*"):
            archive.write(file, file.relative_to(root))
    assert ignored in load(str(tmp_path / "photos.zip"), None).notes


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    (root / "cat" / "again").symlink_to(root)
    (root / "cow").symlink_to(photos(tmp_path / "more") / "dog")
    assert load(str(root), None).train.counts() == (3, 3, 3)


def test_links_inside_the_root_multiply_nothing(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    for name in ("self", "deeper"):
        (root / "cat" / name).symlink_to("../cat")
    (root / "dog" / "puppies").mkdir()
    for i in range(20):
        picture(root / "dog" / "puppies" / f"{i}.png", 50 + i)
        (root / "dog" / f"link {i}").symlink_to("puppies")
    (root / "dog" / "all").symlink_to("/")
    assert load(str(root), 8).train.counts() == (3, 23)


def test_links_between_classes_end(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    for here, there in (("cat", "dog"), ("dog", "cat")):
        for i in range(10):
            (root / here / f"to {there} {i}").symlink_to(f"../{there}")
    assert load(str(root), 8).train.counts() == (6, 6)  # a link says that the other's are its own too


def test_class_folders_may_be_links_into_the_root(tmp_path: Path) -> None:
    photos(tmp_path / "photos" / "all", classes=("cat", "dog", "cow"))
    for part, names in (("train", ("cat", "dog")), ("test", ("dog", "cat"))):
        (tmp_path / "photos" / part).mkdir()
        for name in names:
            (tmp_path / "photos" / part / name).symlink_to(f"../all/{name}")
    source = load(str(tmp_path / "photos"), None)
    assert source.train.counts() == (3, 3) and source.test is not None and source.test.counts() == (3, 3)


def test_classes_that_differ_in_capitals_are_told(tmp_path: Path) -> None:
    source = load(str(photos(tmp_path / "photos", classes=("Cat", "cat", "dog"))), None)
    assert source.train.classes == ("Cat", "cat", "dog")
    assert reasons(source, "doubtful")["cat"] == "a class named like Cat: the names differ only in case"
    assert load(str(photos(tmp_path / "two", ("train", "test"), ("Cat", "dog"))), None).problems == ()


def test_damaged_lzma_member_is_unreadable(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    path = tmp_path / "lzma.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
        first = archive.infolist()[0]
    data = bytearray(path.read_bytes())
    start = 30 + len(first.filename)
    data[start + 9 : start + first.compress_size] = b"\xff" * (first.compress_size - 9)
    path.write_bytes(data)
    source = load(str(path), None)
    assert len(source.train) == 5 and "orrupt" in reasons(source, "unreadable")["0.png"]


def test_a_zip_with_a_password_is_one_error(tmp_path: Path) -> None:
    path = zipped(photos(tmp_path / "photos"))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offsets = [member.header_offset + 6 for member in archive.infolist()]
    central = [i + 8 for i in range(len(data)) if data[i : i + 4] == b"PK\1\2"]
    for offset in (*offsets, *central):
        data[offset] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"password-protected\n.*unpack it first"):
        load(str(path), None)


def test_size_without_one_given(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    picture(root / "cat" / "other.png", 7, (20, 16))
    assert load(str(root), None).train.image_size == mapped.DEFAULT_IMAGE_SIZE == 64
    (root / "cat" / "other.png").write_bytes(b"")
    assert load(str(root), None).train.image_size == 16
    tiny = tmp_path / "tiny"
    for name in ("a", "b"):
        picture(tiny / name / "1.png", ord(name), (4, 4))
    assert load(str(tiny), None).train.image_size == 64


def test_the_stored_sizes_are_kept(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", ("train", "test"))
    picture(root / "train" / "cat" / "wide.png", 7, (90, 20))
    picture(root / "test" / "dog" / "tall.jpg", 8, (30, 70))
    picture(root / "train" / "dog" / "tiny.png", 9, (9, 20))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (50, 60), "teal").save(
        root / "train" / "dog" / "turned.jpg", exif=turned
    )  # larger by area than the wide one
    damaged = picture(root / "train" / "cat" / "damaged.png", 10, (300, 300))
    damaged.write_bytes(damaged.read_bytes()[:900])  # its header says a size, but it is no picture
    (root / "train" / "cat" / "text.png").write_text("a text")
    for size in (None, 8):
        assert [load(str(root), size).extent for _ in range(2)] == [((9, 20), (50, 60))] * 2  # decoded, then cached
    assert load(str(zipped(root)), None).extent == ((9, 20), (50, 60))


def test_unreadable_files_are_left_out_and_none_takes_their_place(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    (root / "cat" / "1.png").write_bytes(b"")
    (root / "dog" / "text.jpg").write_text("a text\n")
    whole = (root / "dog" / "2.png").read_bytes()
    (root / "dog" / "2.png").write_bytes(whole[:300])
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    os.mkfifo(root / "dog" / "pipe.png")
    source = load(str(root), None)
    assert reasons(source, "empty") == {"1.png": "empty file"}
    lost = reasons(source, "unreadable")
    assert set(lost) == {"text.jpg", "2.png", "gone.png", "pipe.png"}
    assert "not an image" in lost["text.jpg"] and "damaged" in lost["2.png"]
    assert "No such file" in lost["gone.png"] and "not a regular file" in lost["pipe.png"]
    assert source.train.paths == [f"{root}/{name}" for name in ("cat/0.png", "cat/2.png", "dog/0.png", "dog/1.png")]
    for path, image in zip(source.train.paths, source.train.images, strict=True):
        assert (image.permute(1, 2, 0).numpy() == np.asarray(Image.open(path))).all()


def test_all_files_of_a_part_unreadable(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", n=1)
    for file in root.rglob("*.png"):
        file.write_bytes(b"")
    source = load(str(root), None)
    assert len(source.train) == 0 and source.train.counts() == (0, 0) and len(source.problems) == 2
    assert source.extent is None


def test_duplicates_stay_and_are_told(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", ("train", "test"))
    cat = root / "train" / "cat"
    shutil.copy(cat / "0.png", cat / "same.png")
    shutil.copy(cat / "0.png", root / "train" / "dog" / "other class.png")
    shutil.copy(cat / "1.png", root / "test" / "cat" / "leak.png")
    source = load(str(root), None)
    assert reasons(source, "duplicate") == {
        "same.png": "the same bytes as train/cat/0.png",
        "other class.png": "the same bytes as train/cat/0.png, which is labelled cat, not dog",
        "leak.png": "the same bytes as train/cat/1.png: a leak from train to test",
    }
    assert source.train.counts() == (4, 4)


def test_doubtful_files_are_told(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    Image.open(root / "cat" / "0.png").rotate(90).save(root / "cat" / "png.jpg", "PNG")
    picture(root / "cat" / "small.png", 50, (7, 30))
    picture(root / "cat" / "long.png", 51, (100, 20))
    Image.new("RGB", (16, 16), "teal").save(root / "cat" / "teal.png")
    frames = [Image.open(root / "dog" / f"{i}.png").convert("P") for i in range(3)]
    frames[0].save(root / "dog" / "moving.GIF", save_all=True, append_images=frames[1:])
    for name in ("dog/notes.txt", "dog/table.csv", "dog/scan.psd"):
        (root / name).write_text("x")
    picture(root / "loose.png", 52)
    source = load(str(root), 16)
    told = reasons(source, "doubtful")
    assert set(told) == {
        *("png.jpg", "small.png", "long.png", "teal.png", "moving.GIF", "notes.txt", "table.csv", "scan.psd"),
        "loose.png",
    }
    assert told["png.jpg"] == "a PNG image, despite its name" and "animated" in told["moving.GIF"]
    assert told["teal.png"] == "a single colour" and "only the middle" in told["long.png"]
    assert told["small.png"].startswith("7 x 30 pixels")
    assert source.train.counts() == (7, 4)


def test_folders_beside_parts_are_told(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", ("train", "extra"))
    assert reasons(load(str(root), None), "doubtful") == {
        "extra": "not used: not the name of a part (train, val, test)"
    }


Bad = Callable[[Path], Path]


def no_path(root: Path) -> Path:
    return root / "nowhere"


def empty(root: Path) -> Path:
    root.mkdir()
    return root


def flat(root: Path) -> Path:
    return picture(root / "1.png", 1).parent


def flat_parts(root: Path) -> Path:
    return photos(root, classes=("train", "test"))


def one_class(root: Path) -> Path:
    return photos(root, classes=("cat",))


def empty_class(root: Path) -> Path:
    (photos(root) / "cow").mkdir()
    return root


def two_trains(root: Path) -> Path:
    return photos(root, ("train", "training"))


def new_class_in_test(root: Path) -> Path:
    picture(photos(root, ("train", "test")) / "test" / "cow" / "1.png", 9)
    return root


def no_train(root: Path) -> Path:
    return photos(root, ("val", "test"))


def no_zip(root: Path) -> Path:
    root.with_suffix(".zip").write_bytes(b"PK\3\4 nothing more")
    return root.with_suffix(".zip")


def half_a_zip(root: Path) -> Path:
    path = zipped(photos(root))
    path.write_bytes(path.read_bytes()[:-100])
    return path


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (no_path, "no such folder or zip"),
        (empty, "an empty folder"),
        (flat, "no class folders.*\n.*PATH/cat/1.jpg"),
        (flat_parts, "no class folders here.*\n.*PATH/train/cat/1.jpg"),
        (one_class, r"only one class \(cat\)"),
        (two_trains, "both name the train part"),
        (new_class_in_test, "no training images of cow"),
        (no_train, "no training part, only validation, test"),
        (no_zip, "neither a folder nor a whole zip"),
        (half_a_zip, "neither a folder nor a whole zip"),
    ],
)
def test_what_is_no_source_is_an_error(tmp_path: Path, make: Bad, what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        load(str(make(tmp_path / "photos")), None)
    assert caught.value.do


def test_an_empty_class_folder_is_listed_and_stops_training(tmp_path: Path) -> None:
    root = empty_class(tmp_path / "photos")
    (root / "cow" / "notes.txt").write_text("no picture")
    source = load(str(root), None)
    assert source.train.classes == ("cat", "dog")
    listed = {(problem.path, problem.kind) for problem in source.problems}
    assert listed == {(f"{root}/cow", "empty"), (f"{root}/cow/notes.txt", "doubtful")}
    with pytest.raises(UserError, match="cow: an empty class folder"):
        require_trainable(source, skip_unreadable=False)
    assert [problem.path for problem in require_trainable(source, skip_unreadable=True)] == [f"{root}/cow"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    (root / "cat").rename(root / os.fsdecode(b"caf\xe9"))
    source = load(str(root), None)
    assert source.train.classes == ("caf\\xe9", "dog") and load(str(root), None).train.hash == source.train.hash
