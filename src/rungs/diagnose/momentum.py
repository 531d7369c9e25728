"""A rule about momentum so near to 1 that the steps are many times the learning rate."""

from __future__ import annotations

import itertools
import math

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, guess_loss, warning
from rungs.diagnose.regularisation import low
from rungs.recipe.optimizers import Adam, AdamW
from rungs.run.record import Finding, RunRecord

NEAR_1 = 0.97
"""Momentum above this is unusual: 0.9 is the default nearly everywhere, 0.95 in some recipes."""
USUAL = 0.9
RISE = 0.1
"""A training loss that rises by a tenth from one epoch to the next swings ..."""
SMALL = 0.05
"""... where it is above this share of ln K."""


def momentum(record: RunRecord) -> Finding | None:
    """Momentum near 1 in a training that swings, diverges or stays low."""
    optim = record.recipe.optim
    if isinstance(optim, Adam | AdamW):
        value, field = optim.betas[0], f"optim.betas='[{USUAL}, {optim.betas[1]:g}]'"
    else:
        value, field = optim.momentum, f"optim.momentum={USUAL:g}"
    swings, steps = _swings(record), record.history[-1].step if record.history else 0
    many, usual = 1 / max(1e-9, 1 - value), 1 / (1 - USUAL)
    if value <= NEAR_1 or not (low(record) or swings or 0 < steps <= many):
        return None
    text = (
        f"With a momentum of {value:g} each step adds up the gradients of about {many:,.0f} steps, where 0.9 adds up "
        f"{usual:.0f}. "
    )
    if isinstance(optim, Adam | AdamW):
        text += "The weights follow the gradients that late."
    else:
        text += f"The learning rate of {optim.lr:g} acts like {optim.lr * many:.3g}, and the weights swing past every "
        text += "minimum before they turn."
    if 0 < steps < 10 * many:
        text += f" The whole training has {steps:,} step{'s' * (steps != 1)}."
    if swings:
        text += f" The training loss rose in epoch {swings[0]}{' and others' * (len(swings) > 1)}."
    return warning(
        "momentum",
        "Momentum is too near to 1",
        text,
        f"--set {field}",
        f"momentum is above {NEAR_1:g}, and training diverged, stays below 80 % of its images, its loss rises by "
        f"{100 * RISE:.0f} % in an epoch, or it has fewer steps than momentum adds up",
        f"Sutskever et al. 2013, proceedings.mlr.press/v28/sutskever13: large momentum needs small rates and time to "
        f"settle; Goh 2017, doi:10.23915/distill.00006, for lr / (1 - momentum); the numbers are {OURS}",
        evidence.curves(record, level=guess_loss(record), level_name="guessing"),
    )


def _swings(record: RunRecord) -> list[int]:
    """Return the epochs in which the training loss rose visibly."""
    small = SMALL * guess_loss(record)
    pairs = itertools.pairwise(record.history)
    return [
        b.epoch
        for a, b in pairs
        if not math.isfinite(b.train_loss) or b.train_loss > max((1 + RISE) * a.train_loss, small)
    ]
