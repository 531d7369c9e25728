"""Photos of one's own with a pretrained net: how do our speed and accuracy compare with a tutorial's loop and timm's?

All start from the same weights and see the same images: folders `train` and `val` with a folder per class, such as the
ants and bees of torch's transfer-learning tutorial. A round trains each once, one after the other; ratios are of a
round. Accuracy is of `val`, the best of all epochs, as the tutorial reports it: every side chooses by it, so that it is
optimistic for each.

- ours: a recipe as `rungs train` runs it; pictures are decoded once, in the first round at the latest.
- tutorial: Pillow, a DataLoader with two workers, crops and flips, SGD with 0.001 and
  momentum 0.9, a tenth of that after 7 epochs.
- timm: the parts and defaults of its train.py (create_loader with its augmentation, create_optimizer_v2, cosine
  schedule without warm-up), without mixed precision, as train.py has it on a CPU. Left out where timm is not installed.

    python bench/photos_vs_others.py photos --data ~/data/hymenoptera_data --epochs 10
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from common import compared, keep, sentences
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import rungs
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.models.backbone import build_body
from rungs.models.pretrained import Pretrained, read
from rungs.training.device import cores, device_name
from rungs.training.memory import keep_freed_memory

WORKERS = 2


@dataclass(frozen=True)
class Job:
    """What each side does."""

    data: Path
    weights: str
    image_size: int
    epochs: int
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Result:
    """What a side reached: seconds of all, images/s of the epochs without validation, and the accuracy on `val`."""

    seconds: float
    images_per_s: float
    accuracy: float


class Pictures(Dataset[tuple[Tensor, int]]):
    """Files in a folder per class, read as the tutorial does: a random crop and a flip, or the centre."""

    def __init__(self, job: Job, part: str, pretrained: Pretrained) -> None:
        self.classes = sorted(path.name for path in (job.data / part).iterdir() if path.is_dir())
        self.files = [
            (path, i) for i, name in enumerate(self.classes) for path in sorted((job.data / part / name).iterdir())
        ]
        self.size, self.crops = job.image_size, part == "train"
        self.mean, self.std = (torch.tensor(x).view(3, 1, 1) for x in (pretrained.input.mean, pretrained.input.std))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        path, label = self.files[i]
        picture = Image.open(path).convert("RGB")
        x = self._cropped(picture) if self.crops else self._centre(picture)
        pixels = torch.frombuffer(bytearray(x.tobytes()), dtype=torch.uint8).view(self.size, self.size, 3)
        return (pixels.permute(2, 0, 1) / 255 - self.mean) / self.std, label

    def _cropped(self, picture: Image.Image) -> Image.Image:
        """As torchvision's RandomResizedCrop, 8 to 100 % of the area and aspects of 3:4 to 4:3; and its flip."""
        area, aspect, left, top, flip = torch.rand(5).tolist()
        side = ((0.08 + 0.92 * area) * picture.width * picture.height) ** 0.5
        aspect = (0.75 * (16 / 9) ** aspect) ** 0.5
        width, height = min(picture.width, side * aspect), min(picture.height, side / aspect)
        left, top = left * (picture.width - width), top * (picture.height - height)
        box = (left, top, left + width, top + height)
        x = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box)
        return x.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip < 0.5 else x

    def _centre(self, picture: Image.Image) -> Image.Image:
        side = min(picture.size) * 224 / 256
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        return picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box)


