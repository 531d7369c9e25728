"""Rules about the pace: training that stops too early or never gets going, a rate that rises when it should fall."""

from __future__ import annotations

import itertools

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, mean, warning
from rungs.diagnose.regularisation import low
from rungs.recipe.optimizers import SGD, Cosine, Linear, Muon, OneCycle, Step
from rungs.run.record import Finding, RunRecord

IMPATIENT = 3
"""A validation loss is often no better for three epochs in a row, by chance."""
STOPPED_AT = 0.7
"""A training that stopped before this share of its epochs ..."""
FALLING = 0.02
"""... while its training loss fell by 2 % an epoch ..."""
NOT_DONE = 0.98
"""... and was not yet correct on nearly all training images."""
LARGE_DELTA = 0.05
"""A validation loss or accuracy seldom improves by more than this in an epoch, after the first ones."""
GROWS = 1.5
"""A rate above the recipe's own by this factor was raised by its schedule."""
WARM = 0.5
"""A warm-up of more than half of the training leaves too little at the full rate."""
LARGE_EPS = 1e-2
"""Adam and RMSprop divide by the size of a gradient plus eps: above this, eps alone sets the step; 1e-8 is usual."""


def stopped_early(record: RunRecord) -> Finding | None:
    """Early stopping with a patience of an epoch or two, while training still went well."""
    stopping, rows, asked = record.recipe.stopping, record.history, record.recipe.training.epochs
    patience, strict = stopping.patience, stopping.min_delta >= LARGE_DELTA
    if patience is None or stopping.keep == "last" or record.status != "finished" or len(rows) > STOPPED_AT * asked:
        return None
    if patience > IMPATIENT and not strict:
        return None
    falls = [1 - b.train_loss / a.train_loss for a, b in itertools.pairwise(rows[-3:]) if a.train_loss > 0]
    best = record.best_epoch or len(rows)
    if not falls or mean(falls) < FALLING or (rows[-1].train_accuracy >= NOT_DONE and best < len(rows)):
        return None
    text = (
        f"Training stopped after {len(rows)} of {asked} epochs because validation was no better than in epoch {best} "
        f"for {patience} epoch{'s' * (patience > 1)}; the training loss still fell by {100 * mean(falls):.0f} % an "
        "epoch. "
    )
    if strict:
        text += f"Only an improvement by {stopping.min_delta:g} counted: that is a large step."
    else:
        text += "Validation goes up and down by chance: wait longer."
    return warning(
        "stopped-early",
        "Stopped too early",
        text,
        "--set stopping.min_delta=0" if strict else f"--set stopping.patience={max(10, 5 * patience)}",
        f"patience is at most {IMPATIENT} epochs or min_delta at least {LARGE_DELTA:g}, fewer than "
        f"{100 * STOPPED_AT:.0f} % of the epochs are done, and the training loss falls by {100 * FALLING:.0f} % an "
        "epoch",
        f"Prechelt 1998, doi:10.1007/3-540-49430-8_3: slower criteria generalise better; the numbers are {OURS}",
        evidence.curves(record, at=float(best), at_name="best"),
    )


def long_warm_up(record: RunRecord) -> Finding | None:
    """A warm-up that takes most of the training, or more than all of it."""
    warm_up, epochs = record.recipe.schedule.warmup_epochs, record.recipe.training.epochs
    if warm_up <= WARM * epochs or not record.history:
        return None
    most = max(row.learning_rate for row in record.history)
    text = (
        f"The learning rate warms up for {warm_up:g} of {epochs} epoch{'s' * (epochs != 1)} and reaches {most:.2g} at "
        f"most, of {record.recipe.optim.lr:g}: hardly any training happens at the full rate."
    )
    return warning(
        "long-warm-up",
        "The warm-up is too long",
        text,
        f"--set schedule.warmup_epochs={max(0.5, round(0.05 * epochs, 1)):g}",
        f"the warm-up takes more than {100 * WARM:.0f} % of the epochs",
        f"Goyal et al. 2017, arXiv:1706.02677, section 2.2: 5 of 90 epochs; the share is {OURS}",
        evidence.curves(record, ("learning_rate",), y_label="learning rate"),
    )


def rising_rate(record: RunRecord) -> Finding | None:
    """A schedule that raises the learning rate above the recipe's."""
    schedule, base = record.recipe.schedule, record.recipe.optim.lr
    most = max((row.learning_rate for row in record.history), default=0.0)
    if most <= GROWS * base:
        return None
    if isinstance(schedule, Step):
        field = f"schedule.gamma={0.1:g}"
    elif isinstance(schedule, Cosine | Linear | OneCycle):
        field = "schedule.final=0"
    else:
        return None
    text = (
        f"The schedule raises the learning rate from {base:g} to {most:.2g}: at its end, when small steps would let "
        "the loss settle, the steps are the largest."
    )
    return warning(
        "rising-rate",
        "The learning rate rises to the end",
        text,
        f"--set {field}",
        f"the learning rate goes above {GROWS:g} times that of the recipe",
        f"Bengio 2012, arXiv:1206.5533, section 3.1.1, for rates that fall; the factor is {OURS}",
        evidence.curves(record, ("learning_rate",), y_label="learning rate", level=base, level_name="the recipe's"),
    )


def large_eps(record: RunRecord) -> Finding | None:
    """An eps of Adam or RMSprop so large that it makes the steps tiny."""
    optim = record.recipe.optim
    if isinstance(optim, SGD | Muon) or optim.eps < LARGE_EPS or not low(record):
        return None
    text = (
        f"The optimiser divides each step by the size of its gradient plus eps, and eps is {optim.eps:g}, far above "
        "the gradients: the steps are that much smaller than the learning rate says."
    )
    return warning(
        "large-eps",
        "The optimiser's eps is too large",
        text,
        "--set optim.eps=1e-8",
        f"eps is at least {LARGE_EPS:g}, and training accuracy stays below 80 %",
        f"Kingma & Ba 2015, arXiv:1412.6980: eps = 1e-8; the bound is {OURS}",
        evidence.curves(record),
    )
