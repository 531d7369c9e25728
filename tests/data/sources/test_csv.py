"""A table of images and labels."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

from rungs.data import open_source
from rungs.data.audit import require_trainable
from rungs.data.imageset import Source
from rungs.data.reading import Reading
from rungs.data.sources.columns import LABELS, find_column, without_fractions
from rungs.data.sources.table import load
from rungs.errors import UserError
from rungs.recipe.groups import ByColumn
from rungs.recipe.spec import DataSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def pictures(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        top, bottom = crc32(name.encode()).to_bytes(4, "big")[:3], (0, 0, 0)
        image = Image.new("RGB", (8, 8), tuple(top))
        image.paste(bottom, (0, 4, 8, 8))
        image.save(root / name)


def table(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def labels(source: Source) -> dict[str, str]:
    """Return the file of each image -> its label."""
    found = {}
    for part in filter(None, (source.train, source.validation, source.test)):
        names = [part.classes[i] for i in part.labels.tolist()]
        found |= {Path(path).name: name for path, name in zip(part.paths or (), names, strict=True)}
    return found


def problems(source: Source) -> dict[str, tuple[str, str]]:
    return {Path(problem.path).name: (problem.kind, problem.reason) for problem in source.problems}


def test_paths_and_labels(root: Path) -> None:
    pictures(root, "a/1.png", "a/2.png", "b/1.png", "rest.png")
    path = table(root, "image,label\na/1.png,cat\na/2.png,dog\nb/1.png,cat\n")
    source = load(str(path), None)
    assert source.name == f"csv:{path}" and source.train.classes == ("cat", "dog")
    assert source.train.paths == [f"{root}/a/1.png", f"{root}/a/2.png", f"{root}/b/1.png"]
    assert source.train.labels.tolist() == [0, 1, 0] and source.problems == () and source.groups is None
    assert source.notes == (
        "labels.csv: images from column image, labels from label",
        "1 picture is in no row of the table: not used",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
def test_spellings_of_a_table(root: Path, delimiter: str, encoding: str) -> None:
    pictures(root, "1.png", "2.png")
    lines = (("File Name", "Class"), ("1.png", "Blüte"), ("2.png", '"blatt"'))
    path = table(root, "\r\n".join(map(delimiter.join, lines)), encoding=encoding)
    source = load(str(path), None)
    assert labels(source) == {"1.png": "Blüte", "2.png": "blatt"}
    assert any("read as" in note for note in source.notes) == (encoding in ("utf-16", "cp1252"))


@pytest.mark.parametrize(
    ("image", "label"),
    [("file_name", "label"), ("filepaths", "labels"), ("image_id", "breed"), ("id", "category"), ("Path", "ClassId")],
)
def test_usual_columns_are_found(root: Path, image: str, label: str) -> None:
    pictures(root, "1.png", "2.png")
    source = load(str(table(root, f"other,{image},{label}\n3,1.png,cat\n4,2.png,dog\n")), None)
    assert labels(source) == {"1.png": "cat", "2.png": "dog"}


def test_ids_without_endings_below_another_folder(root: Path) -> None:
    pictures(root, "train/01.png", "train/02.JPG", "test/01.png", "test/03.png")
    table(root, "id,breed\n01,collie\n02,beagle\n", "train.csv")
    table(root, "id,breed\n01,0\n02,0\n", "sample_submission.csv")
    for path in (root, root / "train.csv"):
        source = load(str(path), None)
        assert source.train.paths == [f"{root}/train/01.png", f"{root}/train/02.JPG"]
        assert labels(source) == {"01.png": "collie", "02.JPG": "beagle"}
        assert "2 images are found without the ending of their name: 01 is train/01.png" in source.notes
    source = load(str(table(root, "id,breed\n01,collie\n02.JPG,beagle\n", "train.csv")), None)
    assert "1 image is found without the ending of its name: 01 is train/01.png" in source.notes


def test_a_table_for_each_part(root: Path) -> None:
    pictures(root, "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    for part in ("train", "test"):
        table(root, "file_name,label\n1.png,cat\n2.png,dog\n", f"{part}/metadata.csv")
    source = load(str(root), None)
    assert source.test is not None and source.test.paths == [f"{root}/test/1.png", f"{root}/test/2.png"]
    assert source.train.paths == [f"{root}/train/1.png", f"{root}/train/2.png"]


def test_a_test_table_without_labels_is_told(root: Path) -> None:
    pictures(root, "1.png", "2.png", "3.png")
    table(root, "image,label\n1.png,cat\n2.png,dog\n", "train.csv")
    table(root, "image\n3.png\n", "test.csv")
    source = load(str(root), None)
    assert source.test is None
    assert problems(source) == {"test.csv": ("doubtful", "not used: no label column; the columns are image")}


def test_a_column_of_parts(root: Path) -> None:
    pictures(root, "1.png", "2.png", "3.png", "4.png")
    rows = "image,label,split\n1.png,cat,train\n2.png,dog,Training\n3.png,cat,val\n4.png,dog,TEST\n"
    source = load(str(table(root, rows)), None)
    assert source.validation is not None and source.test is not None
    assert [part.labels.tolist() for part in (source.train, source.validation, source.test)] == [[0, 1], [0], [1]]
    assert source.notes[0].endswith(", parts from split")
    source = load(str(table(root, rows.replace("TEST", "fold 1"))), None)
    assert source.test is None and len(source.train) == 4
    assert "column split is not used: 'fold 1' is not the name of a part" in source.notes[0]


def test_columns_that_the_recipe_names(root: Path) -> None:
    pictures(root, "1.png", "2.png")
    path = table(root, "image,path,label,colour,animal\nx,1.png,9,red,1\ny,2.png,9,blue,1\n")
    with pytest.raises(
        UserError, match=r"several columns may be the image \(image, path\); the columns are image, path"
    ):
        load(str(path), None)
    spec = DataSpec(source=f"csv:{path}", image_column="path", label_column="colour", groups=ByColumn(column="animal"))
    source = open_source(spec)
    assert labels(source) == {"1.png": "red", "2.png": "blue"} and source.groups == ["1", "1"]
    with pytest.raises(UserError, match=r"no one column 'color'.*\n.*did you mean 'colour'"):
        load(str(path), None, Reading(image_column="path", label_column="color"))


def test_groups_stay_with_their_images(root: Path) -> None:
    pictures(root, "1.png", "2.png", "3.png", "4.png")
    (root / "2.png").write_bytes(b"")
    text = "image,label,patient,split\n1.png,a,P1,train\n2.png,b,P2,train\n3.png,b,P3,test\n4.png,b,,train\n"
    source = load(str(table(root, text)), None, Reading(group_column="patient"))
    assert source.train.paths == [f"{root}/1.png", f"{root}/4.png"] and source.groups == ["P1", "labels.csv:5"]


def test_bad_rows_are_told_with_their_line(root: Path, tmp_path: Path) -> None:
    pictures(root, "1.png", "2.png", "a/9.png", "b/9.png")
    pictures(tmp_path, "outside.png")
    rows = ("1.png,cat", "2.png,dog", "", "gone.png,cat", "1.png", "2.png,", "../outside.png,cat", "9,dog", "1.png,nan")
    rows += (f"{tmp_path}/outside.png,cat", f"{root}/1.png,cat", "./2.png,dog", "C:\\photos\\1.png,cat")
    source = load(str(table(root, "image,label\n" + "\n".join(rows))), None)
    assert labels(source) == {"1.png": "cat", "2.png": "dog"} and len(source.train) == 2
    assert problems(source) == {
        "labels.csv:5": ("unreadable", "no file gone.png"),
        "labels.csv:6": ("doubtful", "not used: 1 cell, but 2 columns"),
        "labels.csv:7": ("doubtful", "not used: it has no label"),
        "labels.csv:8": ("unreadable", "../outside.png is outside the folder of the table"),
        "labels.csv:9": ("unreadable", "9 may be a/9.png or b/9.png"),
        "labels.csv:10": ("doubtful", "not used: it has no label"),
        "labels.csv:11": ("unreadable", f"{tmp_path}/outside.png is outside the folder of the table"),
        "labels.csv:14": ("unreadable", "C:\\photos\\1.png is outside the folder of the table"),
    }
    assert "rows that repeat an image and its label, used once: 2" in source.notes
    with pytest.raises(UserError, match="5 files cannot be used"):
        require_trainable(source, skip_unreadable=False)


def test_whole_numbers_lose_their_fraction() -> None:
    assert without_fractions(["1.0", "12.0", "0"]) == ["1", "12", "0"]
    assert without_fractions(["1.5", "2.0"]) == ["1.5", "2.0"] and without_fractions(["1.0", "a"]) == ["1.0", "a"]


def test_labels_that_look_alike_are_told(root: Path) -> None:
    pictures(root, "1.png", "2.png")
    source = load(str(table(root, "image,label\n1.png,cat\n2.png,cat \n")), None)
    assert source.train.classes == ("cat", "cat ")
    assert "'cat ' differs only in spaces" in problems(source)["labels.csv:3"][1]


def test_several_labels_are_not_guessed() -> None:
    with pytest.raises(
        UserError, match=r"several columns may be the label \(label, class\).*\n.*data\.label_column=NAME"
    ):
        find_column(["image", "label", "class"], LABELS, "label", "x.csv")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "an empty table"),
        ("image,label\n", "no rows"),
        ("photo_of,kind\n1.png,cat\n", "no image column; the columns are photo_of, kind"),
        ("image,kind\n1.png,cat\n", "no label column; the columns are image, kind"),
        ("image,label\n3.png,cat\n4.png,dog\n", r"none of the 2 images is there; labels.csv:2: no file 3.png"),
        ("image,label\n3.png,cat\n", r"the only image is not there; labels.csv:2: no file 3.png"),
        ("image,label\n1.png,\n2.png,NaN\n", "no row has a label"),
        ("image,label\n1.png,cat\n2.png,cat\n", r"only one class \(cat\)"),
        ("image,label\0\n1.png,cat\n", "not a text"),
        (f"image,label\n1.png,{'x' * 200_000}\n", "not a table: field larger than field limit"),
    ],
)
def test_what_is_no_table_is_an_error(root: Path, text: str, what: str) -> None:
    pictures(root, "1.png", "2.png")
    with pytest.raises(UserError, match=what) as caught:
        load(str(table(root, text)), None)
    assert caught.value.do


def test_a_folder_without_a_table_for_training(root: Path) -> None:
    pictures(root, "1.png")
    for argument, what in ((str(root), "no table here"), (str(root / "no.csv"), "no such table"), ("", "no path")):
        with pytest.raises(UserError, match=what):
            load(argument, None)
    table(root, "image,label\n1.png,cat\n", "one.csv")
    table(root, "image,label\n1.png,cat\n", "two.csv")
    with pytest.raises(UserError, match=r"several tables, not one for each part: one\.csv, two\.csv"):
        load(str(root), None)


def test_a_changed_table_is_read_again(root: Path) -> None:
    pictures(root, "1.png", "2.png")
    path = table(root, "image,label\n1.png,cat\n2.png,dog\n")
    assert labels(load(str(path), None)) == {"1.png": "cat", "2.png": "dog"}
    table(root, "image,label\n1.png,dog\n2.png,cat\n")
    assert labels(load(str(path), None)) == {"1.png": "dog", "2.png": "cat"}
