"""A net that scores worse in evaluation mode than it did while training, and which part of evaluation is to blame.

While an epoch runs, its accuracy is that of weights which are still learning, on augmented images, with dropout; the
weights at its end, on the plain images, are normally better. If they are clearly worse, what the net has learnt is
there, but something that evaluation uses and training does not spoils it.
"""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.accuracy import as_visited
from rungs.diagnose.findings import OURS, warning
from rungs.diagnose.learning import few_steps
from rungs.recipe.models import Speedrun
from rungs.recipe.own import Own
from rungs.run.record import EpochRow, EvalResult, Finding, RunRecord

WORSE = 0.05
"""Five points below the running accuracy: far from what dropout and augmentation do, which is to lower that one."""
SAME_RATE = 0.8
"""A rate that falls further from one epoch to the next may raise the accuracy by itself."""
TENTH = 10
"""An average over the last tenth of the steps has left the beginning behind: exp(-10) of it is left."""
USUAL_MOMENTUM = 0.1
"""A BatchNorm's in torch: each step replaces a tenth of its running mean and variance."""
UNSETTLED = 50
"""Steps after which, at that momentum, 0.5 % of the first statistics are left."""
RESTLESS = 0.5
"""A BatchNorm that replaces half of its statistics at each step knows little but its last batch."""
MILD = ("Crop", "ResizedCrop", "Flip")
"""Augmentations that leave most images much as they are."""
FEW_IMAGES = 16
"""Smaller batches make a BatchNorm's statistics too noisy (Wu & He 2018, arXiv:1803.08494, figure 1)."""


def evaluation_mode(record: RunRecord) -> Finding | None:
    """Kept weights that classify far fewer training images correctly than the net did while it was trained."""
    row = kept_row(record)
    if row is None or record.train is None:
        return None
    (running, when), (kept, (_, high), _) = _running(record, row, record.train), as_visited(record, record.train)
    if running - kept <= WORSE or high >= running:
        return None
    average = _slow_average(record, row)
    if average is None and row.step < UNSETTLED and few_steps(record) is not None:
        return None  # that says it all: no BatchNorm has settled by then
    cause, cure = average or _statistics(record) or _smaller_images(record, row) or _other_inputs(record)
    weighted = ", all classes counted alike" if record.recipe.data.balance == "sampling" else ""
    text = (
        f"{when} the net classified {100 * running:.1f} % of the training images correctly; its kept "
        f"weights, of epoch {row.epoch}, in evaluation mode only {100 * kept:.1f} % of the same images{weighted}, "
        f"though evaluation has neither dropout nor augmentation and should be the easier of the two. {cause}"
    )
    return warning(
        "evaluation-mode",
        "Worse in evaluation mode than while training",
        text,
        cure,
        f"the kept weights' training accuracy, with its 95 % interval, lies more than {100 * WORSE:.0f} points below "
        "the running one of the same epoch or, if that is higher, its mean with the next one; or below the next one, "
        "if the kept weights are no better than guessing",
        "Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 2, for statistics that only evaluation uses; Polyak & "
        "Juditsky 1992, doi:10.1137/0330046, for averaged weights; the five points are " + OURS,
        evidence.bars(
            ("while training", "evaluated"),
            "training accuracy",
            [("training images", (running, kept))],
            level=running - WORSE,
            level_name="five points below",
        ),
    )


def _running(record: RunRecord, row: EpochRow, kept: EvalResult) -> tuple[float, str]:
    """Return the training accuracy to expect of the kept weights, and when it was measured.

    That is the running one of their own epoch. At its end, where the next one begins at much the same rate, they are
    as good as the mean of both; if other images do far worse than these, that is not by evaluation. If they score as
    if nothing had been learnt, the next epoch alone counts: where evaluation is no use, chance keeps one of the first
    epochs.
    """
    after = next((one for one in record.history if one.epoch == row.epoch + 1), row)
    _, (low, _), guessed = as_visited(record, kept)
    if after.train_accuracy <= row.train_accuracy:
        return row.train_accuracy, f"During epoch {row.epoch}"
    if low <= guessed:
        return after.train_accuracy, f"During epoch {after.epoch}"
    alike = record.validation is None or as_visited(record, record.validation)[1][1] >= low
    if after.learning_rate < SAME_RATE * row.learning_rate or not alike:
        return row.train_accuracy, f"During epoch {row.epoch}"
    return (row.train_accuracy + after.train_accuracy) / 2, f"In the mean of epochs {row.epoch} and {after.epoch}"


def kept_row(record: RunRecord) -> EpochRow | None:
    """Return the row of the epoch whose weights were kept."""
    return next((row for row in record.history if row.epoch == record.best_epoch), None)


