"""A net of two parts: a body from images to features, often pretrained, and a new head from features to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from rungs.errors import UserError, did_you_mean
from rungs.models.efficientnet_lite import EfficientNetLite
from rungs.models.resnet import resnet18
from rungs.models.timm_body import TimmBody

SEEN = 256
"""Images by which features are standardised: a standard deviation is then known to about 5 %."""
LEAST_STD = 0.1
"""Of a feature, as a share of the mean over all: one that is rarely active would otherwise swamp the others."""


class Body(Protocol):
    """What a body has, besides being a module."""

    num_features: int

    def __call__(self, x: Tensor) -> Tensor:
        """Map normalised float (B, 3, H, W) to pooled features (B, num_features)."""

    def stages(self) -> list[list[nn.Module]]:
        """Return its layers in groups, from the input."""


@dataclass(frozen=True)
class Input:
    """The images that a net was pretrained on: height and width in pixels, and how pictures become them.

    `mean` and `std` are per channel, of pixels in [0, 1]; `crop` is the share of a picture's shorter side that is kept.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    crop: float


@dataclass(frozen=True)
class Architecture:
    """A body of ours, and the images that its published weights were trained on."""

    make: Callable[[], Body]
    input: Input


def _lite(width: float, depth: float, image_size: int) -> Architecture:
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    crop = image_size / (image_size + 32)  # as TensorFlow's models crop: all but a border of 32 of these pixels
    make = partial(EfficientNetLite, width=width, depth=depth)
    return Architecture(make, Input(image_size, mean, std, "bicubic", crop))


ARCHITECTURES: dict[str, Architecture] = {
    "efficientnet-lite0": _lite(1.0, 1.0, 224),
    "efficientnet-lite1": _lite(1.0, 1.1, 240),
    "efficientnet-lite2": _lite(1.1, 1.2, 260),
    "resnet18": Architecture(
        partial(resnet18, stem="imagenet", width=64, image_size=224, classes=None),
        Input(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", 224 / 256),  # torchvision's
    ),
}


def build_body(architecture: str, image_size: int | None = None) -> Body:
    """Build a body with random weights.

    Args:
        architecture: One of `ARCHITECTURES`, or "timm:NAME".
        image_size: Height and width of the images in pixels.

    Raises:
        UserError: No such architecture, or a net of timm without timm, or with images of a size that it cannot take.
    """
    if architecture.startswith("timm:"):
        return TimmBody(architecture.removeprefix("timm:"), image_size=image_size)
    if architecture not in ARCHITECTURES:
        do = did_you_mean(architecture, list(ARCHITECTURES))
        raise UserError(f"no architecture {architecture!r}", where="model.architecture", do=do)
    return ARCHITECTURES[architecture].make()


class Standardize(nn.Module):
    """`(x - mean) / std` of each feature; both are buffers, and so saved with the weights. At first it does nothing."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, F) to the same shape."""
        return (x - self.mean) / self.std


class Head(nn.Module):
    """From a body's features to logits: standardised, then dropout and a linear layer."""

    def __init__(self, features: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.standardize = Standardize(features)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, F) to logits (B, K)."""
        return self.linear(self.dropout(self.standardize(features)))  # type: ignore[no-any-return]


class BackboneNet(nn.Module):
    """A body, and a head that standardises its features; then dropout and a linear layer.

    Args:
        body: From images to features.
        dropout: Probability, before the linear layer.
        pretrained: Whether the body's features mean something before training: only then they are standardised.
        classes: Number of logits.
    """

    sees = SEEN

    def __init__(self, body: Body, *, dropout: float, pretrained: bool, classes: int) -> None:
        super().__init__()
        self.body: Body = body
        self.head = Head(body.num_features, dropout, classes)
        self.pretrained = pretrained

    def features(self, x: Tensor) -> Tensor:
        """Map normalised float (B, 3, H, W) to the body's features (B, F), as they are before the head."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised float (B, 3, H, W) to logits (B, K)."""
        return self.head(self.features(x))  # type: ignore[no-any-return]

    def stages(self) -> list[list[nn.Module]]:
        """Return all layers with weights in groups, from the input; the last group is the head."""
        return [*self.body.stages(), [self.head]]

    def see(self, images: Tensor) -> None:
        """Standardise the features by those of some training images, normalised (N, 3, H, W)."""
        if not self.pretrained:
            return
        was_training = self.training
        self.eval()
        with torch.no_grad():
            self.standardize_by(torch.cat([self.features(batch) for batch in torch.split(images, 32)]))
        self.train(was_training)

    def standardize_by(self, features: Tensor) -> None:
        """Standardise the features by the mean and standard deviation of these, (N, F)."""
        std = features.std(0, correction=0)
        self.head.standardize.mean.copy_(features.mean(0))
        self.head.standardize.std.copy_(std.clamp_min(max(LEAST_STD * std.mean().item(), 1e-6)))

    def draw_layer(self, layer: nn.Conv2d | nn.Linear) -> None:
        """Draw initial weights as the body does, where it has a rule; PyTorch's default for the rest."""
        draw = getattr(self.body, "draw_layer", None)
        if draw is None or layer is self.head.linear:
            layer.reset_parameters()
        else:
            draw(layer)
