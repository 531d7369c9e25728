"""Parquet files in the layout of the Hub."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rungs.data import mapped
from rungs.data.reading import Reading
from rungs.data.sources.parquet import load
from rungs.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 12, 12, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def shard(
    path: Path,
    labels: Sequence[Any],
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    struct: bool = True,
    images: Sequence[bytes | None] | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    files = images or [png(image) for image in pixels(len(labels), seed)]
    cells = [{"bytes": file, "path": f"{i}.png"} for i, file in enumerate(files)] if struct else files
    table = pa.table({"id": list(range(len(labels))), columns[0]: cells, columns[1]: list(labels)})
    if names:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)
    return path


def test_hub_layout_with_named_labels(tmp_path: Path) -> None:
    names = ("zebra", "ape", "unused")
    shard(tmp_path / "set/data/train-00000-of-00002.parquet", [0, 1] * 4, names=names)
    shard(tmp_path / "set/data/train-00001-of-00002.parquet", [1, 0, 1], seed=1, names=names)
    shard(tmp_path / "set/data/validation-00000-of-00001.parquet", [1], seed=2, names=names)
    shard(tmp_path / "set/data/test-00000-of-00001.parquet", [0, 1], seed=3, names=names)
    source = load(str(tmp_path / "set"), None)
    train = source.train
    assert (train.classes, train.counts(), train.image_size) == (("zebra", "ape"), (5, 6), 12)
    assert source.validation is not None and source.test is not None and source.problems == ()
    assert (source.validation.labels.tolist(), source.test.labels.tolist()) == ([1], [0, 1])
    want = np.concatenate([pixels(8), pixels(3, 1)]).transpose(0, 3, 1, 2)
    assert (train.images.numpy() == want).all()
    assert train.paths is not None and train.paths[8].endswith("set/data/train-00001-of-00002.parquet:0")


@pytest.mark.parametrize("labels", [[10, 9, 10, 9], ["9", "10", "9", "10"]])
@pytest.mark.parametrize("columns", [("image", "label"), ("img", "fine_label"), ("image", "labels")])
@pytest.mark.parametrize("struct", [True, False])
def test_plain_labels_and_columns(tmp_path: Path, labels: list[Any], columns: tuple[str, str], struct: bool) -> None:
    source = load(str(shard(tmp_path / "things.parquet", labels, columns=columns, struct=struct)), None)
    assert source.train.classes == ("9", "10")
    assert [source.train.classes[i] for i in source.train.labels.tolist()] == [str(label) for label in labels]


def test_parts_in_folders_and_unnamed_shards(tmp_path: Path) -> None:
    shard(tmp_path / "set/train/0000.parquet", ["a", "b"])
    shard(tmp_path / "set/test/0000.parquet", ["b"], seed=1)
    shard(tmp_path / "set/extra.parquet", ["c"], seed=2)
    source = load(str(tmp_path / "set"), None)
    assert source.test is not None and (len(source.train), len(source.test), source.train.classes) == (2, 1, ("a", "b"))
    assert [(p.path.split("/")[-1], p.kind) for p in source.problems] == [("extra.parquet", "doubtful")]


def test_bad_rows_are_told_and_left_out(tmp_path: Path) -> None:
    images = [*(png(image) for image in pixels(4)), b"", None, b"a text", png(pixels(1)[0])]
    path = shard(tmp_path / "train.parquet", [0, 1, -1, None, 0, 0, 1, 1], images=images)
    source = load(str(path), None)
    assert source.train.labels.tolist() == [0, 1, 1]
    assert (source.train.images[1].numpy() == pixels(4)[1].transpose(2, 0, 1)).all()
    assert {(p.path.split(":")[-1], p.kind) for p in source.problems} == {
        *(("2", "doubtful"), ("3", "doubtful"), ("4", "empty"), ("5", "empty"), ("6", "unreadable"), ("7", "duplicate"))
    }


def test_the_stored_sizes_are_kept(tmp_path: Path) -> None:
    images = [png(np.zeros((height, width, 3), np.uint8)) for width, height in ((12, 12), (30, 10), (5, 40))]
    path = shard(tmp_path / "train.parquet", [0, 1, 1], images=images)
    assert load(str(path), 8).extent == ((12, 12), (30, 10))


def test_hidden_labels_of_a_test_set_leave_no_test_set(tmp_path: Path) -> None:
    shard(tmp_path / "set/train.parquet", ["a", "b"])
    shard(tmp_path / "set/test.parquet", [None, None], seed=1)
    assert load(str(tmp_path / "set"), None).test is None


def test_second_start_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(shard(tmp_path / "train.parquet", [0, 1, 1]))
    first = load(path, 8)
    monkeypatch.setattr(mapped, "_look", lambda item: pytest.fail("an image was read"))
    assert load(path, 8).train.hash == first.train.hash


def damaged(path: Path) -> str:
    shard(path / "train.parquet", [0, 1])
    data = bytearray((path / "train.parquet").read_bytes())
    data[4:400] = bytes(396)
    (path / "train.parquet").write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: "", "no path"),
        (lambda path: str(path / "nowhere"), "no such path"),
        (lambda path: str(shard(path / "a.parquet", [])), "no rows"),
        (lambda path: str(path.parent), "no Parquet files"),
        (
            lambda path: str(shard(path / "a.parquet", [0, 1], columns=("photo", "label"))),
            "columns are id, photo, label",
        ),
        (lambda path: str(shard(path / "a.parquet", [0, 1], columns=("image", "y"))), "columns are id, image, y"),
        (lambda path: str(shard(path / "a.parquet", [0.5, 1.0])), "column label holds double"),
        (lambda path: str(shard(path / "a.parquet", [0, 7], names=("a", "b"))), "label 7.*names 2 classes"),
        (lambda path: str(shard(path / "a.parquet", [0, 0])), "only one class"),
        (lambda path: str(shard(path / "test.parquet", [0, 1])), "no training part"),
        (damaged, "not a whole Parquet file"),
    ],
)
def test_what_is_no_source_is_an_error(tmp_path: Path, make: Any, what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        load(make(tmp_path / "set"), None)
    assert caught.value.do


def test_text_called_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("a text")
    with pytest.raises(UserError, match="not a whole Parquet file"):
        load(str(tmp_path / "a.parquet"), None)


@pytest.mark.parametrize(
    ("labels", "classes", "want"),
    [
        ([True, False, True], ("false", "true"), [1, 0, 1]),
        ([1.0, 10.0, float("nan"), None, -1.0, 1.0], ("1", "10"), [0, 1, 0]),
        (["cat", "dog", "cat"], ("cat", "dog"), [0, 1, 0]),
    ],
)
@pytest.mark.parametrize("column", ["label", "target"])
def test_kinds_of_labels(
    tmp_path: Path, labels: list[Any], classes: tuple[str, ...], want: list[int], column: str
) -> None:
    source = load(str(shard(tmp_path / "a.parquet", labels, columns=("image", column))), None)
    assert source.train.classes == classes and source.train.labels.tolist() == want


def test_columns_that_the_recipe_names(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({
        "image": ["x", "y"],
        "photo": [png(image) for image in pixels(2)],
        "label": [1, 1],
        "kind": ["a", "b"],
        "animal": ["P1", None],
    })  # fmt: skip
    pq.write_table(table, path)
    source = load(str(path), None, Reading(image_column="photo", label_column="kind", group_column="animal"))
    assert source.train.classes == ("a", "b") and len(source.train) == 2
    assert source.groups == ["P1", f"{tmp_path}/a.parquet:1"]
    with pytest.raises(UserError, match="no one column 'sort'; the columns are image, photo"):
        load(str(path), None, Reading(image_column="photo", label_column="sort"))


@pytest.mark.parametrize("struct", [False, True])
def test_paths_instead_of_bytes(tmp_path: Path, struct: bool) -> None:
    root = tmp_path / "set"
    (root / "photos").mkdir(parents=True)
    for i, image in enumerate(pixels(3)):
        Image.fromarray(image).save(root / "photos" / f"{i}.png")
    Image.fromarray(pixels(1, 9)[0]).save(tmp_path / "outside.png")
    names = ["photos/0.png", "photos/1.png", f"{root}/photos/2.png", "../outside.png", "photos/gone.png"]
    cells = [{"bytes": None, "path": name} for name in names] if struct else names
    pq.write_table(pa.table({"file_name": cells, "label": [0, 1, 1, 0, 0]}), root / "train.parquet")
    source = load(str(root), None)
    assert (source.train.images.numpy() == pixels(3).transpose(0, 3, 1, 2)).all()
    gone = ("4", "empty", "empty file") if struct else ("4", "unreadable", "cannot be read: No such file or directory")
    assert [(p.path.split(":")[-1], p.kind, p.reason) for p in source.problems][1:] == [gone]
    assert "names a file outside" in source.problems[0].reason and source.problems[0].kind == "unreadable"
    Image.fromarray(pixels(1, 5)[0]).save(root / "photos" / "1.png")
    assert (load(str(root), None).train.images[1].numpy() == pixels(1, 5)[0].transpose(2, 0, 1)).all()


def test_columns_that_hold_no_images_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [[1, 2], [3, 4]], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"column image holds list<.*>, not images"):
        load(str(tmp_path / "a.parquet"), None)


def test_labels_that_look_alike_are_told(tmp_path: Path) -> None:
    source = load(str(shard(tmp_path / "a.parquet", ["cat", "cat ", "dog"])), None)
    assert ["'cat ' differs only in spaces" in problem.reason for problem in source.problems] == [True]
