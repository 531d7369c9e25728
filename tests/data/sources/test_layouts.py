"""What the folders of a source stand for: parts or classes, in every layout that people have."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

from rungs.data.imageset import Source
from rungs.data.reading import Reading
from rungs.data.sources.folder import load
from rungs.data.sources.names import look_alikes, parts_among
from rungs.errors import UserError
from rungs.recipe.spec import Layout


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(root: Path, folders: Iterable[str], n: int = 2) -> Path:
    """Write `n` different pictures into each folder."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            colour = (*crc32(os.fsencode(f"{folder} {i}")).to_bytes(4, "big")[:3],)
            Image.new("RGB", (8, 8), colour).save(root / folder / f"{i}.png")
    return root


def each(parts: Iterable[str], classes: Iterable[str] = ("cat", "dog")) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in classes]


def read(root: Path, layout: Layout = "auto") -> Source:
    return load(str(root), 8, Reading(layout=layout))


def sizes(source: Source) -> tuple[int, int | None, int | None]:
    lengths = [None if part is None else len(part) for part in (source.train, source.validation, source.test)]
    assert lengths[0] is not None
    return lengths[0], lengths[1], lengths[2]


def reasons(source: Source) -> dict[str, str]:
    return {Path(problem.path).name: problem.reason for problem in source.problems if "colour" not in problem.reason}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("train_images", "test_images"),
        ("train1", "test1"),
        ("train_data", "test_data"),
        ("Training Images", "Testing Images"),
        ("TrainSet", "TestSet"),
        ("trainingset", "testset"),
        ("seg_train", "seg_test"),
        ("cars_train", "cars_test"),
        ("train-2023", "test-2023"),
        ("images_train", "images_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/train", "test/test"),
        ("train/images", "test/images"),
    ],
)
def test_spellings_of_parts(tmp_path: Path, train: str, test: str) -> None:
    source = read(pictures(tmp_path / "photos", each((train, test))))
    assert source.train.classes == ("cat", "dog") and sizes(source) == (4, None, 4)
    assert "train from" in source.notes[0] and train in source.notes[0] and test in source.notes[0]


def test_a_validation_part(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", each(("train_data", "val_data")))
    assert sizes(read(root)) == (4, 4, None)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("train", "validate", "tests"), ("train", "validation", "test")),
        (("training", "validation", "evaluation"), ("train", "validation", "test")),  # as in Food-11
        (("train", "eval"), ("train", "test")),
        (("evaluator", "train"), (None, "train")),
        (("testament", "bible"), (None, None)),
        (("train station", "bus station"), (None, None)),
        (("train station", "test station"), ("train", "test")),
        (("trains", "cars"), (None, None)),
        (("test1", "test2"), (None, None)),
        (("train", "train1"), ("train", None)),
        (("train_test", "train"), (None, "train")),
        (("portrait", "contest", "valley", "device"), (None, None, None, None)),
    ],
)
def test_which_names_are_parts(names: tuple[str, ...], parts: tuple[str | None, ...]) -> None:
    found = parts_among(names)
    assert tuple(found.get(name) for name in names) == parts


@pytest.mark.parametrize(
    "classes", [("testament", "bible"), ("train station", "airport"), ("train", "bus"), ("test1", "test2")]
)
def test_classes_that_only_look_like_parts(tmp_path: Path, classes: tuple[str, str]) -> None:
    source = read(pictures(tmp_path / "photos", classes))
    assert set(source.train.classes) == set(classes) and sizes(source) == (4, None, None)


