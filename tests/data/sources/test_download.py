from __future__ import annotations

import hashlib
import http.server
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rungs.data.sources import download
from rungs.data.sources.download import fetch
from rungs.errors import UserError

BODY = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves BODY: /file with Range, /plain without, /cut one million bytes and then the end, /wrong another body."""

    ranges: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append((self.path, asked))
        if self.path == "/missing":
            self.send_error(404)
            return
        body = b"<html>maintenance</html>" if self.path == "/wrong" else BODY
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.path != "/plain" else 0
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : start + 1_000_000] if self.path == "/cut" else body[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.ranges = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "set.tar.gz"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if not path.name.endswith(".lock"))


def test_the_file_arrives_whole(server: str, target: Path) -> None:
    fetch([f"{server}/file"], MD5, target)
    assert target.read_bytes() == BODY
    assert left(target) == ["set.tar.gz"]
    assert Handler.ranges == [("/file", None)]


def test_a_file_that_is_there_is_not_fetched_again(server: str, target: Path) -> None:
    fetch([f"{server}/file"], MD5, target)
    fetch([f"{server}/file"], MD5, target)
    assert len(Handler.ranges) == 1


def test_a_cut_download_goes_on_at_the_next_address(server: str, target: Path) -> None:
    fetch([f"{server}/cut", f"{server}/file"], MD5, target)
    assert target.read_bytes() == BODY
    assert Handler.ranges == [("/cut", None), ("/file", "bytes=1000000-")]


def test_a_cut_download_goes_on_at_the_next_try(server: str, target: Path) -> None:
    with pytest.raises(UserError, match=r"broke off after 1,000,000 of 3,000,000 bytes"):
        fetch([f"{server}/cut"], MD5, target)
    assert left(target) == ["set.tar.gz.part"]
    fetch([f"{server}/file"], MD5, target)
    assert target.read_bytes() == BODY
    assert Handler.ranges[-1] == ("/file", "bytes=1000000-")


def test_a_whole_part_is_only_checked(server: str, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("set.tar.gz.part").write_bytes(BODY)
    fetch([f"{server}/file"], MD5, target)
    assert left(target) == ["set.tar.gz"]


def test_a_server_without_ranges_starts_over(server: str, target: Path) -> None:
    fetch([f"{server}/cut", f"{server}/plain"], MD5, target)
    assert target.read_bytes() == BODY
    assert Handler.ranges[-1] == ("/plain", "bytes=1000000-")  # asked, and not granted


def test_a_wrong_checksum_takes_the_mirror(server: str, target: Path) -> None:
    fetch([f"{server}/wrong", f"{server}/file"], MD5, target)
    assert target.read_bytes() == BODY
    assert Handler.ranges[-1] == ("/file", None)  # nothing of the wrong file was kept


def test_a_wrong_file_never_gets_the_name(server: str, target: Path) -> None:
    with pytest.raises(UserError, match="wrong checksum"):
        fetch([f"{server}/wrong"], MD5, target)
    assert left(target) == []


def test_a_damaged_part_costs_one_more_address(server: str, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("set.tar.gz.part").write_bytes(b"x" * 5000)
    fetch([f"{server}/file", f"{server}/file"], MD5, target)
    assert target.read_bytes() == BODY


def test_all_addresses_down(server: str, target: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(UserError) as caught:
            fetch([f"{server}/missing", nobody], MD5, target, do="bring it yourself")
    assert "/missing answered 404" in caught.value.what
    assert f"{nobody} cannot be reached" in caught.value.what
    assert caught.value.do == "bring it yourself"
    assert left(target) == []


def test_a_silent_server_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="timed out"):
        fetch([f"http://127.0.0.1:{silent.getsockname()[1]}/file"], MD5, target)


def test_two_at_once_download_once(server: str, target: Path) -> None:
    threads = [threading.Thread(target=fetch, args=([f"{server}/file"], MD5, target)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == BODY
    assert len(Handler.ranges) == 1


def test_a_folder_that_cannot_be_made(server: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        fetch([f"{server}/file"], MD5, tmp_path / "cache" / "set.tar.gz")


def test_a_full_disk_is_said(server: str, target: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))  # the nearest to a full disk without being root
    try:
        with pytest.raises(UserError, match=r"cannot be written: File too large\n.*XDG_CACHE_HOME"):
            fetch([f"{server}/file"], MD5, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not target.exists()
