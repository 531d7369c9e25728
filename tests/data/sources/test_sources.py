from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rungs import data
from rungs.errors import UserError


def test_the_names() -> None:
    assert set(data.DATASETS) == {"cifar10", "cifar100", "digits", "folder", "csv", "parquet", "hub"}


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'cifar10'") as caught:
        data.load("cifar-10", None)
    assert "allowed: cifar10, cifar100, csv, digits, folder, hub, parquet" in str(caught.value)


def test_a_bare_path_is_told_its_two_readings(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        data.load(str(tmp_path), None)
    assert f"folder:{tmp_path}" in str(caught.value) and f"cifar10:{tmp_path}" in str(caught.value)


def test_the_first_colon_divides(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        data.load(f"cifar10:{tmp_path}/a:b", None)
    assert caught.value.where == f"{tmp_path}/a:b"


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("cifar10", "give cifar10:PATH, or cifar10 alone"),
        ("cifar100", "give cifar100:PATH, or cifar100 alone"),
        ("digits", "give digits alone"),
        ("folder", "give folder:PATH"),
        ("csv", "give csv:PATH"),
        ("parquet", "give parquet:PATH"),
        ("hub", "give hub:OWNER/NAME"),
    ],
)
def test_nothing_after_the_colon(name: str, do: str) -> None:
    with pytest.raises(UserError, match="nothing after the colon") as caught:
        data.load(f"{name}:", None)
    assert caught.value.do == do


def test_a_folder_of_photos_is_a_source(photos: Path) -> None:
    source = data.load(f"folder:{photos}", 32)
    assert source.train.classes == ("circle", "cross", "square")
    assert source.train.counts() == (12, 12, 12)


def test_importing_the_names_is_cheap() -> None:
    code = "import sys, rungs.data; print([m for m in ('torch', 'numpy', 'sklearn', 'datasets') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("word", "usual"), [("flower", "folder"), ("cats", "csv"), ("digit", "digits")])
def test_a_word_that_is_close_to_a_kind_may_be_a_folder_too(word: str, usual: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{usual}'.*; photos in a folder: 'folder:{word}'"):
        data.load(word)