def test_the_level_of_the_class_is_asked_for(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", each(("2019", "2020")))
    with pytest.raises(UserError, match="which level is the class") as caught:
        read(root)
    lines = str(caught.value)
    assert "--layout class: 2 classes, 2019 (4 images) and 2020 (4 images)" in lines
    assert "--layout part/class: 2 classes, cat (4 images) and dog (4 images)" in lines
    assert "--layout class/part" not in lines and "rungs train … --layout LAYOUT" in lines
    assert read(root, "class").train.classes == ("2019", "2020")
    pooled = read(root, "part/class")
    assert pooled.train.classes == ("cat", "dog") and sizes(pooled) == (8, None, None)


def test_some_shared_subfolders_are_asked_for_too(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", (*each(("day", "night")), "night/owl"))
    with pytest.raises(UserError, match=r"subfolders of the same names \(cat and dog\)"):
        read(root)


def test_one_shared_subfolder_leaves_one_reading(tmp_path: Path) -> None:
    source = read(pictures(tmp_path / "photos", ("cat/images", "dog/images")))
    assert source.train.classes == ("cat", "dog")


def test_subfolders_of_classes_with_their_own_pictures_are_no_question(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", ("cat", "dog"), n=9)
    assert sizes(read(pictures(root, each(("cat", "dog"), ("left", "right"))))) == (26, None, None)


def test_the_level_of_the_class_inside_a_part_is_asked_for(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", each(("train/day", "train/night", "test/day", "test/night")))
    with pytest.raises(UserError, match=r"train/day, train/night hold .*which level is the class"):
        read(root)
    assert read(root, "part/class").train.classes == ("day", "night")


def test_parts_below_the_classes(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", each(("cat", "dog"), ("train", "val", "test")))
    for layout in ("auto", "class/part"):
        source = read(root, layout)  # type: ignore[arg-type]
        assert source.train.classes == ("cat", "dog") and sizes(source) == (4, 4, 4)
        assert "read as a folder per class with parts in each" in source.notes[0]
        assert all("/train/" in path for path in source.train.paths or ())
    assert sizes(read(root, "class")) == (12, None, None)


def test_a_class_called_train_with_parts_below(tmp_path: Path) -> None:
    root = pictures(tmp_path / "vehicles", each(("train", "bus"), ("train", "test")))
    assert read(root).train.classes == ("bus", "train")


@pytest.mark.parametrize("extra", ["cat/other", "owl"])
def test_parts_below_some_classes_are_asked_for(tmp_path: Path, extra: str) -> None:
    root = pictures(tmp_path / "photos", (*each(("cat", "dog"), ("train", "test")), extra))
    with pytest.raises(UserError, match="--layout class: ") as caught:
        read(root)
    assert "cat holds folders of parts" in caught.value.what
    with pytest.raises(UserError, match="as the layout class/part needs"):
        read(root, "class/part")


def test_an_empty_class_above_parts_is_told(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", each(("cat", "dog"), ("train", "test")))
    (root / "owl").mkdir()
    assert [(Path(p.path).name, p.kind) for p in read(root).problems if "colour" not in p.reason] == [("owl", "empty")]


def test_a_layout_that_does_not_fit(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", ("cat", "dog"))
    with pytest.raises(UserError, match="holds no folder of a part"):
        read(root, "class/part")
    with pytest.raises(UserError, match="no class folders here"):
        read(root, "part/class")


def test_names_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9", b"caf\xe8")]
    source = read(pictures(tmp_path / "photos", names))
    assert source.train.classes == ("caf\\xe8", "caf\\xe9") and source.train.counts() == (2, 2)
    assert source.train.paths is not None and source.train.paths[0].endswith("/caf\\xe8/0.png")


@pytest.mark.parametrize(
    ("name", "other", "what"),
    [
        ("cat ", "cat", "differs only in spaces"),
        (" 0", "0", "differs only in spaces"),
        ("new  york", "new york", "differs only in spaces"),
        ("cat\u200b", "cat", "cannot be seen"),
        ("Cat\u200b ", "cat", "cannot be seen"),
        ("Cat", "cat", "the names differ only in case"),
    ],
)
def test_classes_that_look_alike(tmp_path: Path, name: str, other: str, what: str) -> None:
    told = [r for r in reasons(read(pictures(tmp_path / "photos", (name, other)))).values() if "named like" in r]
    assert len(told) == 1 and what in told[0]


def test_other_classes_do_not_look_alike() -> None:
    assert look_alikes({name: name for name in ("cat", "cats", "new york", "newyork", "0", "00", "é", "e")}) == []


def test_what_systems_leave_behind_is_ignored_and_counted(tmp_path: Path) -> None:
    left = ("@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__", "node_modules")
    root = pictures(tmp_path / "photos", ("cat", "dog", *left, "cat/@eaDir/0.png_", ".Trashes"))
    source = read(root)
    assert source.train.classes == ("cat", "dog") and source.train.counts() == (2, 2) and not reasons(source)
    assert source.notes[-1].startswith("ignored: 2 files in $RECYCLE.BIN, 4 files in @eaDir, ")
    assert all(name in source.notes[-1] for name in left)
    assert source.notes[-1].endswith(", 2 hidden files")
    packed = load(str(zipped(root)), 8)
    assert packed.train.hash == source.train.hash and packed.notes == source.notes


def zipped(folder: Path, wrapper: str = "") -> Path:
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{wrapper}{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("wrapper", ["my photos", "archive/data/my photos", "photos/photos"])
def test_folders_around_the_real_one_are_unwrapped(tmp_path: Path, wrapper: str, packed: bool) -> None:
    inner = pictures(tmp_path / "real" / wrapper, each(("train", "test")))
    (inner.parent / "README.txt").write_text("text")
    root = tmp_path / "real"
    source = load(str(zipped(root) if packed else root), 8)
    assert source.train.classes == ("cat", "dog") and sizes(source) == (4, None, 4)
    assert source.notes[0] == f"read from {wrapper}, the only folder with folders of pictures"
    assert not reasons(source)


def test_what_lies_beside_the_real_folder_is_told(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", ("images/cat", "images/dog"))
    (root / "annotations").mkdir()
    (root / "annotations" / "1.xml").write_text("text")
    Image.new("RGB", (8, 8)).save(root / "cover.png")
    source = read(root)
    assert source.train.classes == ("cat", "dog")
    assert reasons(source) == {
        "annotations": "not used: no pictures in it",
        "cover.png": "not used: not in a class folder",
    }


def test_an_empty_folder_beside_one_is_an_empty_class(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", ("cat/a", "cat/b"))
    (root / "dog").mkdir()
    with pytest.raises(UserError, match=r"only one class \(cat\)"):
        read(root)


@pytest.mark.parametrize("test", ["test", "test/test", "test_images", "test/images", "test/unknown"])
def test_a_flat_test_set_is_told_and_not_refused(tmp_path: Path, test: str) -> None:
    root = pictures(tmp_path / "photos", (*each(("train",)), test), n=3)
    source = read(root)
    assert sizes(source) == (6, None, None) and source.train.classes == ("cat", "dog")
    top = test.split("/")[0]
    assert reasons(source)[top] == (
        "not used: 3 pictures without labels: the test set is cut from the training images; "
        f"label these: rungs predict RUN {root}/{top}"
    )
    for file in sorted((root / top).rglob("*.png"))[1:]:
        file.unlink()
    assert reasons(read(root))[top] == (
        "not used: 1 picture without labels: the test set is cut from the training images; "
        f"label it: rungs predict RUN {root}/{top}"
    )


def test_many_loose_pictures_are_one_line(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", (*each(("train", "test")), "test"), n=5)
    source = read(root)
    assert sizes(source) == (10, None, 10)
    assert reasons(source) == {"test": "not used: 5 pictures here are not in a class folder"}


@pytest.mark.parametrize("folders", [("",), ("images",), ("train", "test"), ("train/images",)])
def test_a_table_beside_flat_pictures_is_named(tmp_path: Path, folders: tuple[str, ...]) -> None:
    root = pictures(tmp_path / "photos", folders)
    for name in ("train.csv", "sample_submission.csv"):
        (root / name).write_text("id,label\n0,cat\n")
    with pytest.raises(UserError, match=r"labels seem to be in train\.csv") as caught:
        read(root)
    assert caught.value.do == f"give the table: csv:{root}/train.csv"
    with pytest.raises(UserError, match="unpack the zip"):
        load(str(zipped(root)), 8)


def test_links_into_the_same_folder_are_kept_below_a_wrapper(tmp_path: Path) -> None:
    pictures(tmp_path / "all", ("cat", "dog"))
    for part in ("train", "test"):
        (tmp_path / "photos" / "inner" / part).mkdir(parents=True)
        for name in ("cat", "dog"):
            (tmp_path / "photos" / "inner" / part / name).symlink_to(tmp_path / "all" / name)
    assert sizes(read(tmp_path / "photos")) == (4, None, 4)
