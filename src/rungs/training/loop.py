"""THE loop: a generator of epoch rows. Whoever iterates saves, tracks and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from rungs.data.batches import spans
from rungs.evaluate.score import score
from rungs.optim.schedule import factor, plateau_factor
from rungs.records import EpochRow
from rungs.seeds import derive
from rungs.specs import Plateau
from rungs.training.feed import scoring_batches, training_batches
from rungs.training.screen import Screen
from rungs.training.setup import Kit

CHECK_EVERY = 50
"""Steps between two looks at the loss; each look waits for the GPU, so not every step."""


class Diverged(Exception):  # noqa: N818 (an ending, not a mistake)
    """The loss is no longer a finite number."""


def train_epochs(kit: Kit, rows: Sequence[EpochRow], screen: Screen) -> Iterator[EpochRow]:
    """Train from where `rows` end to the recipe's last epoch, yielding a row after each.

    Raises:
        Diverged: The loss stopped being finite; the epoch that was under way yields no row.
    """
    training = kit.recipe.training
    rows = list(rows)
    for epoch in range(len(rows), training.epochs):
        began = time.perf_counter()
        torch.manual_seed(derive(kit.recipe.seed, "dropout", epoch, kit.world.rank))
        kit.trained.train()
        total = torch.zeros(3, dtype=torch.float64, device=kit.world.device)  # loss, right, images: sums
        step = epoch * kit.steps_per_epoch
        for batch, labels, whole in screen.watch(training_batches(kit, epoch), epoch, kit.steps_per_epoch):
            rate = learning_rate(kit, step, rows)
            for group in kit.optimizer.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            kit.optimizer.zero_grad(set_to_none=True)
            for x, y in micro_batches(batch, labels, training.micro_batch):
                with kit.autocast():
                    logits = kit.trained(x)  # (b, K)
                loss = summed_loss(training.loss, logits.float(), y, training.label_smoothing)
                torch.autograd.backward(
                    loss * (kit.world.size / whole)
                )  # ranks average gradients: this makes it the batch's mean
                total += tally(loss, logits, y)
            if training.clip_norm is not None:
                clip_grad_norm_(kit.model.parameters(), training.clip_norm)
            kit.optimizer.step()
            if kit.ema is not None:
                kit.ema.update_parameters(kit.model)
            step += 1
            if step % CHECK_EVERY == 0:
                require_finite(kit, total, epoch, step)
        require_finite(kit, total, epoch, step)
        train_loss, train_right, images = kit.world.sum(total).tolist()
        train_s = time.perf_counter() - began
        validation_loss, validation_accuracy = validate(kit, epoch)
        test_loss, test_accuracy = watch_test(kit)
        row = EpochRow(
            epoch=epoch + 1,
            step=step,
            learning_rate=rate,
            train_loss=train_loss / images,
            train_accuracy=train_right / images,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            train_s=train_s,
            validation_s=time.perf_counter() - began - train_s,
            images_per_s=images / train_s,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
        )
        rows.append(row)
        yield row


def micro_batches(x: Tensor, y: Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut a batch into pieces of `size` images, at least two in each (BatchNorm needs them); None: one piece."""
    for start, stop in spans(len(x), size or len(x)):
        yield x[start:stop], y[start:stop]


def learning_rate(kit: Kit, step: int, rows: Sequence[EpochRow]) -> float:
    """Return the rate of a step, counted from 0: base x schedule(step), a pure function of step and rows."""
    recipe = kit.recipe
    rate = recipe.optim.lr * factor(recipe.schedule, step, kit.steps_per_epoch, recipe.training.epochs)
    if isinstance(recipe.schedule, Plateau):
        rate *= plateau_factor(recipe.schedule, rows, recipe.stopping.monitor)
    return rate


def summed_loss(name: str, outputs: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the loss summed over a batch.

    Args:
        name: Of the loss, as a recipe says it.
        outputs: The net's, float32 (b, K).
        y: int64 (b,) classes, or float (b, K) probabilities.
        smoothing: Share of each label that is spread over all classes.
    """
    if name == "softmax-cross-entropy":  # the cross-entropy takes what are probabilities already for logits
        outputs = outputs.softmax(1)
    if name == "nll" and y.ndim == 1 and smoothing == 0:
        return F.nll_loss(outputs.log_softmax(1), y, reduction="sum")
    return F.cross_entropy(outputs, y, label_smoothing=smoothing, reduction="sum")


def tally(loss: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    """Return float64 (3,): the batch's summed loss, its number right, its images; on the device, without waiting."""
    truth = y if y.ndim == 1 else y.argmax(1)
    right = (logits.argmax(1) == truth).sum()
    return torch.stack([loss.detach().double(), right.double(), torch.full_like(right, len(y)).double()])


def require_finite(kit: Kit, total: Tensor, epoch: int, step: int) -> None:
    """Stop on every rank at once when any rank's loss is no number."""
    if not kit.world.sum(total)[0].isfinite():
        raise Diverged(f"the training loss stopped being finite in epoch {epoch + 1}, by step {step}")


def validate(kit: Kit, epoch: int) -> tuple[float | None, float | None]:
    """Return loss and accuracy on the validation part, or None for both without one.

    Raises:
        Diverged: The loss is not finite.
    """
    part = kit.parts.validation
    kit.world.share_buffers(kit.model)  # in the same order on every rank
    if kit.ema is not None:
        kit.world.share_buffers(kit.judged)
    if part is None:  # a few images tell whether the net still computes numbers
        logits, _ = score(kit.judged, islice(scoring_batches(kit, kit.parts.train), 1), kit.autocast)
        if not logits.isfinite().all():
            raise Diverged(f"the net's outputs were not finite after epoch {epoch + 1}")
        return None, None
    augments = kit.recipe.augment.validation
    batches = scoring_batches(kit, part, augments, epoch, shared=not augments)  # augmented: all ranks draw the same
    loss, accuracy = mean_score(kit, batches)
    if not math.isfinite(loss):
        raise Diverged(f"the validation loss was not finite after epoch {epoch + 1}")
    return loss, accuracy


def watch_test(kit: Kit) -> tuple[float | None, float | None]:
    """Return loss and accuracy on the test set where the recipe watches it, else None; nothing is chosen by it."""
    if kit.parts.test is None or not kit.recipe.evaluation.watch_test:
        return None, None
    return mean_score(kit, scoring_batches(kit, kit.parts.test, shared=True))


def mean_score(kit: Kit, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Return the mean of the recipe's loss, not smoothed, and the accuracy; over all ranks' shares."""
    logits, labels = score(kit.judged, batches, kit.autocast)
    loss = summed_loss(kit.recipe.training.loss, logits, labels)
    total = kit.world.sum(tally(loss, logits, labels).to(kit.world.device))
    mean, accuracy = (total[:2] / total[2]).tolist()
    return mean, accuracy
