"""Which images a part holds, told without their pixels."""

from __future__ import annotations

from dataclasses import replace

import torch

from rungs.data.imageset import ImageSet, Source
from rungs.data.members import members


def source(paths: list[str] | None = None, size: int = 8) -> Source:
    pixels = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1).expand(6, 3, size, size).contiguous()
    train = ImageSet(pixels, torch.tensor([0, 1, 0, 1, 0, 1]), ("cat", "dog"), str(size), paths)
    return Source("folder:x", "x", train)


def held(of: Source, *index: int) -> str:
    return members(of, {"test": of.train.take(torch.tensor(index))})["test"]


def test_the_same_files_are_the_same_at_any_size_and_place() -> None:
    names = [f"{kind}/{i}.png" for i in range(3) for kind in ("cat", "dog")]
    here, there = ([f"{root}/{name}" for name in names] for root in ("/a/photos", "elsewhere"))
    assert held(source(here), 1, 4) == held(source(here, size=16), 1, 4) == held(source(there), 1, 4)
    assert len({held(source(here), *index) for index in ((1, 4), (3, 4), (4, 1), (1,))}) == 4


def test_images_without_files_count_by_their_numbers_and_labels() -> None:
    assert held(source(), 1, 4) == held(source(size=16), 1, 4)
    assert held(source(), 1, 4) != held(source(), 3, 4)  # equal labels
    relabelled = source()
    train = replace(relabelled.train, labels=torch.tensor([0, 1, 0, 1, 1, 1]))
    assert held(replace(relabelled, train=train), 1, 4) != held(source(), 1, 4)
