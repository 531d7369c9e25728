"""Rules about training that is held back: by weight decay, dropout, clipping, smoothing or augmentation."""

from __future__ import annotations

import json
import math
import re
from typing import NamedTuple

import msgspec

from rungs.diagnose import cures, evidence
from rungs.diagnose.accuracy import as_visited
from rungs.diagnose.curves import UNDERFIT
from rungs.diagnose.findings import OURS, note, warning
from rungs.recipe.augments import AnyAugment, Crop, Cutout, ResizedCrop, Rotate
from rungs.recipe.models import Layered, MixConv, Plain
from rungs.recipe.optimizers import SGD, AdamW, Muon
from rungs.run.record import Finding, RunRecord

DROPOUT = 0.55
"""Dropout above this is unusual: Srivastava et al. 2014 use 0.5 in hidden layers ..."""
USUAL_DROPOUT = 0.2
"""... and so much is harmless nearly everywhere."""
IN_A_ROW = 0.3
"""Several layers of at least this much, one after the other, ..."""
LEAST_KEPT = 0.15
"""... that leave fewer than 15 % of the paths through them: two of 0.5 leave 25 %, three 12.5 %."""
SMOOTHING = 0.4
"""Label smoothing from which a perfect net may not be more confident than about 60 %; 0.1 is usual ..."""
SMOOTHED_AWAY = 0.5
"""... and above this probabilities say little, however accurate the net is."""
DECAY = 0.01
"""Weight decay in the gradient (SGD, Adam) from twenty times the usual 0.0005 on ..."""
DECOUPLED = 1.0
"""... of AdamW, where 0.01 to 0.1 is usual ..."""
DECAY_A_STEP = 0.001
"""... is strong where a step removes over this share of a weight (SGD at 0.1 with momentum and 0.0005: 0.0005) ..."""
DECAY_IN_ALL = 0.5
"""... and over the whole training, at the full rate, this share: a short fine-tuning does not pull weights far."""
CLIP = 0.1
"""Gradients are usually clipped to a norm of 0.5 to 5 ..."""
REACH = 10.0
"""... and all clipped steps together move weights by no more than this: about the norm of a small net's."""
TINY = 1e-7
"""Clipped gradients of Adam, an element, that are no longer large beside its eps of 1e-8."""
COVERED = 0.7
"""A square of this share of an image's side, at a random place, hides on average half of the image or more."""
PADDED = 0.4
"""A window moved by this share of the side shows a corner of the image as often as the image."""
WINDOW = 0.08
"""The smallest window, as a share of the image's area, of Szegedy et al. 2015: a smaller one rarely shows the class."""
TURNED = 60.0
"""Degrees: a picture turned so far is another picture, to a net and for many objects to people."""


class Suspect(NamedTuple):
    """A regularisation that is unusually strong."""

    strength: float  # how many times the bound: the strongest is named
    name: str
    text: str
    cure: str | None


def regularised(record: RunRecord) -> Finding | None:
    """Regularisation so strong that training stays low, or that probabilities say nothing."""
    suspects = [one for one in (_decay(record), _dropout(record), _clipping(record), _smoothing(record)) if one]
    if not suspects or not record.history:
        return None
    worst = max(suspects, key=lambda one: one.strength)
    others = [one.name for one in suspects if one is not worst]
    text = f"{worst.text} {_reached(record)}"
    if others:
        text += f" Also unusually strong: {', '.join(others)}."
    harm = low(record) or record.recipe.training.label_smoothing >= SMOOTHED_AWAY
    return (warning if harm else note)(
        "regularised",
        f"{'Too' if harm else 'Unusually'} strong: {worst.name}",
        text,
        worst.cure,
        f"dropout is above {DROPOUT:g}, or leaves under {100 * LEAST_KEPT:.0f} % of the paths through several layers; "
        f"or weight decay is at least {DECAY:g} (AdamW: {DECOUPLED:g}) and takes over "
        f"{DECAY_A_STEP:g} of a weight a step and {DECAY_IN_ALL:g} over the whole training, at the full rate, unless a "
        f"head alone is trained on a frozen net; or gradients are clipped below {CLIP:g} and move weights by less than "
        f"{REACH:g} in all; or smoothing is at least {SMOOTHING:g}; a warning where fewer than {100 * UNDERFIT:.0f} % "
        f"of the training images are classified correctly, or smoothing is at least {SMOOTHED_AWAY:g}",
        "Goodfellow, Bengio, Courville 2016, Deep Learning, section 7: regularisation trades training error for a "
        "smaller gap; Srivastava et al. 2014, jmlr.org/papers/v15/srivastava14a; Szegedy et al. 2016, "
        f"arXiv:1512.00567; the numbers are {OURS}",
        evidence.curves(
            record, ("train_accuracy", "validation_accuracy"), y_label="accuracy", level=UNDERFIT, level_name="low"
        ),
    )


