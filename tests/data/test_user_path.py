"""Paths that users type, through every source that takes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rungs import data
from rungs.data import cache
from rungs.data.cache import user_path
from rungs.errors import UserError


@pytest.mark.parametrize("source", ["folder", "parquet", "cifar10"])
@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("~nobody-of-this-name/x", "no home folder is known"),
        ("a" * 300, "File name too long"),
        ("/" + "a/" * 3000, "File name too long"),
        ("a\0b", "null"),
    ],
)
def test_paths_that_no_system_takes(source: str, path: str, what: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        data.load(f"{source}:{path}", None)
    assert caught.value.do and str(caught.value).startswith(f"{source}:") and "\0" not in str(caught.value)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b"])
def test_a_bare_name_of_any_length(name: str) -> None:
    with pytest.raises(UserError, match="no data source"):
        data.load(name, None)


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x", "here") == tmp_path / "x"


def test_links_in_a_ring(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="symbolic links"):
        user_path(str(tmp_path / "a"), "here")


def test_a_cache_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        cache.cache_dir()
