"""The room in the cache: only new files are decoded, a set has one copy, the least recently used go first."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command import rungs
from filelock import FileLock
from PIL import Image

from rungs import data
from rungs.data import cache, features, mapped, room
from rungs.data.imageset import Source, content_hash
from rungs.data.reading import Reading, reading_of
from rungs.data.sources import folder
from rungs.errors import UserError
from rungs.recipe.identity import digest
from rungs.recipe.toml import choose, load

SIDE = 16
BYTES = 3 * SIDE**2


def draw(root: Path, name: str, seed: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def folder_of(root: Path, seed: int = 0, many: int = 6) -> Path:
    for i in range(many):
        draw(root, f"class {i % 2}/{i}.png", 100 * seed + i)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "photos")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    read = mapped.read_picture

    def noted(data: bytes, size: int, where: str, *more: Any) -> Any:
        names.append(where)
        return read(data, size, where, *more)

    monkeypatch.setattr(mapped, "read_picture", noted)
    return names


def entries() -> list[str]:
    return [path.name for path in cache.entry_folders()]


def opened(root: Path, size: int | None = None) -> str:
    """Open a set, and let go of it; return its hash."""
    return folder.load(str(root), size).train.hash


def test_of_a_growing_folder_only_new_files_are_decoded_and_one_copy_is_kept(
    photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(photos)
    assert len(decoded) == 6
    for look in range(6):
        decoded.clear()
        draw(photos, f"class 0/new {look}.png", 50 + look)
        grown = opened(photos)
        assert decoded == [f"class 0/new {look}.png"] and len(entries()) == 1
    assert room.contents()[0].images == 12
    (photos / "class 0" / "new 0.png").rename(photos / "class 1" / "renamed.png")
    (photos / "class 1" / "1.png").unlink()
    decoded.clear()
    got = folder.load(str(photos), None).train
    assert decoded == [] and got.hash != grown and len(got) == 11
    assert got.hash == content_hash(got.images, got.labels, got.classes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(photos.with_name("other")))
    anew = folder.load(str(photos), None).train
    assert len(decoded) == 11 and (anew.hash, anew.paths) == (got.hash, got.paths)
    assert torch.equal(anew.images, got.images)


def test_what_is_odd_about_a_file_is_told_though_it_is_copied(photos: Path, decoded: list[str]) -> None:
    Image.fromarray(np.full((SIDE, SIDE), 4000, np.uint16)).save(photos / "class 0" / "deep.png")
    Image.new("RGB", (SIDE, SIDE), "teal").save(photos / "class 1" / "plain.bmp")
    (photos / "class 1" / "plain.bmp").rename(photos / "class 1" / "plain.png")
    (photos / "class 1" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = told(folder.load(str(photos), SIDE))
    draw(photos, "class 0/new.png", 50)
    decoded.clear()
    assert told(folder.load(str(photos), SIDE)) == before
    assert sorted(decoded) == ["class 0/new.png", "class 1/broken.png"]  # what cannot be read is tried again
    assert {path.rpartition("/")[2] for path, _ in before} == {"deep.png", "plain.png", "broken.png"}
    assert len(before) == 5, before


def told(source: Source) -> list[tuple[str, str]]:
    return [(problem.path, problem.reason) for problem in source.problems]


def test_other_sizes_and_cuts_are_other_pixels(photos: Path, decoded: list[str]) -> None:
    for reading in (Reading(), Reading(crop=0.5), Reading(interpolation="bilinear")):
        decoded.clear()
        folder.load(str(photos), 8, reading)
        assert len(decoded) == 6
    opened(photos, 9)
    assert len(entries()) == 4


def test_a_set_that_a_process_uses_is_not_removed(photos: Path) -> None:
    held = folder.load(str(photos), None)
    first, before = entries(), held.train.images.clone()
    draw(photos, "class 0/new.png", 50)
    opened(photos)
    assert len(entries()) == 2 and first[0] in entries()
    assert room.trim(0) > 0 and entries() == first
    assert torch.equal(held.train.images, before)
    del held
    room.trim(0)
    assert entries() == []


HOLD = (
    "import sys; from rungs.data.sources.folder import load; held = load(sys.argv[1], None); "
    "print('open', flush=True); sys.stdin.read()"
)


def test_another_process_holds_its_set_for_as_long_as_it_runs(photos: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(photos)], text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "open\n"
        assert room.clear(room.contents())[0] == 0 and len(entries()) == 1
        process.stdin.close()
    assert room.clear(room.contents())[0] > 6 * BYTES and entries() == []


def test_the_least_recently_used_sets_go_first(tmp_path: Path) -> None:
    roots = [folder_of(tmp_path / f"set {i}", seed=i) for i in range(3)]
    keys = {}
    for age, root in zip((300, 200, 100), roots, strict=True):
        before = set(entries())
        opened(root)
        (keys[root],) = set(entries()) - before
        os.utime(cache.decoded_folder() / keys[root] / "entry.json", (time.time() - age,) * 2)
        for file in (cache.decoded_folder() / keys[root]).iterdir():
            os.utime(file, (time.time() - age,) * 2)
    opened(roots[0])  # used again, so the second is the oldest
    total = sum(one.bytes for one in room.contents())
    assert room.trim(total) == 0 and len(entries()) == 3
    room.trim(total - 1)
    assert set(entries()) == {keys[roots[0]], keys[roots[2]]}
    room.trim(0, keep=keys[roots[2]])
    assert entries() == [keys[roots[2]]]
    assert len(list((cache.decoded_folder() / "listings").iterdir())) == 1


def test_opening_a_set_keeps_the_cache_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [folder_of(tmp_path / f"set {i}", seed=i, many=20) for i in range(4)]
    monkeypatch.setenv(room.VARIABLE, str(2.9 * 20 * BYTES / room.GB))
    for root in roots:
        opened(root)
    assert len(entries()) == 2 and room.contents()[0].name == f"folder:{roots[3]}, 16 px"
    monkeypatch.setenv(room.VARIABLE, "0.000001")
    assert len(folder.load(str(folder_of(tmp_path / "large", 9, 20)), None).train) == 20  # is used all the same
    assert len(entries()) == 1


def test_the_limit_is_the_recipes_or_the_variables_or_a_share_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=8 * room.GB))
    assert room.limit_bytes() == 2 * room.GB
    monkeypatch.setenv(room.VARIABLE, "3.5")
    assert room.limit_bytes() == 3.5 * room.GB and room.limit_bytes(1.0) == room.GB
    for wrong in ("much", "0", "-1", "nan"):
        monkeypatch.setenv(room.VARIABLE, wrong)
        with pytest.raises(UserError, match=f"{room.VARIABLE}={wrong}: not a number of GB above 0"):
            room.limit_bytes()


def test_the_field_of_a_recipe_sets_it_and_leaves_its_digest() -> None:
    recipe = choose("digits-quick", ["data.cache_gb=1.5"])
    assert reading_of(recipe.data).cache_gb == 1.5
    assert digest(recipe) == digest(load("digits-quick"))


def test_a_full_disk_makes_room_first(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(photos)
    free = [6 * BYTES - 1]
    trim = room.trim

    def trimmed(limit: int, keep: str = "") -> int:
        freed = trim(limit, keep)
        free[0] += freed
        return freed

    monkeypatch.setattr(room, "trim", trimmed)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free[0]))
    opened(folder_of(tmp_path / "more", seed=1))
    assert len(entries()) == 1


def test_each_set_has_its_own_lock_and_its_name_in_the_message(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder_of(tmp_path / "other", seed=1)
    opened(photos)
    locks = list((cache.decoded_folder() / "locks").iterdir())
    room.clear(room.contents())
    with FileLock(locks[0]), FileLock(locks[1]):
        opened(other)  # does not wait
        assert capsys.readouterr().err == ""
        waiting = threading.Thread(target=opened, args=(photos,))
        waiting.start()
        waiting.join(2.5)
        assert waiting.is_alive()
    waiting.join()
    assert capsys.readouterr().err == f"waiting for another process that decodes folder:{photos}\n"


def test_a_missing_reader_is_not_remembered(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (SIDE, SIDE), "teal")).save(photos / "class 0" / "phone.heic")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        for _ in range(2):
            lost = folder.load(str(photos), None)
            assert [(one.kind, "photos" in one.reason) for one in lost.problems] == [("unreadable", True)]
    assert len(folder.load(str(photos), SIDE).train) == 7


def test_an_entry_of_an_earlier_version_is_left_to_the_limit(photos: Path) -> None:
    old = cache.decoded_folder() / ("ab" * 32)
    old.mkdir(parents=True)
    (old / "entry.json").write_text('{"image_size":16,"classes":[],"parts":{},"problems":[],"extent":null}')
    (old / "images.u8").write_bytes(bytes(2 * BYTES))
    opened(photos)
    assert len(entries()) == 2
    assert {one.name: one.images for one in room.contents()}["a set of an earlier version, 16 px"] == 2


def test_a_large_set_says_what_it_costs(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mapped, "TOLD_BYTES", 1000)
    opened(photos)
    draw(photos, "class 0/new.png", 50)
    opened(photos)
    said = capsys.readouterr().err.splitlines()
    cost = "list or clear it with: rungs cache"
    assert said == [
        f"decoded 6 of 6 pictures of folder:{photos}: 4.6 kB in the cache; {cost}",
        f"decoded 1 of 7 pictures of folder:{photos}: 5.4 kB in the cache; {cost}",
    ]


def test_the_command_lists_and_clears(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    opened(Path("photos"))
    home = cache.cache_dir()
    kept = ("features/k/features.safetensors", "near/k.npz", "measured/a.json", "datasets/cifar.tar.gz", "weights/w")
    for path in kept:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(bytes(2000))
    listed = rungs("cache", "all").stdout
    for word in ("folder:photos, 16 px", "features", "1 answer about", "cifar.tar.gz", "weights", "2.0 kB", "at most"):
        assert word in listed, word
    assert "pairs in 1 set" in listed
    for empty in ("", " "):
        assert "an empty name" in rungs("cache", empty, "--clear", code=2).stderr
    assert entries() and all((home / path).exists() for path in kept)
    assert "freed 2.0 kB" in rungs("cache", "--clear", "near-duplicates").stdout and not (home / "near/k.npz").exists()
    assert "freed 2.0 kB" in rungs("cache", "--clear", "features").stdout and entries()
    assert "freed" in rungs("cache", "folder:photos", "--clear").stdout and not entries()
    rungs("cache", "--clear")
    assert (home / "datasets/cifar.tar.gz").exists() and not (home / "measured/a.json").exists()
    rungs("cache", "--clear", "all")
    assert not any(path.is_file() for path in home.rglob("*") if path.suffix != ".lock")
    assert "nothing of this name in the cache" in rungs("cache", "--clear", "cats", code=2).stderr
    assert "0 bytes" in rungs("cache").stdout
    assert len(data.load("folder:photos").train) == 6


def test_a_set_is_mapped_before_others_may_remove_it(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_another_process(content_key: str) -> None:
        room.trim(0)

    monkeypatch.setattr(room, "remove_superseded", by_another_process)
    assert len(folder.load(str(photos), None).train) == 6 and len(entries()) == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_set_that_is_removed_before_it_is_mapped_is_made_again(
    photos: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    left, new_folder = [times], cache.new_folder

    @contextlib.contextmanager
    def removed_at_once(content_key: str, needed_bytes: int) -> Iterator[Path]:
        with new_folder(content_key, needed_bytes) as path:
            yield path
        if left[0]:
            left[0] -= 1
            room.trim(0)

    monkeypatch.setattr(cache, "new_folder", removed_at_once)
    if times < mapped.ATTEMPTS:
        assert len(folder.load(str(photos), None).train) == 6 and left == [0]
    else:
        with pytest.raises(UserError, match="removed the set each time"):
            folder.load(str(photos), None)


def test_features_keep_the_cache_within_its_limit_too(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(photos)
    keys = [letter * 64 for letter in "abcd"]
    monkeypatch.setenv(room.VARIABLE, str(2.25 * 4000 / room.GB))
    for age, key in zip((300, 200, 100), keys, strict=False):
        features.cached(key, lambda: torch.zeros(10, 100))
        for path in (cache.cache_dir() / "features").rglob(f"{key}/*"):
            os.utime(path, (time.time() - age,) * 2)
            os.utime(path.parent, (time.time() - age,) * 2)
        if key == keys[1]:  # used again, so the second is the oldest
            features.cached(keys[0], lambda: pytest.fail("computed again"))
    assert entries() == []
    kept = {one.paths[0].name for one in room.contents() if one.kind == "features"}
    assert kept == {keys[0], keys[2]}
    features.cached(keys[3], lambda: torch.zeros(10, 1000), cache_gb=1e-6)  # more than the limit, but used
    assert [one.paths[0].name for one in room.contents() if one.kind == "features"] == [keys[3]]


def test_features_are_listed_by_their_shape_and_named_by_the_beginning_of_their_key(photos: Path) -> None:
    for key, images in (("a" * 64, 1398), ("b" * 64, 7)):
        features.cached(key, lambda images=images: torch.zeros(images, 12))  # type: ignore[misc]
    listed = rungs("cache").stdout
    assert "aaaaaaaa, 12 numbers each" in listed and "1,398" in listed and "bbbbbbbb, 12 numbers each" in listed
    damaged = cache.cache_dir() / "features" / ("b" * 64) / "features.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:20])
    assert "bbbbbbbb, damaged" in rungs("cache").stdout
    rungs("cache", "aaaaaaaa", "--clear")
    assert [one.name for one in room.contents()] == ["bbbbbbbb, damaged"]


def test_a_wrong_name_gets_a_hint(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    opened(Path("photos"))
    for wrong, meant in (("fetures", "features"), ("folder:photo", "folder:photos"), ("photos", "folder:photos")):
        said = rungs("cache", "--clear", wrong, code=2).stderr
        assert f"did you mean '{meant}'?" in said and "or all, decoded, features" in said
    assert entries()


def test_processes_that_compute_the_same_features_wait(capsys: pytest.CaptureFixture[str]) -> None:
    key = "a" * 64
    with FileLock(cache.cache_dir() / "features" / f"{key}.lock"):
        waiting = threading.Thread(target=features.cached, args=(key, lambda: torch.zeros(2, 2)))
        waiting.start()
        waiting.join(2.5)
        assert waiting.is_alive()
    waiting.join()
    assert capsys.readouterr().err == "waiting for another process that computes the same features\n"
