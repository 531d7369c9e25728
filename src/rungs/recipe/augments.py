"""Augmentations: functions on a batch of float images in [0, 1]."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from rungs.recipe.base import Count, Positive, Probability, Spec, role


class Augment(Spec, tag_field="name", frozen=True):
    """One augmentation; they are applied in the order of the list."""


class Crop(Augment, tag="crop", frozen=True):
    """Pad by `padding` pixels on each side, then crop a random window of the original size."""

    padding: Count = 4
    mode: Literal["zero", "reflect"] = "zero"


class ResizedCrop(Augment, tag="resized-crop", frozen=True):
    """Crop a random window and enlarge it to the whole image, bilinear (Szegedy et al. 2015, arXiv:1409.4842).

    The window covers `area` to 1 of the image, uniformly drawn, and its shape differs from the image's by a factor of
    up to `stretch`; a side that would be longer than the image's is cut off.
    """

    area: Annotated[float, Meta(gt=0, le=1)] = 0.35
    stretch: Annotated[float, Meta(ge=1)] = 4 / 3


class Flip(Augment, tag="flip", frozen=True):
    """Mirror left-right with probability `p`; alternating: half of the images in even epochs, the others in odd."""

    p: Probability = 0.5
    alternating: bool = False


class Rotate(Augment, tag="rotate", frozen=True):
    """Rotate by an angle uniform in [-degrees, degrees], bilinear, zeros outside."""

    degrees: Annotated[float, Meta(ge=0, le=180)] = 15.0


class Greyscale(Augment, tag="greyscale", frozen=True):
    """Replace the colours with their luminance (ITU-R BT.601) with probability `p`."""

    p: Probability = 0.1


class ColourJitter(Augment, tag="colour-jitter", frozen=True):
    """Scale brightness, contrast and saturation by factors uniform in [1-v, 1+v]; shift hue by up to `hue` turns."""

    brightness: Probability = 0.2
    contrast: Probability = 0.2
    saturation: Probability = 0.2
    hue: Annotated[float, Meta(ge=0, le=0.5)] = 0.0


class Cutout(Augment, tag="cutout", frozen=True):
    """Blank a square of `size` pixels at a random centre with probability `p`."""

    size: Count = 8
    p: Probability = 1.0


class Mixup(Augment, tag="mixup", frozen=True):
    """Blend each image and label with another's, by a Beta(alpha, alpha) weight; probability `p` per batch."""

    alpha: Positive = 0.2
    p: Probability = 1.0


class CutMix(Augment, tag="cutmix", frozen=True):
    """Paste a rectangle of another image, labels mixed by area, with probability `p` per batch."""

    alpha: Positive = 1.0
    p: Probability = 1.0


AnyAugment: TypeAlias = Crop | ResizedCrop | Flip | Rotate | Greyscale | ColourJitter | Cutout | Mixup | CutMix


class AugmentSpec(Spec, frozen=True):
    """Augmentations of the training images and (rarely, to reproduce published work) of the validation images."""

    train: tuple[AnyAugment, ...] = ()
    validation: Annotated[tuple[AnyAugment, ...], role("images")] = ()
