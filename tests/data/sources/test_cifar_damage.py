"""Damaged and hostile files in place of CIFAR-10: each is named, and none of them runs or writes anything."""

from __future__ import annotations

import io
import pickle
import resource
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_files import BINARY, PYTHON, batch, pickled, small_set, write, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from rungs import data
from rungs.data.sources import cifar10, locate
from rungs.data.sources.cifar_format import unpickle
from rungs.errors import UserError


@pytest.fixture
def python_set(tmp_path: Path) -> Path:
    return write(tmp_path / PYTHON.folder, small_set(PYTHON))


# --- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [PYTHON, BINARY], ids=["python", "binary"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.49, 0.999])
def test_a_truncated_file_is_named(layout: cifar10.Layout, keep: float, tmp_path: Path) -> None:
    place = write(tmp_path / layout.folder, small_set(layout))
    file = place / layout.train[2]
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match="truncated or damaged") as caught:
        data.load(f"cifar10:{place}", None)
    assert caught.value.where == str(file)
    assert caught.value.do == "give another path, or download the set again"


def test_a_binary_file_cut_between_two_images_is_not_canonical(tmp_path: Path) -> None:
    place = write(tmp_path / BINARY.folder, small_set(BINARY))
    whole = data.load(f"cifar10:{place}", None)
    assert whole.test is not None
    known = replace(cifar10.CIFAR10, content=(whole.train.hash, whole.test.hash))
    (place / BINARY.train[2]).write_bytes((place / BINARY.train[2]).read_bytes()[: 10 * 3073])
    cut = cifar10.load(known, str(place), None)
    assert len(cut.train) == 90 and cut.canonical is False


def test_a_missing_file_is_named(python_set: Path, tmp_path: Path) -> None:
    (python_set / "data_batch_4").unlink()
    with pytest.raises(UserError, match="No such file") as caught:
        data.load(f"cifar10:{python_set}", None)
    assert caught.value.where == str(python_set / "data_batch_4")
    files = small_set(PYTHON)
    del files["data_batch_4"]
    with pytest.raises(UserError, match="holds no data_batch_4"):
        data.load(f"cifar10:{write_tar(tmp_path / 'x.tar.gz', PYTHON.folder, files)}", None)


PIXELS, LABELS = batch(20, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"data": PIXELS, b"labels": [*LABELS[:-1], 3]}, "labels from 0 to 3, but there are 3 classes"),
        ({b"data": PIXELS, b"labels": [*LABELS[:-1], -1]}, "labels from -1 to 2"),
        ({b"data": PIXELS, b"labels": [*LABELS[:-1], 2**70]}, "not a CIFAR batch"),
        ({b"data": PIXELS[:, :-1], b"labels": LABELS}, "not a CIFAR batch"),
        ({b"data": PIXELS[:-1], b"labels": LABELS}, "not a CIFAR batch"),
        ({b"data": PIXELS.astype(np.int16), b"labels": LABELS}, "numbers of type 'i2', not bytes"),
        ({b"data": np.array([None] * 3072), b"labels": [0]}, "numbers of type 'O8', not bytes"),
        ({b"data": PIXELS.tolist(), b"labels": LABELS}, "not a CIFAR batch"),
        ({b"data": PIXELS, b"labels": [str(label) for label in LABELS]}, "not a CIFAR batch"),
        ({b"data": PIXELS}, "not a CIFAR batch"),
        ({b"data": PIXELS[:0], b"labels": []}, "not a CIFAR batch"),
    ],
)
def test_a_batch_of_another_kind_is_named(content: dict[bytes, Any], message: str, python_set: Path) -> None:
    (python_set / "data_batch_1").write_bytes(pickled(content))
    with pytest.raises(UserError, match=message) as caught:
        data.load(f"cifar10:{python_set}", None)
    assert caught.value.where == str(python_set / "data_batch_1")


@pytest.mark.parametrize("content", [{}, {b"label_names": []}, {b"label_names": ["a", 3]}, {b"label_names": [b"\xff"]}])
def test_bad_class_names_are_named(content: dict[bytes, Any], python_set: Path) -> None:
    (python_set / "batches.meta").write_bytes(pickled(content))
    with pytest.raises(UserError, match=r"does not hold a list of class names|holds no") as caught:
        data.load(f"cifar10:{python_set}", None)
    assert caught.value.where == str(python_set / "batches.meta")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_wrong_in_a_pickle_is_a_user_error(changes: list[tuple[int, int]]) -> None:
    content = bytearray(pickled({b"data": PIXELS[:1, :8], b"labels": LABELS[:3], b"batch_label": b"one"}))
    for position, value in changes:
        content[position % len(content)] = value
    try:
        result = unpickle(bytes(content), Path("changed"))
    except UserError as error:
        assert error.where == "changed"
    else:
        assert isinstance(result, dict)


