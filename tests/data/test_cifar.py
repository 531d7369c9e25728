from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import pickle
import resource
import tarfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rungs import data
from rungs.data import cifar10 as cifar
from rungs.data import places
from rungs.data.cifar_format import Pickled, unpickle
from rungs.data.imageset import Source
from rungs.errors import UserError

PYTHON, BINARY = cifar.CIFAR10.layouts
PYTHON100, BINARY100 = cifar.CIFAR100.layouts
NAMES = [b"airplane", b"automobile", b"bird"]


def pickled(content: dict[bytes, Any]) -> bytes:
    """Pickle as the published files are: with the name that NumPy's module had then."""
    return pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(n: int, seed: int) -> tuple[np.ndarray[Any, Any], list[int]]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3072), dtype=np.uint8), generator.integers(0, len(NAMES), n).tolist()


def small_set(layout: cifar.Layout) -> dict[str, bytes]:
    """Return the files of a set of a few images in 3 classes; the same images in every layout."""
    files = {}
    splits = {name: (20 if name in layout.train else 7, i) for i, name in enumerate((*layout.train, *layout.test))}
    for name, (n, seed) in splits.items():
        pixels, labels = batch(n, seed)
        if isinstance(layout.format, Pickled):
            files[name] = pickled({b"data": pixels, layout.format.labels_key: labels, b"batch_label": b"one"})
        else:
            columns = [np.zeros(n)] * (layout.format.label_bytes - 1) + [np.array(labels)]
            files[name] = np.column_stack([*columns, pixels]).astype(np.uint8).tobytes()
    if isinstance(layout.format, Pickled):
        files[layout.names] = pickled({layout.format.names_key: NAMES})
    else:
        files[layout.names] = b"\n".join(NAMES) + b"\n\n"
    return files


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def python_set(tmp_path: Path) -> Path:
    return write(tmp_path / PYTHON.folder, small_set(PYTHON))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNGS_DATA", raising=False)


# --- the real set ---------------------------------------------------------------------------------


@pytest.mark.needs_cifar
def test_the_real_set(cifar10: Source) -> None:
    assert cifar10.canonical is True
    assert cifar10.test is not None and cifar10.validation is None
    assert cifar10.train.images.shape == (50000, 3, 32, 32)
    assert cifar10.train.counts() == (5000,) * 10
    assert cifar10.test.counts() == (1000,) * 10
    assert cifar10.train.classes[:3] == ("airplane", "automobile", "bird")
    assert cifar10.train.labels[:6].tolist() == [6, 9, 9, 4, 1, 1]  # frog, truck, truck, deer, automobile, automobile
    assert (cifar10.train.hash, cifar10.test.hash) == cifar.CIFAR10.content  # so the binary form is recognised too


@pytest.mark.needs_cifar
def test_the_real_set_is_found_through_the_variable() -> None:
    source = data.load("cifar10", 32)
    assert source.name == "cifar10" and source.canonical is True


# --- both formats, every kind of place --------------------------------------------------------------


@pytest.mark.parametrize("layout", [PYTHON, BINARY, PYTHON100, BINARY100], ids=lambda layout: layout.folder)
def test_every_kind_of_place(layout: cifar.Layout, tmp_path: Path) -> None:
    name = "cifar100" if "100" in layout.folder else "cifar10"
    files = small_set(layout)
    unpacked = write(tmp_path / "a" / layout.folder, files)
    (tmp_path / "b").mkdir()
    archive = write_tar(tmp_path / "b" / layout.archive, layout.folder, files)
    renamed = write_tar(tmp_path / "b" / "mine.tgz", layout.folder, files)
    plain = tmp_path / "b" / "mine.tar"
    plain.write_bytes(gzip.decompress(archive.read_bytes()))
    other_name = write(tmp_path / "my-cifar", files)
    loaded = [
        data.load(f"{name}:{place}", None)
        for place in (unpacked, tmp_path / "a", archive, tmp_path / "b", renamed, plain, other_name)
    ]
    assert len({source.train.hash for source in loaded}) == 1
    pixels, labels = batch(20, 0)
    first = loaded[0]
    assert first.train.images.dtype == torch.uint8
    assert np.array_equal(first.train.images[:20].numpy(), pixels.reshape(20, 3, 32, 32))
    assert first.train.labels[:20].tolist() == labels
    assert first.train.classes == ("airplane", "automobile", "bird")
    assert len(first.train) == 20 * len(layout.train) and first.test is not None and len(first.test) == 7
    assert [source.origin for source in loaded[:4]] == [str(unpacked), str(unpacked), str(archive), str(archive)]
    assert loaded[2].canonical is False


