"""How much faster is the engine than the loop of a tutorial? ResNet-18 for 32 pixels, batch 128, crop and flip.

The tutorial's side is the usual code: a Dataset of Pillow images with per-image transforms, a DataLoader with two
workers, fp32, contiguous tensors, loss.item() at each step. Ours is `rungs train resnet18`. Short epochs of both
alternate in one process.

    python bench/tutorial.py --data cifar10
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from common import compared, keep, sentences
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from variants import seconds_an_image

from rungs import data as sources
from rungs.evaluate.device import open_device
from rungs.models.resnet import resnet18
from rungs.training.device import cores, device_name

NET = ("model.stem=cifar", "training.batch_size=128", "augment.train=[{name='crop', padding=4}, {name='flip'}]")


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pillow images with a transform each: pad by 4, crop, flip, to tensor, normalise."""

    def __init__(self, data: str, images: int) -> None:
        train = sources.load(data, 32).train
        chosen = torch.arange(images)
        self.labels = train.labels[:images].tolist()
        self.pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in train.at(chosen)]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        padded = ImageOps.expand(self.pictures[i], 4)
        left, top = random.randint(0, 8), random.randint(0, 8)
        picture = padded.crop((left, top, left + 32, top + 32))
        if random.random() < 0.5:
            picture = ImageOps.mirror(picture)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        return (x - 0.47) / 0.25, self.labels[i]


class Tutorial:
    """The loop that is in every tutorial."""

    def __init__(self, data: str, images: int) -> None:
        self.loader = DataLoader(Pictures(data, images), batch_size=128, shuffle=True, num_workers=2)
        self.device = open_device()
        self.net = resnet18(stem="cifar", width=64, image_size=32, classes=10).to(self.device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        self.criterion, self.images = nn.CrossEntropyLoss(), images

    def epoch(self) -> float:
        """Train one epoch; return seconds per image."""
        began, running = time.perf_counter(), 0.0
        for x, y in self.loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.net(x.to(self.device)), y.to(self.device))
            loss.backward()
            self.optimizer.step()
            running += loss.item()
        return (time.perf_counter() - began) / self.images


def main(
    data: str = "cifar10",
    images: int = 512,
    rounds: int = 3,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print the ratio.

    Args:
        data: Source of images.
        images: Images per epoch.
        rounds: Measured pairs, after one for warm-up.
        json_path: Also write the figures here.
    """
    ours_side = seconds_an_image("resnet18", [f"data.source={json.dumps(data)}", *NET], images, rounds + 1)
    theirs_side = Tutorial(data, images)
    pairs = [(next(ours_side), theirs_side.epoch()) for _ in range(rounds + 1)][1:]
    result = {
        "machine": f"{device_name(open_device())}, {cores()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "n": rounds,
        "images": images,
        "ours_ms_an_image": [round(1e3 * ours, 2) for ours, _ in pairs],
        "tutorial_ms_an_image": [round(1e3 * theirs, 2) for _, theirs in pairs],
        **compared(*zip(*pairs, strict=True), name="tutorial / ours"),
    }
    print(json.dumps(result, indent=1))
    keep(result, json_path)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
