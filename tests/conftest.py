"""What all tests share: real data sets, a cache of their own, and a small folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rungs.data.imageset import Source

SHAPES = ("circle", "cross", "square")


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_configure(config: pytest.Config) -> None:
    if (side_by_side := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:  # before torch counts the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // side_by_side)))
    config.addinivalue_line("markers", "needs_cifar: needs the real CIFAR-10 in the folder RUNGS_DATA")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("RUNGS_DATA"):
        for item in items:
            if item.get_closest_marker("needs_cifar"):
                item.add_marker(pytest.mark.skip(reason="RUNGS_DATA is not set"))


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of the session's fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache; the folder that XDG_CACHE_HOME names."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures of reports empty: to draw them takes far longer than the rest of a command on small data."""

    def save(figure: Figure, stem: Path) -> bytes:
        for kind in ("svg", "png"):
            stem.parent.mkdir(parents=True, exist_ok=True)
            stem.with_name(f"{stem.name}.{kind}").write_bytes(b"<svg/>")
        return b"<svg/>"

    monkeypatch.setattr("rungs.report.style.save", save)


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