def test_both_formats_are_the_same_set(python_set: Path, tmp_path: Path) -> None:
    binary = write(tmp_path / BINARY.folder, small_set(BINARY))
    one, other = data.load(f"cifar10:{python_set}", None), data.load(f"cifar10:{binary}", None)
    assert one.test is not None and other.test is not None
    assert (one.train.hash, one.test.hash) == (other.train.hash, other.test.hash)


def test_canonical_by_files_by_content_and_by_archive(python_set: Path, tmp_path: Path) -> None:
    files = small_set(PYTHON)
    md5 = tuple(hashlib.md5(files[name]).hexdigest() for name in (*PYTHON.train, *PYTHON.test, PYTHON.names))
    by_files = replace(cifar.CIFAR10, layouts=(replace(PYTHON, md5=md5), BINARY), content=None)
    source = cifar.load(by_files, str(python_set), 16)
    assert source.canonical is True and source.test is not None
    native = cifar.load(by_files, str(python_set), None)
    assert native.test is not None
    by_content = replace(cifar.CIFAR10, content=(native.train.hash, native.test.hash))
    binary = write(tmp_path / BINARY.folder, small_set(BINARY))
    assert cifar.load(by_content, str(binary), 16).canonical is True
    archive = write_tar(tmp_path / BINARY100.archive, BINARY100.folder, small_set(BINARY100))
    known = replace(BINARY100, archive_md5=hashlib.md5(archive.read_bytes()).hexdigest())
    assert cifar.load(replace(cifar.CIFAR100, layouts=(PYTHON100, known)), str(archive), None).canonical is True
    unpacked = write(tmp_path / BINARY100.folder, small_set(BINARY100))
    assert data.load(f"cifar100:{unpacked}", None).canonical is None  # nothing is published to compare it with


def test_one_changed_pixel_is_not_canonical(python_set: Path) -> None:
    native = data.load(f"cifar10:{python_set}", None)
    assert native.test is not None
    known = replace(cifar.CIFAR10, content=(native.train.hash, native.test.hash))
    assert cifar.load(known, str(python_set), None).canonical is True
    pixels, labels = batch(7, 5)
    pixels[3, 1000] ^= 1
    (python_set / "test_batch").write_bytes(pickled({b"data": pixels, b"labels": labels}))
    assert cifar.load(known, str(python_set), None).canonical is False


def test_images_are_resized(python_set: Path) -> None:
    source = data.load(f"cifar10:{python_set}", 48)
    assert source.test is not None
    assert source.train.images.shape == (100, 3, 48, 48) and source.test.images.shape == (7, 3, 48, 48)


# --- where it is looked for -------------------------------------------------------------------------


