"""THE loop: a generator of epoch rows. Whoever iterates saves, tracks and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.evaluate.score import score
from rungs.optim.schedule import factor, plateau_factor
from rungs.recipe.optimizers import Plateau
from rungs.recipe.seeds import derive
from rungs.run.record import EpochRow
from rungs.training.feed import batches_of_members, scoring_batches, together
from rungs.training.screen import Screen
from rungs.training.setup import Kit
from rungs.training.step import Stepper, summed_loss, tally

CHECK_EVERY = 50
"""Steps between two looks at the loss; each look waits for the GPU, so not every step."""


Score: TypeAlias = tuple[float | None, float | None]
"""Loss and accuracy of a member; None where nothing was scored."""


class Diverged(Exception):  # noqa: N818 (an ending, not a mistake)
    """The loss is no longer a finite number."""


def train_epochs(kit: Kit, rows: Sequence[EpochRow], screen: Screen) -> Iterator[EpochRow]:
    """Train one run from where `rows` end to the recipe's last epoch, yielding a row after each.

    Raises:
        Diverged: The loss stopped being finite; the epoch that was under way yields no row.
    """
    for (row,) in train_together(kit, rows, screen):
        if isinstance(row, Diverged):
            raise row
        yield row


def train_together(kit: Kit, rows: Sequence[EpochRow], screen: Screen) -> Iterator[tuple[EpochRow | Diverged, ...]]:
    """Train the members of a kit, a run alone or those of a pack, yielding what an epoch came to for each of them.

    Args:
        kit: What is trained.
        rows: The finished epochs of its first member; all members stand at the same one.
        screen: Shows the batches.
    """
    rows, take = list(rows), Stepper(kit)
    for epoch in range(len(rows), kit.recipe.training.epochs):
        began, warm_up_s = time.perf_counter(), take.warm_up_s
        kit.seed_dropout([derive(one.recipe.seed, "dropout", epoch, kit.world.rank) for one in kit.members])
        kit.trained.train()
        shape = len(kit.members), 3  # loss, right, images: sums, of each member
        total = torch.zeros(shape, dtype=torch.float64, device=kit.world.device)
        lost: dict[int, Diverged] = {}  # member -> how it ended
        step = epoch * kit.steps_per_epoch
        batches = batches_of_members(kit, epoch)
        for batch, labels, whole in screen.watch(batches, epoch, kit.steps_per_epoch):
            rate = learning_rate(kit, step, rows)
            for group in kit.optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            total += take(batch, labels, whole)
            if kit.ema is not None:
                kit.ema.update_parameters(kit.model)
            step += 1
            if step % CHECK_EVERY == 0 and all_lost(kit, total, lost, epoch, step):
                break
        if all_lost(kit, total, lost, epoch, step):
            yield tuple(lost[i] for i in range(len(kit.members)))
            return
        sums = kit.world.sum(total).tolist()
        train_s = time.perf_counter() - began
        validated, watched = validate(kit, epoch), watch_test(kit)
        validation_s = time.perf_counter() - began - train_s
        scores = list(zip(sums, validated, watched, strict=True))
        warm_up_s = take.warm_up_s - warm_up_s
        ended = [
            epoch_row(epoch, step, rate, (train_s, warm_up_s, validation_s), len(kit.members), *one) for one in scores
        ]
        rows.append(ended[0])
        lost = unfit(validated, epoch) | lost
        yield tuple(lost.get(i, row) for i, row in enumerate(ended))


def epoch_row(
    epoch: int,
    step: int,
    rate: float,
    seconds: tuple[float, float, float],
    members: int,
    sums: Sequence[float],
    validation: Score,
    test: Score,
) -> EpochRow:
    """Return what an epoch, counted from 0, came to for one of the members; of the seconds it has its share.

    Args:
        epoch: Which.
        step: Optimiser steps since the start.
        rate: Learning rate of the last one.
        seconds: Of training, of warming up within it, of scoring; of all members together.
        members: How many there are.
        sums: Loss, right and images of the member's training.
        validation: Its loss and accuracy there.
        test: Likewise, of a watched test set.
    """
    loss, right, images = sums
    train_s, warm_up_s, validation_s = (one / members for one in seconds)
    return EpochRow(
        epoch=epoch + 1,
        step=step,
        learning_rate=rate,
        train_loss=loss / images,
        train_accuracy=right / images,
        validation_loss=validation[0],
        validation_accuracy=validation[1],
        train_s=train_s,
        validation_s=validation_s,
        images_per_s=images / train_s,
        test_loss=test[0],
        test_accuracy=test[1],
        warm_up_s=warm_up_s,
        packed=members,
    )


def learning_rate(kit: Kit, step: int, rows: Sequence[EpochRow]) -> float:
    """Return the rate of a step, counted from 0: base x schedule(step), a pure function of step and rows."""
    recipe = kit.recipe
    rate = recipe.optim.lr * factor(recipe.schedule, step, kit.steps_per_epoch, recipe.training.epochs)
    if isinstance(recipe.schedule, Plateau):
        rate *= plateau_factor(recipe.schedule, rows, recipe.stopping.monitor)
    return rate


def all_lost(kit: Kit, total: Tensor, lost: dict[int, Diverged], epoch: int, step: int) -> bool:
    """Note the members whose loss is no number, on every rank at once; tell whether that is all of them."""
    for i, finite in enumerate(kit.world.sum(total)[:, 0].isfinite().tolist()):
        if not finite and i not in lost:
            lost[i] = Diverged(f"the training loss stopped being finite in epoch {epoch + 1}, by step {step}")
    return len(lost) == len(kit.members)


def validate(kit: Kit, epoch: int) -> tuple[Score, ...]:
    """Score each member on its validation part; without one see whether the net still computes numbers."""
    kit.world.share_buffers(kit.model)  # in the same order on every rank
    if kit.ema is not None:
        kit.world.share_buffers(kit.judged)
    if kit.parts.validation is None:  # a few images tell
        few = together([islice(scoring_batches(one, one.parts.train), 1) for one in kit.members])
        logits, _ = score(kit.judged, few, kit.autocast)  # (b, K); of a pack (b, S, K)
        finite = logits.isfinite().view(len(logits), len(kit.members), -1).all(2).all(0)  # (S,)
        return tuple((None if fine else math.nan, None) for fine in finite.tolist())
    augments = kit.recipe.augment.validation
    shared = not augments  # augmented: all ranks draw the same
    streams = [scoring_batches(one, part, augments, epoch, shared=shared) for one, part in _parts(kit, "validation")]
    return mean_scores(kit, together(streams))


def watch_test(kit: Kit) -> tuple[Score, ...]:
    """Score each member on the test set where the recipe watches it; nothing is chosen by it."""
    if kit.parts.test is None or not kit.recipe.evaluation.watch_test:
        return ((None, None),) * len(kit.members)
    return mean_scores(kit, together([scoring_batches(one, part, shared=True) for one, part in _parts(kit, "test")]))


def unfit(scores: Sequence[Score], epoch: int) -> dict[int, Diverged]:
    """Return the members whose validation came to no number."""
    lost = {}
    for i, (loss, accuracy) in enumerate(scores):
        if loss is not None and not math.isfinite(loss):
            what = "net's outputs were" if accuracy is None else "validation loss was"
            lost[i] = Diverged(f"the {what} not finite after epoch {epoch + 1}")
    return lost


def mean_scores(kit: Kit, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Score, ...]:
    """Return the mean of the recipe's loss, not smoothed, and the accuracy; over all ranks' shares, of each member."""
    logits, labels = score(kit.judged, batches, kit.autocast)
    loss = summed_loss(kit.recipe.training.loss, logits, labels)
    total = kit.world.sum(tally(loss, logits, labels).to(kit.world.device)).view(-1, 3)
    return tuple((loss, accuracy) for loss, accuracy in (total[:, :2] / total[:, 2:]).tolist())


def _parts(kit: Kit, name: str) -> list[tuple[Kit, ImageSet]]:
    """Return the members with their parts of one name."""
    return [(one, one.parts.present()[name]) for one in kit.members]
