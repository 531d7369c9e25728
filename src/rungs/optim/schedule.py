"""Schedules: pure functions that return the factor on the base learning rate.

The factor depends only on the step's number, so a resumed run needs no state. Warm-up precedes any
schedule: over the first W steps, step t (from 0) is scaled by (t + 1) / (W + 1), equal
increments from just above 0 that reach 1 as the schedule begins. Cosine, linear and one-cycle run over the
steps that remain, from progress 0 on the first of these to 1 on the very last: the last step takes
`final`. Milestones are counted from the start of the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rungs.errors import UserError
from rungs.recipe.optimizers import AnySchedule, Constant, Cosine, Linear, OneCycle, Plateau, Step
from rungs.run.record import EpochRow


def factor(spec: AnySchedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the base learning rate for one step.

    A plateau schedule depends on the validation metric: this covers only its warm-up, see `plateau_factor`.

    Args:
        spec: The schedule of a recipe.
        step: Optimiser steps taken so far: 0 for the first.
        steps_per_epoch: Optimiser steps in an epoch.
        epochs: Epochs in the whole training.
    """
    warmup_steps = round(spec.warmup_epochs * steps_per_epoch)
    last = epochs * steps_per_epoch - 1
    progress = min(max((step - warmup_steps) / max(last - warmup_steps, 1), 0.0), 1.0)
    return min((step + 1) / (warmup_steps + 1), 1.0) * _body(spec, progress, step, steps_per_epoch)


def _body(spec: AnySchedule, progress: float, step: int, steps_per_epoch: int) -> float:
    match spec:
        case Constant() | Plateau():
            return 1.0
        case Step():
            return spec.gamma ** sum(step >= round(epoch * steps_per_epoch) for epoch in spec.milestones)
        case Linear():
            return (1 - progress) + spec.final * progress
        case Cosine():
            return _half_cosine(1.0, spec.final, progress)
        case OneCycle() if progress < spec.rise:
            return _half_cosine(spec.start, 1.0, progress / spec.rise)
        case OneCycle():
            return _half_cosine(1.0, spec.final, (progress - spec.rise) / (1 - spec.rise))


def _half_cosine(first: float, last: float, progress: float) -> float:
    """Go from `first` to `last`, flat at both ends (Loshchilov & Hutter 2016, arXiv:1608.03983, equation 5)."""
    share = (1 + math.cos(math.pi * progress)) / 2  # 1 -> 0
    return first * share + last * (1 - share)


def plateau_factor(
    spec: Plateau, rows: Sequence[EpochRow], monitor: Literal["validation_loss", "validation_accuracy"]
) -> float:
    """Return the factor after the epochs in `rows`: `spec.factor` to the power of the plateaus so far.

    Counted as torch's `ReduceLROnPlateau` does: an epoch is good if it beats the best so far by more
    than `min_delta`; after more than `patience` bad epochs in a row, the rate is reduced and the count
    restarts.

    Raises:
        UserError: The rows have no validation.
    """
    best, bad, plateaus = math.inf, 0, 0
    for row in rows:
        value = row.validation_loss if monitor == "validation_loss" else row.validation_accuracy
        if value is None:
            do = "set data.validation above 0, or choose another schedule"
            raise UserError("a plateau schedule needs a validation set", where="schedule", do=do)
        cost = value if monitor == "validation_loss" else -value
        best, bad = (cost, 0) if cost < best - spec.min_delta else (best, bad + 1)
        if bad > spec.patience:
            plateaus, bad = plateaus + 1, 0
    return spec.factor**plateaus