def _slow_average(record: RunRecord, row: EpochRow) -> tuple[str, str | None] | None:
    """An average of the weights that looks back further than the training is long."""
    decay, steps = record.recipe.training.ema_decay, record.history[-1].step
    if decay is None or TENTH / (1 - decay) <= steps:
        return None
    cure = f"--set training.ema_decay={_share_kept(steps):g}" if steps >= 2 * TENTH else "--set training.ema_decay=none"
    first = 100 * decay ** max(0, row.step - 1)
    text = (
        f"What is scored is an average of the weights (training.ema_decay = {decay:g}) that looks back about "
        f"{1 / (1 - decay):,.0f} steps, but only {row.step:,} were taken by then"
    )
    text += f": {first:.0f} % of it is still the net of the first step." if first >= 1 else ": it lags behind."
    return f"{text} A smaller decay, which looks back over a tenth of the steps, follows the training.", cure


def _statistics(record: RunRecord) -> tuple[str, str | None] | None:
    """Running statistics of BatchNorms that evaluation uses, and that have not settled, or never do."""
    momentum = batch_norm_momentum(record)
    if momentum is None:
        return None
    spec, steps = record.recipe, record.history[-1].step
    images = spec.training.micro_batch or spec.training.batch_size
    said = f"a BatchNorm replaces {100 * momentum:.3g} % of its running mean and variance at each step"
    if UNSETTLED * USUAL_MOMENTUM / max(momentum, 1e-9) > steps:
        text = (
            f"Evaluation uses the BatchNorms' running statistics, and these have not settled: {said}, and only "
            f"{steps:,} steps were taken."
        )
        if isinstance(spec.model, Speedrun):
            memory = min(1 - USUAL_MOMENTUM, _share_kept(steps))
            return f"{text} Let it keep less of the old ones.", f"--set model.norm_memory={memory:g}"
        if momentum < USUAL_MOMENTUM:
            return f"{text} Raise the momentum in your net, to {USUAL_MOMENTUM:g}, torch's default, or more.", None
        return f"{text} Take more steps: in smaller batches.", _batch(max(FEW_IMAGES, images // 8))
    if momentum >= RESTLESS:
        text = f"Evaluation uses the BatchNorms' running statistics, and these are those of the last batches: {said}."
        cure = f"--set model.norm_memory={1 - USUAL_MOMENTUM:g}" if isinstance(spec.model, Speedrun) else None
        return f"{text} Keep more of the old ones (momentum {USUAL_MOMENTUM:g}).", cure
    if images < FEW_IMAGES:
        text = f"While training a BatchNorm sees {images} images at a time, too few for a mean and a variance"
        return f"{text} that evaluation could use. Use larger batches.", _batch(2 * FEW_IMAGES)
    return None


def batch_norm_momentum(record: RunRecord) -> float | None:
    """Return the smallest share of its running statistics that a BatchNorm replaces at each step; None without any."""
    norms = [layer for layer in record.model.layers if "BatchNorm" in layer.kind]
    told = [float(layer.detail.split()[-1]) for layer in norms if layer.detail.startswith("momentum ")]
    if told:
        return min(told)
    if isinstance(record.recipe.model, Speedrun):
        return 1 - record.recipe.model.norm_memory
    return USUAL_MOMENTUM if norms and not any(layer.detail for layer in norms) else None


def _smaller_images(record: RunRecord, row: EpochRow) -> tuple[str, str | None] | None:
    """Images that were shrunk for training, and scored at their full size."""
    scales = record.recipe.training.image_scales
    if not scales:
        return None
    scale = scales[max(0, -(-row.epoch * len(scales) // max(1, record.recipe.training.epochs)) - 1)]
    if scale == 1:
        return None
    text = f"In that epoch training images were shrunk to {scale:g} of the size at which the net is scored"
    return f"{text} (training.image_scales). Train the last epochs at the full size.", "--set training.image_scales=[]"


def _other_inputs(record: RunRecord) -> tuple[str, str | None]:
    """Inputs, or a net, that are not the same in both modes."""
    text = "So the net computes something else in evaluation mode, or sees other inputs there."
    if isinstance(record.recipe.model, Own):
        text += (
            " Look in your net for what is done only where `self.training` is true, such as a normalisation of the "
            "images that evaluation leaves out, or with other means and deviations; and for layers that keep no "
            "running statistics."
        )
        return text, None
    strong = [augment for augment in record.recipe.augment.train if type(augment).__name__ not in MILD]
    text += " Check that images are normalised by the same means and deviations in both"
    if not strong:
        return f"{text}.", None
    return f"{text}, and that augmentation leaves most training images as they are.", "--set augment.train=[]"


def _share_kept(steps: int) -> float:
    """Return the decay of an average over a tenth of the steps, with one digit of what each step replaces."""
    return 1 - float(f"{min(1.0, TENTH / max(1, steps)):.1g}")


def _batch(images: int) -> str:
    return f"--set training.batch_size={images}"
