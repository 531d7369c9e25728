"""What all tests share: real data sets, a cache of their own, a small folder of pictures, a browser; and the clock."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pytest
import undrawn_rungs
from bank import Bank
from PIL import Image, ImageDraw

from rungs.report.style import save as DRAW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rungs.data.imageset import Source

SHAPES = ("circle", "cross", "square")
CHROMIUM = os.environ.get("RUNGS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
STARTED = pytest.StashKey[float]()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_configure(config: pytest.Config) -> None:
    if (side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:  # before torch counts the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // side_by_side)))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # to start a pool takes longer than it saves
    config.addinivalue_line("markers", "needs_cifar: needs the real CIFAR-10 in the folder RUNGS_DATA")
    config.addinivalue_line("markers", "dear: takes long; `make test-all` runs it, `make test` does not")
    config.addinivalue_line("markers", "drawn(png=False): draws its figures, as SVG alone unless it asks for PNG too")
    config.addinivalue_line("markers", "undrawn: draws none in a file that is marked `drawn`")
    config.stash[STARTED] = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    seconds = round(time.monotonic() - config.stash[STARTED])
    workers = config.getoption("numprocesses", None) or 1
    many = "1 worker" if workers == 1 else f"{workers} workers"
    terminalreporter.write_line(f"suite: {seconds // 60} min {seconds % 60} s on {many}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("dear") is None)  # what takes long begins first
    if not os.environ.get("RUNGS_DATA"):
        for item in items:
            if item.get_closest_marker("needs_cifar"):
                item.add_marker(pytest.mark.skip(reason="RUNGS_DATA is not set"))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache; the folder that XDG_CACHE_HOME names."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture(autouse=True, scope="session")
def _drawing_nothing() -> Iterator[None]:
    """Leave the figures of reports empty: to draw them takes far longer than the rest of a command on small data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rungs.report.style.save", undrawn_rungs.save)
        yield


@pytest.fixture(autouse=True, scope="session")
def _measuring_little() -> Iterator[None]:
    """Measure convolutions on an image or two: which way is the fastest is not tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rungs.training.convolutions.MOST_FLOPS", 1e7)
        yield


@pytest.fixture(autouse=True)
def _drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the figures of tests that are marked `drawn`: as SVG alone, unless they ask for PNG, too."""
    marker = request.node.get_closest_marker("drawn")
    if marker is None or request.node.get_closest_marker("undrawn"):
        return
    from matplotlib.figure import Figure

    monkeypatch.setattr("rungs.report.style.save", DRAW)
    savefig = Figure.savefig

    def svg_alone(figure: Figure, file: IO[bytes], *, format: str, **options: Any) -> None:
        if format == "png":
            file.write(b"not drawn")
        else:
            savefig(figure, file, format=format, **options)

    if not marker.kwargs.get("png"):
        monkeypatch.setattr(Figure, "savefig", svg_alone)


@pytest.fixture
def small_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bench look for the chip's ceilings with small sizes: what they come to is not tested."""
    shrink_ceilings(monkeypatch)


def shrink_ceilings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("rungs.study.bench.ceilings.SIZES", {"cpu": (64, 128)})
    patch.setattr("rungs.study.bench.ceilings.COMPARED", {"cpu": 64})
    patch.setattr("rungs.study.bench.ceilings.COPY_BYTES", {"cpu": 1 << 22})
    patch.setattr("rungs.study.bench.ceilings.ENOUGH_S", 0.001)
    patch.setattr("rungs.study.bench.phases.TURN_S", 0.005)


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """Runs, pages and the like that are made once for all processes of the test run."""
    base = tmp_path_factory.getbasetemp()
    return Bank((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "bank")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A Chromium for all tests of pages; they are skipped where there is none, but not in CI."""
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("there is no Chromium here")
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI needs a Chromium: put it in the path or in RUNGS_CHROMIUM"
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def digits() -> Source:
    """The embedded digits at 8x8."""
    from rungs import data

    return data.load("digits", None)


@pytest.fixture(scope="session")
def cifar10() -> Source:
    """The real CIFAR-10; skips where RUNGS_DATA is not set."""
    if not os.environ.get("RUNGS_DATA"):
        pytest.skip("RUNGS_DATA is not set")
    from rungs import data

    return data.load(f"cifar10:{os.environ['RUNGS_DATA']}", None)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder data set: 3 classes of 12 pictures of coloured shapes, PNG and JPEG, of different sizes."""
    return draw_photos(tmp_path / "photos")


def draw_photos(root: Path, per_class: int = 12, seed: int = 0) -> Path:
    """Draw ROOT/CLASS/NN.png or .jpg, no two alike, and return ROOT."""
    generator = np.random.default_rng(seed)
    for shape in SHAPES:
        (root / shape).mkdir(parents=True)
        for i in range(per_class):
            picture = _draw(shape, generator)
            picture.save(root / shape / f"{i:02d}.{'png' if i % 2 else 'jpg'}")
    return root


def _draw(shape: str, generator: np.random.Generator) -> Image.Image:
    width, height = (int(n) for n in generator.integers(40, 90, 2))
    ground, ink = (tuple(int(v) for v in generator.integers(low, high, 3)) for low, high in ((0, 90), (160, 256)))
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    radius = int(generator.integers(10, 18))
    x, y = int(generator.integers(radius, width - radius)), int(generator.integers(radius, height - radius))
    if shape == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    elif shape == "square":
        draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=ink)
    else:
        draw.line((x - radius, y, x + radius, y), fill=ink, width=6)
        draw.line((x, y - radius, x, y + radius), fill=ink, width=6)
    return picture