def test_the_variable_goes_before_the_cache(
    python_set: Path, tmp_path: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = write(cache_home / "rungs" / "datasets" / BINARY.folder, small_set(BINARY))
    monkeypatch.setenv("RUNGS_DATA", str(tmp_path))
    assert data.load("cifar10", None).origin == str(python_set)
    monkeypatch.setenv("RUNGS_DATA", str(tmp_path / "elsewhere"))  # holds no such set: go on
    assert data.load("cifar10", None).origin == str(cached)
    monkeypatch.delenv("RUNGS_DATA")
    assert data.load("cifar10", None).origin == str(cached)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("nowhere")
def test_it_is_downloaded_once(tmp_path: Path, cache_home: Path) -> None:
    (tmp_path / "www").mkdir()
    archive = write_tar(tmp_path / "www" / PYTHON.archive, PYTHON.folder, small_set(PYTHON))
    layout = replace(PYTHON, archive_md5=hashlib.md5(archive.read_bytes()).hexdigest())
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(archive.parent))
    ) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        served = replace(cifar.CIFAR10, layouts=(layout, BINARY), urls=(url,))
        first = cifar.load(served, None, None)
        server.shutdown()
    assert first.origin == str(cache_home / "rungs" / "datasets" / PYTHON.archive)
    assert len(first.train) == 100
    assert cifar.load(served, None, None).train.hash == first.train.hash  # the server is gone


@pytest.mark.usefixtures("nowhere")
def test_no_network_names_the_three_ways_out() -> None:
    unreachable = replace(cifar.CIFAR10, urls=("http://127.0.0.1:9/cifar-10-python.tar.gz",))
    with pytest.raises(UserError) as caught:
        cifar.load(unreachable, None, None)
    assert "cannot be reached" in str(caught.value)
    for way in ("--data cifar10:PATH", "RUNGS_DATA", "--data digits"):
        assert way in (caught.value.do or "")


@pytest.mark.parametrize(("folder", "why"), [("missing", "does not exist"), ("there", "holds no cifar10")])
def test_a_variable_that_does_not_help_is_told(
    folder: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.setenv("RUNGS_DATA", str(tmp_path / folder))
    unreachable = replace(cifar.CIFAR10, urls=("http://127.0.0.1:9/cifar-10-python.tar.gz",))
    with pytest.raises(UserError) as caught:
        cifar.load(unreachable, None, None)
    told = f"RUNGS_DATA={tmp_path / folder} {why}"
    assert told in (caught.value.do or "") and told in cifar.whereabouts("cifar10")


def test_whereabouts_survive_a_bad_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_DATA", "~nobody-of-this-name/x")
    assert "no home folder is known" in cifar.whereabouts("cifar10")


def test_only_what_lies_in_the_cache_is_to_be_deleted(cache_home: Path) -> None:
    place = write(cache_home / "rungs" / "datasets" / PYTHON.folder, small_set(PYTHON))
    (place / "data_batch_3").write_bytes(b"half")
    with pytest.raises(UserError) as caught:
        data.load(f"cifar10:{place}", None)
    assert caught.value.do == "delete it and download the set again"


def test_a_path_without_the_set(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UserError, match=r"there is no such place\n.*cifar-10-batches-py") as caught:
        data.load(f"cifar10:{tmp_path / 'missing'}", None)
    assert caught.value.where == str(tmp_path / "missing")
    with pytest.raises(UserError, match="no cifar10 here"):
        data.load(f"cifar10:{photos}", None)
    write(tmp_path / PYTHON100.folder, small_set(PYTHON100))
    with pytest.raises(UserError, match="no cifar10 here"):
        data.load(f"cifar10:{tmp_path}", None)


# --- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [PYTHON, BINARY], ids=["python", "binary"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.49, 0.999])
def test_a_truncated_file_is_named(layout: cifar.Layout, keep: float, tmp_path: Path) -> None:
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
    known = replace(cifar.CIFAR10, content=(whole.train.hash, whole.test.hash))
    (place / BINARY.train[2]).write_bytes((place / BINARY.train[2]).read_bytes()[: 10 * 3073])
    cut = cifar.load(known, str(place), None)
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
    with pytest.raises(UserError, match="holds no") as caught:
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
    assert places.read_tar(archive, PYTHON.folder, ["test_batch"]) == {"test_batch": files["test_batch"]}


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
            places.read_tar(path, PYTHON.folder, PYTHON.train)


def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LARGEST", 1000)
    archive = write_tar(tmp_path / PYTHON.archive, PYTHON.folder, small_set(PYTHON))
    with pytest.raises(UserError, match=r"would be [\d,]+ bytes"):
        data.load(f"cifar10:{archive}", None)
