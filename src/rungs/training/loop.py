"""The training loop: a generator of epoch rows. The caller saves, tracks and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.evaluate.score import score
from rungs.optim.schedule import factor, plateau_factor
from rungs.recipe.optimizers import Plateau
from rungs.recipe.seeds import derive
from rungs.run.record import EpochRow
from rungs.training.feed import batches_of_members, scoring_batches, together
from rungs.training.screen import Screen
from rungs.training.setup import Setup
from rungs.training.step import Stepper, summed_loss, tally
from rungs.training.sums import EpochSums, MemberSums

CHECK_EVERY = 50
"""Steps between two checks of the loss; a check waits for the GPU."""


Score: TypeAlias = tuple[float | None, float | None]
"""Loss and accuracy of a member; None if nothing was scored."""


class Diverged(Exception):  # noqa: N818 (an outcome, not an error)
    """The loss is no longer a finite number."""


def train_epochs(setup: Setup, rows: Sequence[EpochRow], screen: Screen) -> Iterator[EpochRow]:
    """Train one run from where `rows` end to the recipe's last epoch, yielding a row after each.

    Raises:
        Diverged: The loss stopped being finite; the current epoch yields no row.
    """
    for (row,) in train_together(setup, rows, screen):
        if isinstance(row, Diverged):
            raise row
        yield row


def train_together(setup: Setup, rows: Sequence[EpochRow], screen: Screen) -> Iterator[tuple[EpochRow | Diverged, ...]]:
    """Train the members of a setup, a single run or those of a pack, yielding each one's result after every epoch.

    Args:
        setup: What is trained.
        rows: The finished epochs of its first member; all members are at the same epoch.
        screen: Shows the batches.
    """
    rows, take = list(rows), Stepper(setup)
    for epoch in range(len(rows), setup.recipe.training.epochs):
        began, warm_up_s = time.perf_counter(), take.warm_up_s
        setup.seed_dropout([derive(one.recipe.seed, "dropout", epoch, setup.world.rank) for one in setup.members])
        if setup.begin_epoch(epoch):
            take.forget()
        sums = EpochSums(setup)
        diverged: dict[int, Diverged] = {}  # member -> why
        step = epoch * setup.steps_per_epoch
        batches = batches_of_members(setup, epoch)
        for batch, labels, whole in screen.watch(batches, epoch, setup.steps_per_epoch):
            rate = learning_rate(setup, step, rows)
            for group in setup.optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            sums.add(take(batch, labels, whole), labels)
            if setup.ema is not None:
                setup.ema.update_parameters(setup.model)
            step += 1
            if step % CHECK_EVERY == 0 and all_diverged(setup, sums.total, diverged, epoch, step):
                break
        if all_diverged(setup, sums.total, diverged, epoch, step):
            yield tuple(diverged[i] for i in range(len(setup.members)))
            return
        trained = sums.of_members()
        train_s = time.perf_counter() - began
        validated, watched = validate(setup, epoch), watch_test(setup)
        validation_s = time.perf_counter() - began - train_s
        scores = list(zip(trained, validated, watched, strict=True))
        warm_up_s = take.warm_up_s - warm_up_s
        ended = [
            epoch_row(epoch, step, rate, (train_s, warm_up_s, validation_s), len(setup.members), *one) for one in scores
        ]
        rows.append(ended[0])
        diverged = diverged_in_validation(validated, epoch) | diverged
        yield tuple(diverged.get(i, row) for i, row in enumerate(ended))


def epoch_row(
    epoch: int,
    step: int,
    rate: float,
    seconds: tuple[float, float, float],
    members: int,
    sums: MemberSums,
    validation: Score,
    test: Score,
) -> EpochRow:
    """Return the row of one member for an epoch, counted from 0, with its share of the seconds.

    Args:
        epoch: Which.
        step: Optimiser steps since the start.
        rate: Learning rate of the last one.
        seconds: Of training, of warming up within it, of scoring; of all members together.
        members: How many there are.
        sums: Of the member's training.
        validation: Its validation loss and accuracy.
        test: Likewise for a watched test set.
    """
    train_s, warm_up_s, validation_s = (one / members for one in seconds)
    return EpochRow(
        epoch=epoch + 1,
        step=step,
        learning_rate=rate,
        train_loss=sums.loss / sums.images,
        train_accuracy=sums.correct / sums.images,
        validation_loss=validation[0],
        validation_accuracy=validation[1],
        train_s=train_s,
        validation_s=validation_s,
        images_per_s=sums.images / train_s,
        test_loss=test[0],
        test_accuracy=test[1],
        warm_up_s=warm_up_s,
        packed=members,
        tenths=sums.tenths,
        class_share=sums.class_share,
    )


def learning_rate(setup: Setup, step: int, rows: Sequence[EpochRow]) -> float:
    """Return the rate of a step, counted from 0: base x schedule(step), a pure function of step and rows."""
    recipe = setup.recipe
    rate = recipe.optim.lr * factor(recipe.schedule, step, setup.steps_per_epoch, recipe.training.epochs)
    if isinstance(recipe.schedule, Plateau):
        rate *= plateau_factor(recipe.schedule, rows, recipe.stopping.monitor)
    return rate


def all_diverged(setup: Setup, total: Tensor, diverged: dict[int, Diverged], epoch: int, step: int) -> bool:
    """Add the members whose loss is not finite, on all ranks alike; return whether that is all of them."""
    for i, finite in enumerate(setup.world.sum(total)[:, 0].isfinite().tolist()):
        if not finite and i not in diverged:
            diverged[i] = Diverged(f"the training loss stopped being finite in epoch {epoch + 1}, by step {step}")
    return len(diverged) == len(setup.members)


def validate(setup: Setup, epoch: int) -> tuple[Score, ...]:
    """Score each member on its validation part; without one, check that the net's outputs are finite."""
    setup.world.share_buffers(setup.model)  # in the same order on every rank
    if setup.ema is not None:
        setup.world.share_buffers(setup.scored_net)
    if setup.parts.validation is None:  # a few images are enough
        few = together([islice(scoring_batches(one, one.parts.train), 1) for one in setup.members])
        logits, _ = score(setup.scored_net, few, setup.autocast)  # (b, K); of a pack (b, S, K)
        finite = logits.isfinite().view(len(logits), len(setup.members), -1).all(2).all(0)  # (S,)
        return tuple((None if fine else math.nan, None) for fine in finite.tolist())
    augments = setup.recipe.augment.validation
    shared = not augments  # augmented: all ranks draw the same
    streams = [scoring_batches(one, part, augments, epoch, shared=shared) for one, part in _parts(setup, "validation")]
    return mean_scores(setup, together(streams))


