"""The sums of an epoch while it trains: in all, and after each tenth of it; on the device, without waiting."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rungs.training.setup import Setup

TENTHS = 10
"""Parts of an epoch whose losses are kept; an epoch of fewer steps has a part for each."""


class MemberSums(NamedTuple):
    """What a member of a setup did in an epoch, over all ranks."""

    loss: float  # training loss, summed over the images
    correct: float  # correct predictions
    images: float
    tenths: tuple[float, ...]  # mean loss of each tenth
    class_share: float  # the most frequent class's share of a batch, mean over the last batch of each tenth


class EpochSums:
    """Adds up the tallies of an epoch's steps.

    Attributes:
        total: float64 (S, 3): loss, correct predictions and images of each member, so far.
    """

    def __init__(self, setup: Setup) -> None:
        self.world, self.classes, self.members = setup.world, len(setup.parts.train.classes), len(setup.members)
        self.total = torch.zeros(self.members, 3, dtype=torch.float64, device=setup.world.device)
        parts, steps = min(TENTHS, setup.steps_per_epoch), setup.steps_per_epoch
        self.ends = {steps * (k + 1) // parts for k in range(parts)}
        self.steps, self.after, self.counts = 0, list[Tensor](), list[Tensor]()

    def add(self, tally: Tensor, labels: Tensor) -> None:
        """Add a step: its tally, and its labels int64 (b,) or probabilities (b, K); of a pack with S behind b."""
        self.total += tally
        self.steps += 1
        if self.steps in self.ends:  # ten times an epoch: that costs nothing
            hot = labels if labels.is_floating_point() else F.one_hot(labels, self.classes)
            self.after.append(self.total.clone())
            self.counts.append(hot.sum(0, dtype=torch.float64).view(self.members, -1))  # (S, K)

    def of_members(self) -> list[MemberSums]:
        """Return the sums of each member over all ranks; this waits for the device."""
        after = self.world.sum(torch.stack(self.after, 1))  # (S, T, 3)
        counts = self.world.sum(torch.stack(self.counts, 1))  # (S, T, K)
        shares = (counts.amax(2) / counts.sum(2)).mean(1).tolist()
        return [_of_member(sums, share) for sums, share in zip(after.tolist(), shares, strict=True)]


def _of_member(sums: list[list[float]], share: float) -> MemberSums:
    """Return what a member did, from its running sums (loss, correct predictions, images) after each tenth."""
    loss, correct, images = sums[-1]
    return MemberSums(loss, correct, images, _means(sums), share)


def _means(sums: list[list[float]]) -> tuple[float, ...]:
    """Return the mean losses between running sums (loss, correct predictions, images)."""
    pairs = itertools.pairwise([[0.0, 0.0, 0.0], *sums])
    return tuple((b[0] - a[0]) / (b[2] - a[2]) for a, b in pairs)
