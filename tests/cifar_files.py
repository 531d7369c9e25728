"""Small sets in the published forms of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from rungs.data.sources import cifar10
from rungs.data.sources.cifar_format import Pickled

PYTHON, BINARY = cifar10.CIFAR10.layouts
PYTHON100, BINARY100 = cifar10.CIFAR100.layouts
NAMES = [b"airplane", b"automobile", b"bird"]


def pickled(content: dict[bytes, Any]) -> bytes:
    """Pickle as the published files are: with the name that NumPy's module had then."""
    return pickle.dumps(content, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(n: int, seed: int) -> tuple[np.ndarray[Any, Any], list[int]]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3072), dtype=np.uint8), generator.integers(0, len(NAMES), n).tolist()


def small_set(layout: cifar10.Layout) -> dict[str, bytes]:
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