def watch_test(setup: Setup) -> tuple[Score, ...]:
    """Score each member on the test set where the recipe watches it; nothing is chosen by it."""
    if setup.parts.test is None or not setup.recipe.evaluation.watch_test:
        return ((None, None),) * len(setup.members)
    return mean_scores(
        setup, together([scoring_batches(one, part, shared=True) for one, part in _parts(setup, "test")])
    )


def diverged_in_validation(scores: Sequence[Score], epoch: int) -> dict[int, Diverged]:
    """Return the members whose validation loss or outputs are not finite."""
    diverged = {}
    for i, (loss, accuracy) in enumerate(scores):
        if loss is not None and not math.isfinite(loss):
            what = "net's outputs were" if accuracy is None else "validation loss was"
            diverged[i] = Diverged(f"the {what} not finite after epoch {epoch + 1}")
    return diverged


def mean_scores(setup: Setup, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Score, ...]:
    """Return each member's mean loss, without label smoothing, and accuracy, over the shares of all ranks."""
    logits, labels = score(setup.scored_net, batches, setup.autocast)
    loss = summed_loss(setup.recipe.training.loss, logits, labels)
    total = setup.world.sum(tally(loss, logits, labels).to(setup.world.device)).view(-1, 3)
    return tuple((loss, accuracy) for loss, accuracy in (total[:, :2] / total[:, 2:]).tolist())


def _parts(setup: Setup, name: str) -> list[tuple[Setup, ImageSet]]:
    """Return the members, each with its part of this name."""
    return [(one, one.parts.present()[name]) for one in setup.members]
