"""Models: the nets that a recipe can choose."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from rungs.recipe.base import Below1, Count, CountOrZero, Spec, role
from rungs.recipe.own import Own


class Plain(Spec, tag="plain", tag_field="name", frozen=True):
    """Stages of [conv, (BatchNorm,) ReLU] x n then a 2x2 max pool; then fully connected layers.

    `stages`: output channels of each convolution, a list per stage; `hidden`: sizes of the hidden fully connected
    layers; `dropout`: probability after each of these, `feature_dropout` before the first. `downsample` "stride"
    gives the last convolution of a stage a stride of 2 instead of a pool.
    """

    stages: Annotated[tuple[Annotated[tuple[Count, ...], Meta(min_length=1)], ...], Meta(min_length=1)]
    hidden: tuple[Count, ...] = ()
    dropout: tuple[Below1, ...] = ()
    kernel_size: Count = 3
    batch_norm: bool = False
    padding: Literal["same", "none"] = "same"
    dilation: Count = 1
    downsample: Literal["pool", "stride"] = "pool"
    feature_dropout: Below1 = 0.0


Activation: TypeAlias = Literal["none", "relu", "sigmoid"]
NormPlace: TypeAlias = Literal["none", "before", "after"]


class ConvLayer(Spec, frozen=True):
    """A convolution and what follows it; `norm` places a BatchNorm before or after the activation.

    `pool` is 2x2, stride 2. The order is conv, (norm), activation, pool, (norm).
    """

    channels: Count
    kernel_size: Count = 3
    stride: Count = 1
    padding: CountOrZero = 0
    pool: Literal["none", "max", "average"] = "none"
    activation: Activation = "relu"
    norm: NormPlace = "none"
    affine: bool = True  # whether the BatchNorm learns a scale and a shift


class LinearLayer(Spec, frozen=True):
    """A hidden fully connected layer and what follows it: linear, (norm), activation, (norm), dropout."""

    features: Count
    activation: Activation = "relu"
    norm: NormPlace = "none"
    affine: bool = True
    dropout: Below1 = 0.0


class Layered(Spec, tag="layered", tag_field="name", frozen=True):
    """Convolutions, then fully connected layers, each written out with what follows it."""

    convs: Annotated[tuple[ConvLayer, ...], Meta(min_length=1)]
    linears: tuple[LinearLayer, ...] = ()


class MixConv(Spec, tag="mixconv", tag_field="name", frozen=True):
    """Blocks of parallel convolutions on the block's input, summed with weights that depend on the image.

    `channels`: of each block; `convs`: convolutions in each block; `combine`: "mix" adds them with the weights that a
    linear layer gives to the input's channel means, "mix-softmax" makes these sum to 1, "sequence" chains the
    convolutions; `dropout` after each block; `pool`: a 2x2 max pool after each block, as long as the map is larger than
    a pixel; `head`: how the last feature map becomes a vector; `hidden`: sizes of the hidden fully connected layers.
    """

    channels: Annotated[tuple[Count, ...], Meta(min_length=1)]
    convs: Annotated[tuple[Count, ...], Meta(min_length=1)]
    combine: Literal["mix", "mix-softmax", "sequence"] = "mix"
    kernel_size: Count = 3
    batch_norm: bool = False
    activation: Activation = "relu"
    dropout: Below1 = 0.0
    pool: bool = False
    head: Literal["average", "flatten"] = "average"
    hidden: tuple[Count, ...] = ()


class ResNet18(Spec, tag="resnet18", tag_field="name", frozen=True):
    """ResNet-18; `stem` "imagenet" is 7x7 stride 2 and a max pool (for 224 px), "cifar" is 3x3 stride 1 (for 32 px)."""

    stem: Literal["imagenet", "cifar"] = "imagenet"
    width: Count = 64


class Speedrun(Spec, tag="speedrun", tag_field="name", frozen=True):
    """The net of the CIFAR-10 speedruns: whitened patches, then three groups of convolutions.

    `widths`: channels of the groups; `depth`: convolutions in each; `patch`: side of the whitened patches in pixels;
    `patterns`: how many of their 3 * patch^2 principal components are kept, those of most variance; `stride`: 2 takes a
    patch at every second pixel, instead of the first group's first convolution and pool; `norm_memory`: the share of
    its running statistics that a BatchNorm keeps at each step.
    """

    widths: tuple[Count, Count, Count] = (64, 256, 256)
    depth: Literal[2, 3] = 2
    patch: Annotated[int, Meta(ge=1, le=8)] = 2
    patterns: Count | None = None
    stride: Literal[1, 2] = 1
    norm_memory: Below1 = 0.6


class Backbone(Spec, tag="backbone", tag_field="name", frozen=True):
    """A pretrained net with a new head: its pooled features, standardised, then dropout and a linear layer.

    `weights`: "efficientnet-lite0" or "efficientnet-lite2" (extra photos), "file:PATH" (safetensors or a state dict),
    "timm:NAME" or "hub:OWNER/NAME" (extra models). `pretrained` false keeps the architecture and draws its weights.
    `architecture` and `sha256`, of the file of weights, are filled in by a run; other weights are then refused.
    """

    weights: str = "efficientnet-lite2"
    dropout: Below1 = 0.0
    pretrained: bool = True
    architecture: Annotated[str, role("resolved")] = ""
    sha256: Annotated[str, role("resolved")] = ""


AnyModel: TypeAlias = Plain | Layered | MixConv | ResNet18 | Speedrun | Backbone | Own