def low(record: RunRecord) -> bool:
    """Return whether the net classifies few of its training images correctly, or training broke down."""
    if record.status == "diverged" or not record.history:
        return bool(record.history) or record.status == "diverged"
    scored = record.train.accuracy if record.train is not None else record.history[-1].train_accuracy
    return scored < UNDERFIT or not math.isfinite(record.history[-1].train_loss)


def _reached(record: RunRecord) -> str:
    if record.train is None:
        return f"While training {100 * record.history[-1].train_accuracy:.1f} % of the images are classified correctly."
    if not low(record):
        return "Training went well all the same; a usual value may do better."
    return f"Only {100 * record.train.accuracy:.1f} % of the training images are classified correctly."


def _decay(record: RunRecord) -> Suspect | None:
    if _is_probe(record):
        return None
    optim = record.recipe.optim
    decay, steps = optim.weight_decay, max([1, *(row.step for row in record.history)])
    if isinstance(optim, Muon):  # a share of a weight a step, whatever the rate
        bound, a_step, usual = DECAY, decay, 0.0005
    elif isinstance(optim, AdamW):
        bound, a_step, usual = DECOUPLED, optim.lr * decay, 0.01
    elif isinstance(optim, SGD):
        together = min(1 / max(1e-9, 1 - optim.momentum), steps)
        bound, a_step, usual = DECAY, optim.lr * decay * together, 0.0005
    else:  # Adam and RMSprop divide the decay by the size of the gradients: any of this size outweighs them
        bound, a_step, usual = DECAY, decay, 0.0005
    if decay < bound or optim.lr >= cures.LARGEST_RATE:  # such a rate is to blame
        return None
    if a_step <= DECAY_A_STEP or a_step * steps < DECAY_IN_ALL:
        return None
    text = (
        f"A weight decay of {decay:g} pulls every weight towards zero (about {100 * min(a_step, 1):.2g} % a step), "
        f"faster than the gradients can build it up; {usual:g} is usual for this optimiser."
    )
    return Suspect(decay / bound, f"a weight decay of {decay:g}", text, f"--set optim.weight_decay={usual:g}")


def _is_probe(record: RunRecord) -> bool:
    """Return whether a head alone is trained on the features of a frozen net, for which strong L2 is usual.

    Kornblith et al. 2019, arXiv:1805.08974, fitted such heads with an L2 penalty chosen over many powers of ten.
    """
    training = record.recipe.training
    return training.freeze == "backbone" and not training.unfreeze_epochs


def _dropout(record: RunRecord) -> Suspect | None:
    shares = _dropouts(record)
    several = [p for p in shares if p >= IN_A_ROW]
    share, kept = max(shares, default=0.0), math.prod(1 - p for p in several)
    if share > DROPOUT:
        text = (
            f"Dropout of {share:g} passes on only {100 * (1 - share):.0f} % of a layer's units at each step: too few "
        )
        text += "to learn from."
        return Suspect((1 - DROPOUT) / (1 - share), f"a dropout of {share:g}", text, _less_dropout(record, DROPOUT))
    if kept >= LEAST_KEPT:
        return None
    text = (
        f"Dropout of {', '.join(f'{p:g}' for p in several)} in {len(several)} layers, one after the other, leaves "
        f"only {100 * kept:.2g} % of the paths through them at each step: too few to learn from."
    )
    name = f"dropout in {len(several)} layers"
    return Suspect(LEAST_KEPT / kept, name, text, _less_dropout(record, IN_A_ROW - 1e-9))


def _dropouts(record: RunRecord) -> list[float]:
    """Return the probabilities of all dropout layers: by the recipe, or of a net of the user's own, of its layers."""
    model = record.recipe.model
    if isinstance(model, Plain):
        return [*model.dropout, model.feature_dropout]
    if isinstance(model, MixConv):
        return [model.dropout] * len(model.channels)
    if isinstance(model, Layered):
        return [layer.dropout for layer in model.linears]
    rows = [row.detail for row in record.model.layers if "Dropout" in row.kind]
    return [float(number) for detail in rows for number in re.findall(r"p ?=? ?(0?\.\d+)", detail)]


def _less_dropout(record: RunRecord, bound: float) -> str | None:
    """Return the recipe's dropouts above a bound at a usual value; None for a net of the user's own."""
    model, usual = record.recipe.model, USUAL_DROPOUT
    changes = []
    if isinstance(model, Plain):
        if max(model.dropout, default=0) > bound:
            changes.append(f"model.dropout='{json.dumps([min(p, usual) for p in model.dropout])}'")
        if model.feature_dropout > bound:
            changes.append(f"model.feature_dropout={usual:g}")
    if isinstance(model, MixConv):
        changes.append(f"model.dropout={usual:g}")
    if isinstance(model, Layered):
        changes += [f"model.linears.{i}.dropout={usual:g}" for i, x in enumerate(model.linears) if x.dropout > bound]
    return " ".join(f"--set {change}" for change in changes) or None