def ours(job: Job, recipe: str, overrides: tuple[str, ...]) -> Result:
    """Train our recipe, as `rungs train` does."""
    settings = (
        f"model.weights={json.dumps(job.weights)}",
        f"data.image_size={job.image_size}",
        "data.test=0",
        f"training.epochs={job.epochs}",
        f"training.batch_size={job.batch_size}",
        *overrides,
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        record = rungs.train(
            recipe, data=f"folder:{job.data}", seed=job.seed, overrides=settings, folder=Path(folder) / "run"
        )
    seconds = time.perf_counter() - began
    images = sum(record.data.counts["train"]) * len(record.history)
    best = max(row.validation_accuracy or 0.0 for row in record.history)
    return Result(seconds, images / sum(row.train_s for row in record.history), best)


def tutorial(job: Job) -> Result:
    """Train as torch's transfer-learning tutorial does."""
    torch.manual_seed(job.seed)
    began = time.perf_counter()
    pretrained = read(job.weights)
    train, val = (Pictures(job, part, pretrained) for part in ("train", "val"))
    body = build_body(pretrained.architecture, job.image_size)
    assert isinstance(body, nn.Module)
    body.load_state_dict(pretrained.state, strict=False)
    net = nn.Sequential(body, nn.Linear(body.num_features, len(train.classes)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    loaders = [
        DataLoader(part, job.batch_size, shuffle=part is train, num_workers=WORKERS, persistent_workers=True)
        for part in (train, val)
    ]
    return _epochs(net, optimizer, lambda epoch: schedule.step(), loaders, job.epochs, began)


def timms(job: Job) -> Result:
    """Train with timm's parts and the defaults of its train.py."""
    import timm
    from timm.data import create_dataset, create_loader, resolve_model_data_config
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler

    torch.manual_seed(job.seed)
    began = time.perf_counter()
    pretrained = read(job.weights)
    classes = sum(path.is_dir() for path in (job.data / "train").iterdir())
    net = timm.create_model("tf_" + job.weights.replace("-lite", "_lite"), num_classes=classes)
    net.load_state_dict(pretrained.state, strict=False)
    read_as = resolve_model_data_config(net)
    loaders = [
        create_loader(
            create_dataset("", root=str(job.data), split=part, is_training=part == "train"),
            (3, job.image_size, job.image_size), job.batch_size, is_training=part == "train", color_jitter=0.4,
            interpolation="random" if part == "train" else read_as["interpolation"], mean=pretrained.input.mean,
            std=pretrained.input.std, crop_pct=read_as["crop_pct"], num_workers=WORKERS, use_prefetcher=False,
        )
        for part in ("train", "val")
    ]  # fmt: skip
    lr = 0.1 * job.batch_size / 256  # train.py's --lr-base and --lr-base-size
    optimizer = create_optimizer_v2(net, opt="sgd", lr=lr, weight_decay=2e-5)
    schedule = CosineLRScheduler(optimizer, t_initial=job.epochs)
    return _epochs(net, optimizer, lambda epoch: schedule.step(epoch), loaders, job.epochs, began)


def _epochs(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    after: Callable[[int], object],
    loaders: list[Iterable[Any]],
    epochs: int,
    began: float,
) -> Result:
    """Train and score in turns, as both do; `after` an epoch, counted from 1, the learning rate changes."""
    trained_s, images, best = 0.0, 0, 0.0
    for epoch in range(epochs):
        start = time.perf_counter()
        net.train()
        for x, y in loaders[0]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            images += len(y)
        trained_s += time.perf_counter() - start
        after(epoch + 1)
        net.eval()
        with torch.no_grad():
            right = [(net(x).argmax(1) == y).float() for x, y in loaders[1]]
        best = max(best, float(torch.cat(right).mean()))
    return Result(time.perf_counter() - began, images / trained_s, best)


def _has_timm() -> bool:
    try:
        import timm.data  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: its torchvision was built for another torch
        return False
    return True


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "photos",
    *,
    data: Path | None = None,
    weights: str = "efficientnet-lite0",
    image_size: int = 224,
    epochs: int = 10,
    batch_size: int = 32,
    rounds: int = 3,
    overrides: tuple[str, ...] = (),
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print what each side reached, and ratios of seconds.

    Args:
        recipe: Ours.
        data: A folder with train and val; by default hymenoptera_data in the folder RUNGS_DATA.
        weights: efficientnet-lite0 or efficientnet-lite2.
        image_size: Height and width in pixels.
        epochs: Of each training.
        batch_size: Images in a step.
        rounds: Trainings of each side, each with its own seed.
        overrides: For our recipe, as for --set.
        json_path: Also write the figures here.
    """
    data = data or Path(os.environ.get("RUNGS_DATA", ".")).expanduser() / "hymenoptera_data"
    if not ((data / "train").is_dir() and (data / "val").is_dir()):
        raise UserError("no folders train and val in here", where=str(data), do="give --data a folder that holds them")
    keep_freed_memory()  # for all sides
    sides: dict[str, Callable[[Job], Result]] = {"ours": lambda job: ours(job, recipe, overrides), "tutorial": tutorial}
    if _has_timm():
        sides["timm"] = timms
    found: dict[str, list[Result]] = {name: [] for name in sides}
    for seed in range(rounds):
        for name, side in sides.items():
            result = side(Job(data, weights, image_size, epochs, batch_size, seed))
            found[name].append(result)
            print(f"{name:9s} {result.images_per_s:6.1f} images/s, {result.seconds:6.1f} s, {result.accuracy:.2%}")
    seconds = {name: [result.seconds for result in results] for name, results in found.items()}
    result = {
        "machine": f"{device_name(open_device())}, {cores()} cores, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "n": rounds,
        **{name: [asdict(one) for one in results] for name, results in found.items()},
        "ratios": [compared(seconds["ours"], seconds[name], f"{name} / ours") for name in sides if name != "ours"],
    }
    print(json.dumps(result, indent=1))
    keep(result, json_path)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
