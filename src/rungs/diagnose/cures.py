"""Cures: the end of a command that changes one thing in a recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import msgspec

from rungs.diagnose.symbols import symbols
from rungs.recipe.augments import AnyAugment, Crop, Flip, ResizedCrop
from rungs.recipe.models import Layered, MixConv, Plain, ResNet18, Speedrun
from rungs.recipe.optimizers import SGD, Muon, Plateau, Step
from rungs.run.record import RunRecord

Z95 = 1.96
"""The 97.5 % point of the standard normal distribution."""


LARGEST_RATE, SMALLEST_RATE = 1.0, 1e-6
"""Learning rates beyond these are typing errors: no factor leads back from them."""
MOST_SMOOTHING = 0.2
"""More smoothing than this is not proposed."""
LATE = 0.7
"""A first cut of the rate after this share of the epochs leaves time to learn before it, and to settle after it."""


def rate(record: RunRecord, factor: float) -> str:
    """Return the learning rate times `factor`; an absurd one is replaced by the optimiser's usual one."""
    optim = record.recipe.optim
    lr = optim.lr * factor
    if not SMALLEST_RATE <= min(lr, optim.lr) <= max(lr, optim.lr) <= LARGEST_RATE:
        lr = usual_rate(record)
    return f"--set optim.lr={lr:.2g}"


def usual_rate(record: RunRecord) -> float:
    """Return a learning rate that is seldom too large for the record's optimiser."""
    optim = record.recipe.optim
    return 0.02 if isinstance(optim, Muon) else 0.01 if isinstance(optim, SGD) else 0.001


def regularise(record: RunRecord) -> str:
    """Return the cheapest regularisation that this recipe does not use yet and that leaves each image its class."""
    there = list(record.recipe.augment.train)
    may_flip = symbols(record) is None
    for one in (Crop(padding=min(4, max(1, record.data.image_size // 8))), Flip()):
        cropped = isinstance(one, Crop) and any(isinstance(augment, ResizedCrop) for augment in there)
        if (
            not cropped
            and all(type(augment) is not type(one) for augment in there)
            and (may_flip or not isinstance(one, Flip))
        ):
            return augments([*there, one])
    if record.recipe.optim.weight_decay == 0:
        return "--set optim.weight_decay=0.0005"
    if record.recipe.training.label_smoothing >= MOST_SMOOTHING:
        return f"--set optim.weight_decay={2 * record.recipe.optim.weight_decay:g}"
    return f"--set training.label_smoothing={0.1 if record.recipe.training.label_smoothing == 0 else MOST_SMOOTHING}"


def augments(wanted: Sequence[AnyAugment]) -> str:
    """Return the change to these augmentations of the training images; fields at their defaults are left out."""
    tables = []
    for one in wanted:
        defaults = msgspec.to_builtins(type(one)())
        fields = {k: v for k, v in msgspec.to_builtins(one).items() if k == "name" or v != defaults[k]}
        tables.append("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in fields.items()) + "}")
    return f"--set augment.train='[{', '.join(tables)}]'"


def larger_net(record: RunRecord) -> str | None:
    """Return the net with twice the channels in every layer; None where its width fields are unknown."""
    model = record.recipe.model
    if isinstance(model, Plain):
        return f"--set model.stages='{json.dumps([[2 * width for width in stage] for stage in model.stages])}'"
    if isinstance(model, Layered):
        return " ".join(f"--set model.convs.{i}.channels={2 * conv.channels}" for i, conv in enumerate(model.convs))
    if isinstance(model, MixConv):
        return f"--set model.channels='{json.dumps([2 * width for width in model.channels])}'"
    if isinstance(model, ResNet18):
        return f"--set model.width={2 * model.width}"
    if isinstance(model, Speedrun):
        return f"--set model.widths='{json.dumps([2 * width for width in model.widths])}'"
    return None


def relu(record: RunRecord) -> str | None:
    """Return the net with ReLUs in place of its sigmoids (Glorot, Bordes, Bengio 2011); None where it has none."""
    model = record.recipe.model
    if isinstance(model, MixConv) and model.activation == "sigmoid":
        return "--set model.activation=relu"
    if not isinstance(model, Layered):
        return None
    places = [(f"convs.{i}", layer.activation) for i, layer in enumerate(model.convs)]
    places += [(f"linears.{i}", layer.activation) for i, layer in enumerate(model.linears)]
    found = [f"--set model.{place}.activation=relu" for place, activation in places if activation == "sigmoid"]
    return " ".join(found) or None


def later_cut(record: RunRecord) -> str:
    """Return the schedule with its cuts later: a plateau's patience doubled, milestones moved towards the end."""
    schedule, epochs = record.recipe.schedule, record.recipe.training.epochs
    if isinstance(schedule, Plateau):
        return f"--set schedule.patience={max(2, 2 * schedule.patience)}"
    if not isinstance(schedule, Step) or schedule.milestones[0] >= LATE * epochs:
        return "--set schedule.name=cosine"
    first = schedule.milestones[0]
    span = max(1e-9, epochs - first)
    moved = [epochs - (epochs - one) * (epochs * (1 - LATE)) / span for one in schedule.milestones]
    return f"--set schedule.milestones='{json.dumps([round(max(one, 0.1), 2) for one in moved])}'"


def larger_validation(record: RunRecord, half_width: float) -> str | None:
    """Return the split that measures the validation accuracy to within `half_width`; None where images are too few.

    It is at most a fifth of all images that are not the test's.
    """
    result, counts = record.validation, record.data.counts
    if result is None:
        return None
    total = sum(sum(counts.get(part, ())) for part in ("train", "validation"))
    needed = images_for(result.accuracy, half_width)
    if not result.n < needed <= total / 5:
        return None
    train = f" --set data.train={total - needed}" if record.recipe.data.train is not None else ""
    return f"--set data.validation={needed}{train}"  # one change: where the cut is made


def any_larger_validation(record: RunRecord) -> str | None:
    """Return a split with a fifth of the images that are not the test's; None where validation has that already."""
    counts = record.data.counts
    total = sum(sum(counts.get(part, ())) for part in ("train", "validation"))
    wanted = total // 5
    if sum(counts.get("validation", ())) >= wanted:
        return None
    train = f" --set data.train={total - wanted}" if record.recipe.data.train is not None else ""
    return f"--set data.validation={wanted}{train}"


def images_for(accuracy: float, half_width: float) -> int:
    """Return how many images measure an accuracy within `half_width`: n = z^2 p (1 - p) / half_width^2, up to 500."""
    return max(1, math.ceil(Z95**2 * accuracy * (1 - accuracy) / half_width**2 / 500)) * 500
