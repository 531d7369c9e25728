"""Cures: the end of a command that changes one thing in a recipe."""

from __future__ import annotations

import json
import math

import msgspec

from rungs.records import RunRecord
from rungs.specs import SGD

Z95 = 1.96
"""The 97.5 % point of the standard normal distribution."""


LARGEST_RATE, SMALLEST_RATE = 1.0, 1e-6
"""Learning rates beyond these are slips of the pen: no factor leads back from them."""


def rate(record: RunRecord, factor: float) -> str:
    """Return the learning rate times `factor`; instead of an absurd one a usual one of the optimiser."""
    optim = record.recipe.optim
    lr = optim.lr * factor
    if not SMALLEST_RATE <= min(lr, optim.lr) <= max(lr, optim.lr) <= LARGEST_RATE:
        lr = 0.01 if isinstance(optim, SGD) else 0.001
    return f"--set optim.lr={lr:.2g}"


def regularise(record: RunRecord) -> str:
    """Return the cheapest thing against overfitting that this recipe does not do yet."""
    there = [msgspec.to_builtins(augment) for augment in record.recipe.augment.train]
    for name in ("crop", "flip"):
        if all(augment["name"] != name for augment in there):
            tables = ("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in t.items()) + "}" for t in there)
            return f"--set augment.train='[{', '.join([*tables, f'{{name = {json.dumps(name)}}}'])}]'"
    if record.recipe.optim.weight_decay == 0:
        return "--set optim.weight_decay=0.0005"
    return f"--set training.label_smoothing={0.1 if record.recipe.training.label_smoothing == 0 else 0.2}"


def larger_validation(record: RunRecord, half_width: float) -> str | None:
    """Return the split that tells the validation accuracy to within `half_width`; None where images are too few.

    n = z^2 p (1 - p) / half_width^2, rounded up to 500, and at most a fifth of all images that are not the test's.
    """
    result, counts = record.validation, record.data.counts
    if result is None:
        return None
    total = sum(sum(counts.get(part, ())) for part in ("train", "validation"))
    needed = math.ceil(Z95**2 * result.accuracy * (1 - result.accuracy) / half_width**2 / 500) * 500
    if not result.n < needed <= total / 5:
        return None
    train = f" --set data.train={total - needed}" if record.recipe.data.train is not None else ""
    return f"--set data.validation={needed}{train}"  # one change: where the cut is made
