"""Rules about the schedule: a learning rate that was cut while there was much to learn."""

from __future__ import annotations

import itertools

from rungs.diagnose import cures, evidence
from rungs.diagnose.findings import OURS, guess_loss, warning
from rungs.run.record import Finding, RunRecord

CUT = 2.5
"""A rate that falls by this factor from one epoch to the next was cut; a smooth schedule does so only at its end."""
STEEP = 0.03
"""A training loss that fell by 3 % an epoch before the cut was still learning fast ..."""
HARDLY = 1 / 3
"""... if it falls by less than a third of that in each epoch behind it, the cut has ended the learning ..."""
FAR = 0.3
"""... and a training loss that ends above this share of ln K is far from done."""
EPOCHS_LEFT = 0.2
"""A cut in the last fifth of the epochs is meant to end the learning."""


def early_decay(record: RunRecord) -> Finding | None:
    """A cut of the learning rate that stopped a loss in the middle of its fall."""
    rows = record.history
    if record.status != "finished" or not rows or rows[-1].train_loss <= FAR * guess_loss(record):
        return None
    for before, after in itertools.pairwise(rows):
        left = [row for row in rows if row.epoch > after.epoch]
        if before.learning_rate < CUT * after.learning_rate or len(left) < max(2, EPOCHS_LEFT * len(rows)):
            continue
        earlier = [row for row in rows if row.epoch <= before.epoch][-3:]
        if len(earlier) < 2 and before.epoch != 1:
            continue
        steep = _fall_an_epoch([row.train_loss for row in earlier])
        if len(earlier) < 2:  # a single epoch: it came down from guessing
            steep = 1 - before.train_loss / max(guess_loss(record), before.train_loss)
        hardly = _fall_an_epoch([after.train_loss, *(row.train_loss for row in left)])
        if steep < STEEP or hardly > HARDLY * steep:
            continue
        text = (
            f"In epoch {after.epoch} the learning rate is cut from {before.learning_rate:.2g} to "
            f"{after.learning_rate:.2g}. Before, the training loss fell by {100 * steep:.1f} % an epoch; behind the "
            f"cut by {100 * max(hardly, 0):.1f} %, and {len(left)} epochs later it is at {rows[-1].train_loss:.3f}, "
            "far from done: with so small a rate it cannot get there. Cut later."
        )
        return warning(
            "early-decay",
            "The rate was cut too early",
            text,
            cures.later_cut(record),
            f"the rate falls by a factor of {CUT:g}, the training loss fell by {100 * STEEP:.0f} % an epoch before and "
            f"falls by less than a third of that behind, and ends above {FAR:g} ln K",
            "Loshchilov & Hutter 2017, arXiv:1608.03983, for schedules that fall late; the numbers are " + OURS,
            evidence.losses(record, at=after.epoch, at_name="rate cut"),
        )
    return None


def _fall_an_epoch(losses: list[float]) -> float:
    """Return by what share a loss falls in each epoch, in the geometric mean; 0 for fewer than two."""
    if len(losses) < 2 or losses[0] <= 0 or losses[-1] <= 0:
        return 0.0
    return 1 - float((losses[-1] / losses[0]) ** (1 / (len(losses) - 1)))