def test_an_array_with_a_hostile_state_cannot_crash(python_set: Path) -> None:
    class Lie:
        """Says that its few bytes are pointers to objects: NumPy itself would follow them."""

        def __reduce__(self) -> Any:
            rebuild, arguments, _ = np.empty(0, dtype=np.uint8).__reduce__()
            return rebuild, arguments, (1, (2,), np.dtype(object), False, b"sixteen bytes of")

    (python_set / "data_batch_1").write_bytes(pickled({b"data": Lie(), b"labels": [0, 1]}))
    with pytest.raises(UserError, match="truncated or damaged"):
        data.load(f"cifar10:{python_set}", None)


def test_a_damaged_memo_number_reserves_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unpickle(b"\x80\x03}r\xff\xff\xff\x0f.", Path("memo"))  # an empty dict, noted as number 268,435,455
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


# --- hostile files -----------------------------------------------------------------------------------


class Touch:
    """A pickle of this runs `function(argument)` when it is read by the plain `pickle.load`."""

    def __init__(self, function: Callable[..., Any], argument: object) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> Any:
        return self.call


def test_a_fourth_global_is_refused_and_not_run(python_set: Path, tmp_path: Path) -> None:
    proof = tmp_path / "it ran"
    hostile = pickled({b"data": PIXELS, b"labels": LABELS, b"more": Touch(eval, f"open({str(proof)!r}, 'w').close()")})
    pickle.loads(hostile)
    assert proof.exists()  # it is a real one
    proof.unlink()
    (python_set / "data_batch_1").write_bytes(hostile)
    with pytest.raises(UserError, match=r"this pickle asks for builtins.eval: it is not a CIFAR batch") as caught:
        data.load(f"cifar10:{python_set}", None)
    assert caught.value.where == str(python_set / "data_batch_1")
    assert caught.value.do == "give another path, or download the set again"
    assert not proof.exists()


@pytest.mark.parametrize("function", [np.load, np.save, np.array, getattr])
def test_other_globals_of_numpy_are_refused_too(function: Callable[..., Any], python_set: Path) -> None:
    (python_set / "batches.meta").write_bytes(pickled({b"label_names": Touch(function, "x")}))
    with pytest.raises(UserError, match="this pickle asks for"):
        data.load(f"cifar10:{python_set}", None)


def test_the_old_names_of_numpy_give_no_warning(python_set: Path) -> None:
    content = (python_set / "data_batch_1").read_bytes()
    assert b"numpy.core.multiarray" in content
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert unpickle(content, python_set)[b"data"].pixels.shape == (20, 3072)
        new = content.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
        assert unpickle(new, python_set)[b"data"].pixels.shape == (20, 3072)


def test_an_archive_writes_nothing_and_follows_no_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(small_set(PYTHON)["data_batch_1"])
    files = small_set(PYTHON)
    del files["data_batch_1"]
    archive = tmp_path / "box" / "hostile.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            link = tarfile.TarInfo(f"{PYTHON.folder}/data_batch_1")
            link.type, link.linkname = kind, str(secret)
            tar.addfile(link)
        for name in ("../escaped", str(tmp_path / "absolute"), f"../{PYTHON.folder}/data_batch_1"):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"hello"))
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{PYTHON.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="holds no data_batch_1"):
        data.load(f"cifar10:{archive}", None)
    assert sorted(tmp_path.rglob("*")) == before
    assert locate.read_tar(archive, PYTHON.folder, ["test_batch"]) == {"test_batch": files["test_batch"]}


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_archive_is_named(keep: float, tmp_path: Path) -> None:
    archive = write_tar(tmp_path / PYTHON.archive, PYTHON.folder, small_set(PYTHON))
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    with pytest.raises(UserError, match="not a whole tar archive") as caught:
        data.load(f"cifar10:{archive}", None)
    assert caught.value.where == str(archive)


def test_damage_in_an_xz_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / PYTHON.archive
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as archive:
        for name, data_ in small_set(PYTHON).items():
            member = tarfile.TarInfo(f"{PYTHON.folder}/{name}")
            member.size = len(data_)
            archive.addfile(member, io.BytesIO(data_))
    whole = content.getvalue()
    for at in range(8, len(whole), len(whole) // 12):
        path.write_bytes(whole[:at] + b"\xff" * 40 + whole[at + 40 :])
        with pytest.raises(UserError, match="not a whole tar archive"):
            locate.read_tar(path, PYTHON.folder, PYTHON.train)


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "LARGEST", 1000)
    archive = write_tar(tmp_path / PYTHON.archive, PYTHON.folder, small_set(PYTHON))
    with pytest.raises(UserError, match=r"would be [\d,]+ bytes"):
        data.load(f"cifar10:{archive}", None)
