"""Data sets of the Hub, through the real library, from a local copy: no network."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rungs.data.audit import require_trainable
from rungs.data.sources import hub
from rungs.errors import UserError

datasets: Any = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A data set as the Hub holds it: Parquet files with the bytes of the images."""
    from datasets.table import embed_table_storage

    root = tmp_path / "photos"
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 12, 3), dtype=np.uint8)
    for i, image in enumerate(noise):
        path = root / ("test" if i > 5 else "train") / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    for split, data in datasets.load_dataset("imagefolder", data_dir=str(root)).items():
        embedded = data.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
        embedded.to_parquet(tmp_path / "owner" / "set" / "data" / f"{split}-00000-of-00001.parquet")
    return tmp_path / "owner" / "set"


def test_a_set_in_the_hubs_layout(repository: Path, tmp_path: Path) -> None:
    splits = datasets.load_dataset(str(repository))
    cells = splits["train"].cast_column("image", datasets.Image(decode=False))["image"]
    assert all(cell["bytes"] for cell in cells)
    source = hub.read_splits("owner/photos", splits, None)
    assert source.name == "hub:owner/photos" and source.test is not None
    assert (source.train.classes, source.train.counts(), source.test.counts()) == (("cat", "dog"), (3, 3), (2, 1))
    files = sorted((tmp_path / "photos" / "train").rglob("*.png"))
    want = {np.asarray(Image.open(file)).transpose(2, 0, 1).tobytes(): file.parent.name for file in files}
    images = source.train.images.numpy()
    got = {image.tobytes(): source.train.classes[k] for image, k in zip(images, source.train.labels, strict=True)}
    assert got == want


def test_images_that_are_named_by_path(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "photos"))
    with pytest.raises(UserError, match="outside the cache"):  # it could be any file of this machine
        require_trainable(hub.read_splits("owner/photos", found, 8), False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    source = hub.read_splits("owner/photos", found, 8)
    assert (len(source.train), source.train.image_size, source.problems) == (6, 8, ())


def test_load_goes_through_the_library(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.parent.parent)
    assert len(hub.load("owner/set", None).train) == 6


@pytest.mark.parametrize("name", ["mnist", "a" * 5000, "/owner/name", "owner/", "a/b/c", "a b/c"])
def test_a_name_without_owner_asks_nobody(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda name: pytest.fail("the library was asked"))
    with pytest.raises(UserError, match="not OWNER/NAME"):
        hub.load(name, None)


def test_the_librarys_tries_are_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("huggingface_hub.utils._http")

    def retrying(name: str) -> None:
        logger.warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", retrying)
    before = logger.isEnabledFor(logging.WARNING)
    with pytest.raises(UserError, match="no network"):
        hub.load("owner/name", None)
    assert "Retrying" not in caplog.text + capfd.readouterr().err
    assert logger.isEnabledFor(logging.WARNING) == before


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise ConnectionError("Couldn't reach the Hub\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match=r"hub:nobody/.*Couldn't reach") as caught:
        hub.load("nobody/nothing-of-this-name", None)
    assert caught.value.do and all(way in caught.value.do for way in ("parquet:", "folder:", "digits"))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[hub\]'"):
        hub.load("owner/name", None)
    with pytest.raises(UserError, match="hub:OWNER/NAME"):
        hub.load(None, None)


def test_no_image_column() -> None:
    splits = {"train": datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})}
    with pytest.raises(UserError, match="no image column; the columns are text, label"):
        hub.read_splits("owner/texts", splits, None)
