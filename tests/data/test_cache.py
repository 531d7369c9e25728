"""The cache of decoded images: found at once, never half written, rebuilt when damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rungs.data import mapped
from rungs.data.cache import cache_dir, map_images
from rungs.data.imageset import Source, content_hash
from rungs.data.sources import folder, tree
from rungs.errors import UserError

N = 12


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rungs" / "decoded"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    noise = np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3), dtype=np.uint8)
    for i, image in enumerate(noise):
        path = root / f"class {i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


class Counted:
    """How often files were read and decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded = self.read = 0
        decode, read = mapped.read_picture, tree.read_image

        def counted_decode(*args: Any) -> Any:
            self.decoded += 1
            return decode(*args)

        def counted_read(*args: Any) -> Any:
            self.read += 1
            return read(*args)

        monkeypatch.setattr(mapped, "read_picture", counted_decode)
        monkeypatch.setattr(tree, "read_image", counted_read)


def pixels_of(source: Source) -> dict[str, torch.Tensor]:
    assert source.train.paths is not None
    return dict(zip(source.train.paths, source.train.images.clone(), strict=True))


def entry(cache: Path) -> Path:
    (images,) = cache.glob("*/images.u8")
    return images.parent


def test_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == tmp_path / "cache" / "rungs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "rungs"


def test_second_start_reads_no_image(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    first = folder.load(str(photos), None)
    assert counted.decoded == N
    counted.read = counted.decoded = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = folder.load(str(photos), None)
    assert (counted.read, counted.decoded) == (0, 0)
    assert torch.equal(first.train.images, second.train.images) and torch.equal(first.train.labels, second.train.labels)
    assert (first.train.hash, first.train.paths) == (second.train.hash, second.train.paths)


def test_new_times_and_places_with_old_content_are_not_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.load(str(photos), None)
    counted = Counted(monkeypatch)
    for file in photos.rglob("*.png"):
        os.utime(file, ns=(1, 1))
    assert folder.load(str(photos), None).train.hash == first.train.hash
    assert (counted.read, counted.decoded) == (N, 0)
    moved = folder.load(str(photos.rename(photos.with_name("moved"))), None)
    assert moved.train.hash == first.train.hash and counted.decoded == 0
    assert moved.train.paths is not None and "moved" in moved.train.paths[0]


def test_new_content_size_or_label_is_decoded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = [folder.load(str(photos), None).train.hash, folder.load(str(photos), 8).train.hash]
    Image.new("RGB", (16, 16), "teal").save(photos / "class 0" / "0.png")
    hashes.append(folder.load(str(photos), None).train.hash)
    (photos / "class 0" / "2.png").rename(photos / "class 1" / "2.png")
    hashes.append(folder.load(str(photos), None).train.hash)
    assert len(set(hashes)) == 4
    counted = Counted(monkeypatch)
    monkeypatch.setattr(mapped, "DECODE_VERSION", -1)
    folder.load(str(photos), None)
    assert counted.decoded == N


def test_files_that_change_places_are_noticed(photos: Path) -> None:
    """As big as each other and of one time, as all BMPs from one zip are."""
    pair = [photos / "class 0" / f"{name}.bmp" for name in ("a", "b")]
    for path, colour in zip(pair, ("teal", "orange"), strict=True):
        Image.new("RGB", (16, 16), colour).save(path)
        os.utime(path, ns=(1, 1))
    before = pixels_of(folder.load(str(photos), None))
    pair[0].rename(photos / "aside")
    pair[1].rename(pair[0])
    (photos / "aside").rename(pair[1])
    assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in pair] == [(pair[0].stat().st_size, 1)] * 2
    after = pixels_of(folder.load(str(photos), None))
    assert torch.equal(after[str(pair[0])], before[str(pair[1])])
    assert torch.equal(after[str(pair[1])], before[str(pair[0])])
    assert not torch.equal(before[str(pair[0])], before[str(pair[1])])


def test_a_file_written_anew_under_its_old_size_and_time_is_noticed(photos: Path) -> None:
    path = photos / "class 0" / "a.bmp"
    Image.new("RGB", (16, 16), "teal").save(path)
    os.utime(path, ns=(1, 1))
    before = folder.load(str(photos), None).train.hash
    Image.new("RGB", (16, 16), "orange").save(path)
    os.utime(path, ns=(1, 1))
    assert folder.load(str(photos), None).train.hash != before