def _clipping(record: RunRecord) -> Suspect | None:
    clip, optim = record.recipe.training.clip_norm, record.recipe.optim
    if clip is None or clip >= CLIP:
        return None
    if isinstance(optim, SGD | Muon):
        rates = [row.learning_rate for row in record.history]
        steps = record.history[-1].step / max(1, len(rates)) if rates else 0
        reach = clip * sum(rates) * steps / (1 - optim.momentum)
        if reach > REACH:
            return None
        said = f"all steps together can move the weights by at most {reach:.2g}"
    else:  # Adam and RMSprop divide by the size of the gradients, until that is near their eps
        element = clip / math.sqrt(max(1, record.model.parameters))
        if element > TINY * max(1.0, optim.eps / 1e-8):
            return None
        said = f"an element of about {element:.0e} is no longer large beside the optimiser's eps, {optim.eps:g}"
    text = f"Gradients are clipped to a norm of {clip:g}, far below the usual 1: {said}."
    return Suspect(CLIP / clip, f"clipping to {clip:g}", text, "--set training.clip_norm=1.0")


def _smoothing(record: RunRecord) -> Suspect | None:
    smoothing, classes = record.recipe.training.label_smoothing, len(record.data.classes)
    if smoothing < SMOOTHING:
        return None
    most = 1 - smoothing + smoothing / classes
    text = (
        f"Label smoothing of {smoothing:g} asks for a probability of only {100 * most:.0f} % for the right class, so "
        "the net's probabilities say little; 0.1 is usual."
    )
    return Suspect(
        smoothing / SMOOTHING, f"label smoothing of {smoothing:g}", text, "--set training.label_smoothing=0.1"
    )


def strong_augmentation(record: RunRecord) -> Finding | None:
    """Augmentation that leaves little of an image, in a training that stays low or far below its own net's score."""
    found = [(one, said) for one in record.recipe.augment.train if (said := _hides(one, record.data.image_size))]
    if not found or not record.history or not (low(record) or _harder(record)):
        return None
    text = (
        f"{' '.join(said for _, said in found)} {_reached(record)} Weaken it, so that an image still shows its class."
    )
    return warning(
        "strong-augmentation",
        "Augmentation is too strong",
        text,
        _weaker(record, [one for one, _ in found]),
        f"a cutout of over {100 * COVERED:.0f} % or padding of over {100 * PADDED:.0f} % of the side, windows of less "
        f"than {100 * WINDOW:.0f} % of the area, or rotations beyond {TURNED:g} degrees, while training accuracy is "
        f"below {100 * UNDERFIT:.0f} %, or, while training, 20 points below that of the same images unchanged",
        f"DeVries & Taylor 2017, arXiv:1708.04552, figure 3: too large a square hurts; Szegedy et al. 2015, "
        f"arXiv:1409.4842: windows of 8 to 100 % of the area; the other numbers are {OURS}",
        evidence.curves(record, ("train_accuracy", "validation_accuracy"), y_label="accuracy"),
    )


def _harder(record: RunRecord) -> bool:
    """Return whether augmented images are far harder for the kept net than the same images without augmentation."""
    if record.train is None or record.best_epoch is None or record.best_epoch > len(record.history):
        return False
    return as_visited(record, record.train)[0] - record.history[record.best_epoch - 1].train_accuracy > 0.2


def _hides(augment: AnyAugment, side: int) -> str:
    """Say how an augmentation hides an image; "" where it does not."""
    if isinstance(augment, Cutout) and augment.size >= COVERED * side and augment.p >= 0.5:
        return f"Cutout blanks a square of {augment.size} pixels in images of {side}."
    if isinstance(augment, Crop) and augment.padding > PADDED * side:
        return f"Crops are moved by up to {augment.padding} pixels in images of {side}: often little of one is left."
    if isinstance(augment, ResizedCrop) and augment.area < WINDOW:
        return f"Windows may be only {100 * augment.area:.2g} % of an image's area: often little of it is left."
    if isinstance(augment, Rotate) and augment.degrees > TURNED:
        return f"Images are turned by up to {augment.degrees:g} degrees."
    return ""


def _weaker(record: RunRecord, strong: list[AnyAugment]) -> str:
    """Return the augmentations with the strong ones at a usual strength."""
    side = record.data.image_size
    usual = {
        Cutout: ("size", max(1, side // 4)),
        Crop: ("padding", max(1, side // 8)),
        ResizedCrop: ("area", ResizedCrop().area),
        Rotate: ("degrees", Rotate().degrees),
    }
    weaker = []
    for one in record.recipe.augment.train:
        field, value = usual.get(type(one), ("", 0))
        weaker.append(msgspec.structs.replace(one, **{field: value}) if one in strong else one)
    return cures.augments(weaker)
