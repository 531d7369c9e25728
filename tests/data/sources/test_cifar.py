"""CIFAR-10 and CIFAR-100: found in every kind of place, in both forms, the real set among them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cifar_files import BINARY, BINARY100, PYTHON, PYTHON100, batch, pickled, small_set, write, write_tar

from rungs import data
from rungs.data.imageset import Source
from rungs.data.sources import cifar10 as cifar
from rungs.errors import UserError


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
    assert told in (caught.value.do or "") and told in cifar.location("cifar10")


def test_location_survives_a_bad_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNGS_DATA", "~nobody-of-this-name/x")
    assert "no home folder is known" in cifar.location("cifar10")


def test_only_what_lies_in_the_cache_is_to_be_deleted(cache_home: Path) -> None:
    place = write(cache_home / "rungs" / "datasets" / PYTHON.folder, small_set(PYTHON))
    (place / "data_batch_3").write_bytes(b"half")
    with pytest.raises(UserError) as caught:
        data.load(f"cifar10:{place}", None)
    assert caught.value.do == "delete it and download the set again"


def test_a_path_without_the_set(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder\n.*cifar-10-batches-py") as caught:
        data.load(f"cifar10:{tmp_path / 'missing'}", None)
    assert caught.value.where == str(tmp_path / "missing")
    with pytest.raises(UserError, match="no cifar10 here"):
        data.load(f"cifar10:{photos}", None)
    write(tmp_path / PYTHON100.folder, small_set(PYTHON100))
    with pytest.raises(UserError, match="no cifar10 here"):
        data.load(f"cifar10:{tmp_path}", None)