def test_an_entry_without_the_stored_sizes_is_made_again(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = folder.load(str(photos), None)
    assert want.extent == ((16, 16), (16, 16))
    known = entry(cache) / "entry.json"
    old = json.loads(known.read_bytes())
    del old["extent"]
    known.write_text(json.dumps(old))
    counted = Counted(monkeypatch)
    again = folder.load(str(photos), None)
    assert (again.extent, again.train.hash, counted.decoded) == (want.extent, want.train.hash, N)


@pytest.mark.parametrize("damage", ["short", "long", "no images", "no json", "half json", "other json"])
def test_damaged_entry_is_made_again(photos: Path, cache: Path, damage: str) -> None:
    want = folder.load(str(photos), None).train
    images, known = entry(cache) / "images.u8", entry(cache) / "entry.json"
    pixels = images.read_bytes()
    {
        "short": lambda: images.write_bytes(pixels[:-1]),
        "long": lambda: images.write_bytes(pixels + b"x"),
        "no images": images.unlink,
        "no json": known.unlink,
        "half json": lambda: known.write_bytes(known.read_bytes()[:50]),
        "other json": lambda: known.write_bytes(b'{"parts": 3}'),
    }[damage]()
    got = folder.load(str(photos), None).train
    assert got.hash == want.hash == content_hash(got.images, got.labels, got.classes)
    assert images.read_bytes() == pixels


def test_damaged_listing_is_made_again(photos: Path, cache: Path) -> None:
    want = folder.load(str(photos), None).train.hash
    (listing,) = (cache / "listings").iterdir()
    listing.write_bytes(b"\xff../../../etc")
    assert folder.load(str(photos), None).train.hash == want


def test_writing_to_the_images_leaves_the_cache(photos: Path) -> None:
    source = folder.load(str(photos), None)
    before = source.train.images.clone()
    source.train.images.zero_()
    assert torch.equal(folder.load(str(photos), None).train.images, before)


def test_sets_larger_than_memory_are_mapped(tmp_path: Path) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    n = 2 * memory // (3 * 512 * 512)
    path = tmp_path / "images.u8"
    with path.open("wb") as file:
        file.truncate(n * 3 * 512 * 512)  # sparse
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    images = map_images(path, n, 512)
    assert images is not None and images.shape == (n, 3, 512, 512) and int(images[-1, -1, -1, -1]) == 7


LOAD = "import sys; from rungs.data.sources.folder import load; print(load(sys.argv[1], None).train.hash)"


def test_two_processes_at_once(photos: Path, cache: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", LOAD, photos], stdout=subprocess.PIPE) for _ in range(2)]
    hashes = {process.communicate()[0] for process in started}
    assert hashes == {f"{folder.load(str(photos), None).train.hash}\n".encode()}
    assert [process.returncode for process in started] == [0, 0] and entry(cache).is_dir()


def test_killed_process_leaves_no_half_entry(photos: Path, cache: Path) -> None:
    slow = (
        "import time; from rungs.data import mapped as d; f = d.read_picture; "
        "d.read_picture = lambda *a: time.sleep(9) or f(*a);"
    )
    with subprocess.Popen([sys.executable, "-c", slow + LOAD, photos]) as process:
        while not list(cache.glob("*.making")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert list(cache.glob("*.making")) and not list(cache.glob("*/entry.json"))
    assert len(folder.load(str(photos), None).train) == N
    assert not list(cache.glob("*.making"))


def test_cache_that_cannot_be_made(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"{tmp_path / 'file'}.*cannot be written") as caught:
        folder.load(str(photos), None)
    assert caught.value.do and "XDG_CACHE_HOME" in caught.value.do


@pytest.mark.parametrize("early", [True, False])
def test_full_disk(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    if early:
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    else:
        monkeypatch.setattr("os.fsync", _no_space)
    with pytest.raises(UserError, match=r"fit into|No space left"):
        folder.load(str(photos), None)
    assert not list(cache.glob("*.making")) and not list(cache.glob("*/images.u8"))


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_file_that_changes_meanwhile(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = tree.read_image, {"n": 0}

    def other_bytes(path: Path) -> bytes:
        times["n"] += 1
        return read(path) + (b"x" if times["n"] > N else b"")

    monkeypatch.setattr(tree, "read_image", other_bytes)
    with pytest.raises(UserError, match="changed while it was read"):
        folder.load(str(photos), None)


def test_rights_that_come_back_are_noticed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(tree, "read_image", refused)
        assert [p.reason for p in folder.load(str(photos), None).problems] == ["cannot be read: Permission denied"] * N
    assert len(folder.load(str(photos), None).train) == N
