"""What a recipe can say: frozen typed structs, one per choice, every default in sight; `rungs.recipe` reads them.

A struct with a `name` is one alternative of a family (a model, an optimiser, an augmentation, a schedule); its other
fields are the keyword arguments of the thing it names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

Positive: TypeAlias = Annotated[float, Meta(gt=0, le=1e100)]  # finite
NonNegative: TypeAlias = Annotated[float, Meta(ge=0, le=1e100)]
Epochs: TypeAlias = Annotated[float, Meta(ge=0, le=1e6)]
Name: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]*$", max_length=80)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Below1: TypeAlias = Annotated[float, Meta(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
CountOrZero: TypeAlias = Annotated[int, Meta(ge=0)]
ImageSize: TypeAlias = Annotated[int, Meta(ge=8, le=1024)]
Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)] | Annotated[int, Meta(ge=0)]  # a fraction, or a number of images


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all structs of a recipe: immutable, and an unknown field is an error."""


class DataSpec(Spec, frozen=True):
    """Which images, how large, and how they are divided.

    `image_size` in pixels (square); without one, the source's own size where all its images share one, else 64.
    `validation` and then `train` are cut from the source's training images, stratified by class, by the recipe's seed;
    without `train`, all the rest. `test` is cut only where the source has no test set of its own. A source's own
    validation set is used as it is.
    """

    source: str = "cifar10"
    image_size: ImageSize | None = None
    train: Share | None = None
    validation: Share = 0.1
    test: Share = 0.1


# --- augmentations: functions on a batch of float images in [0, 1] -----------------------------------


class Augment(Spec, tag_field="name", frozen=True):
    """One augmentation; they are applied in the order of the list."""


class Crop(Augment, tag="crop", frozen=True):
    """Pad by `padding` pixels on each side, then cut a random window of the old size."""

    padding: Count = 4
    mode: Literal["zero", "reflect"] = "zero"


class Flip(Augment, tag="flip", frozen=True):
    """Mirror left-right with probability `p`; alternating: half of the images in even epochs, the others in odd."""

    p: Probability = 0.5
    alternating: bool = False


class Rotate(Augment, tag="rotate", frozen=True):
    """Turn by an angle uniform in [-degrees, degrees], bilinear, zeros outside."""

    degrees: Annotated[float, Meta(ge=0, le=180)] = 15.0


class Greyscale(Augment, tag="greyscale", frozen=True):
    """Replace the colours by their luminance (ITU-R BT.601) with probability `p`."""

    p: Probability = 0.1


class ColourJitter(Augment, tag="colour-jitter", frozen=True):
    """Scale brightness, contrast and saturation by factors uniform in [1-v, 1+v]; turn the hue by up to `hue` turns."""

    brightness: Probability = 0.2
    contrast: Probability = 0.2
    saturation: Probability = 0.2
    hue: Annotated[float, Meta(ge=0, le=0.5)] = 0.0


class Cutout(Augment, tag="cutout", frozen=True):
    """Blank a square of `size` pixels at a random centre with probability `p`."""

    size: Count = 8
    p: Probability = 1.0


class Mixup(Augment, tag="mixup", frozen=True):
    """Blend each image and label with another's, weight from Beta(alpha, alpha), with probability `p` a batch."""

    alpha: Positive = 0.2
    p: Probability = 1.0


class CutMix(Augment, tag="cutmix", frozen=True):
    """Paste a rectangle of another image, labels mixed by area, with probability `p` a batch."""

    alpha: Positive = 1.0
    p: Probability = 1.0


AnyAugment: TypeAlias = Crop | Flip | Rotate | Greyscale | ColourJitter | Cutout | Mixup | CutMix


class AugmentSpec(Spec, frozen=True):
    """What is done to the images of training, and (rarely, to repeat what others did) of validation."""

    train: tuple[AnyAugment, ...] = ()
    validation: tuple[AnyAugment, ...] = ()


# --- models -----------------------------------------------------------------------------------------


class Plain(Spec, tag="plain", tag_field="name", frozen=True):
    """Stages of [conv, (BatchNorm,) ReLU] x n then a 2x2 max pool; then fully connected layers.

    `stages`: output channels of each convolution, a list per stage; `hidden`: sizes of the hidden fully connected
    layers; `dropout`: probability after each of these, `feature_dropout` before the first. `downsample` "stride"
    puts a stride of 2 into the last convolution of a stage in place of its pool.
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
    """A convolution and what follows it; `norm` says on which side of the activation a BatchNorm stands.

    `pool` is 2x2, stride 2. The order is conv, (norm), activation, pool, (norm).
    """

    channels: Count
    kernel_size: Count = 3
    stride: Count = 1
    padding: CountOrZero = 0
    pool: Literal["none", "max", "average"] = "none"
    activation: Activation = "relu"
    norm: NormPlace = "none"
    affine: bool = True  # whether the BatchNorm learns a scale and an offset


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
    """Blocks of convolutions that all see the block's input, added up with weights that depend on the image.

    `channels`: of each block; `convs`: convolutions in each block; `combine`: "mix" adds them with the weights that a
    linear layer gives to the input's channel means, "mix-softmax" makes these sum to 1, "sequence" puts the
    convolutions one after the other; `dropout` after each block; `pool`: a 2x2 max pool after each block; `head`:
    what becomes of the last map; `hidden`: sizes of the hidden fully connected layers.
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
    """The net of the CIFAR-10 speedruns: patches whitened, then three groups of convolutions.

    `widths`: channels of the groups; `depth`: convolutions in each; `patch`: pixels a side of the whitened patches;
    `norm_memory`: the share of its running statistics that a BatchNorm keeps at each step.
    """

    widths: tuple[Count, Count, Count] = (64, 256, 256)
    depth: Annotated[int, Meta(ge=2, le=8)] = 2
    patch: Annotated[int, Meta(ge=1, le=8)] = 2
    norm_memory: Below1 = 0.6


AnyModel: TypeAlias = Plain | Layered | MixConv | ResNet18 | Speedrun

# --- optimisers -------------------------------------------------------------------------------------


class Optimizer(Spec, tag_field="name", frozen=True):
    """What all optimisers share. Weight decay spares biases and norms unless `decay_all`."""

    lr: Positive
    weight_decay: NonNegative = 0.0
    decay_all: bool = False


class SGD(Optimizer, tag="sgd", frozen=True):
    """Stochastic gradient descent with momentum."""

    momentum: Below1 = 0.0
    nesterov: bool = False


class Adam(Optimizer, tag="adam", frozen=True):
    """Adam; its weight decay is an L2 term in the gradient."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    eps: Positive = 1e-8


class AdamW(Optimizer, tag="adamw", frozen=True):
    """Adam with decoupled weight decay."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    eps: Positive = 1e-8


class RMSprop(Optimizer, tag="rmsprop", frozen=True):
    """RMSprop."""

    alpha: Below1 = 0.99
    eps: Positive = 1e-8
    momentum: Below1 = 0.0


class Muon(Optimizer, tag="muon", frozen=True):
    """Muon for the kernels of convolutions, at the rate `lr`; SGD with Nesterov's momentum for everything else.

    `head_lr` is the rate of the last linear layer's weights, `bias_lr` that of biases and norms; the schedule scales
    all three. `weight_decay` is of these two alone (a kernel's norm is fixed): the share of a weight that a step at
    the full rate takes away, however large that rate is. `ns_steps`: Newton-Schulz steps.
    """

    momentum: Below1 = 0.6
    ns_steps: Annotated[int, Meta(ge=1, le=20)] = 3
    head_lr: Positive = 0.001
    bias_lr: Positive = 0.001
    sgd_momentum: Below1 = 0.85


AnyOptimizer: TypeAlias = SGD | Adam | AdamW | RMSprop | Muon

# --- schedules: factors on the learning rate ----------------------------------------------------------


class Schedule(Spec, tag_field="name", frozen=True):
    """What all schedules share: a linear warm-up in front, counted in epochs (fractions allowed)."""

    warmup_epochs: Epochs = 0.0


class Constant(Schedule, tag="constant", frozen=True):
    """The base rate throughout."""


class Step(Schedule, tag="step", kw_only=True, frozen=True):
    """Multiply by `gamma` at each of the `milestones`, in epochs from the start."""

    milestones: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    gamma: Positive = 0.1


class Cosine(Schedule, tag="cosine", frozen=True):
    """Half a cosine from 1 to `final` (a fraction of the base rate)."""

    final: NonNegative = 0.0


class Linear(Schedule, tag="linear", frozen=True):
    """A straight line from 1 to `final`."""

    final: NonNegative = 0.0


class OneCycle(Schedule, tag="one-cycle", frozen=True):
    """Cosine up from `start` to 1 over the share `rise` of the training, cosine down to `final`."""

    rise: Annotated[float, Meta(gt=0, lt=1)] = 0.3
    start: NonNegative = 0.04
    final: NonNegative = 0.0001


class Plateau(Schedule, tag="plateau", frozen=True):
    """Multiply by `factor` after more than `patience` epochs without a gain, as torch's ReduceLROnPlateau counts."""

    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    patience: CountOrZero = 3
    min_delta: NonNegative = 0.0


AnySchedule: TypeAlias = Constant | Step | Cosine | Linear | OneCycle | Plateau

# --- training, stopping, evaluation -------------------------------------------------------------------


class TrainingSpec(Spec, frozen=True):
    """How long, in what batches (of all ranks together), and how each step is taken.

    `loss`: "cross-entropy" of the logits; "nll", the same written as log-softmax and negative log likelihood;
    "softmax-cross-entropy", a softmax too many: it cannot fall below ln(1 + (K - 1) / e), 1.461 for 10 classes.
    `micro_batch`: images that go through the net at once; the gradients of a batch are added up, and a BatchNorm sees
    so many images. `image_sizes`: pixels a side in each epoch, where it is not always `data.image_size`: small images
    cost less, and a net learns most of what it knows from them. `compile`: whether torch.compile translates the net;
    "auto" tries it where the run is long enough to repay the minute that it costs; "cuda-graphs" also replays a
    step's kernels on a GPU without waiting for Python.
    """

    epochs: Count
    batch_size: Annotated[int, Meta(ge=2)]
    micro_batch: Annotated[int, Meta(ge=2)] | None = None
    image_sizes: tuple[ImageSize, ...] = ()
    loss: Literal["cross-entropy", "nll", "softmax-cross-entropy"] = "cross-entropy"
    label_smoothing: Below1 = 0.0
    clip_norm: Positive | None = None
    ema_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    compile: Literal["auto", "no", "yes", "cuda-graphs"] = "auto"


class StoppingSpec(Spec, frozen=True):
    """Which value of the validation chooses the best epoch, and after how many epochs without gain to stop."""

    monitor: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    patience: Count | None = None
    min_delta: NonNegative = 0.0


class EvaluationSpec(Spec, frozen=True):
    """How the finished net is scored.

    `watch_test` also scores the test set after every epoch, to show what a maximum over epochs flatters; nothing is
    ever chosen by it. `tta`, test-time augmentation, scores the finished net a second time: over each image and its
    mirror image, or also over both moved by a pixel. `tta_share`: of the images, those that the net is least sure of.
    """

    batch_size: Count = 250
    tta: Literal["none", "mirror", "mirror-translate"] = "none"
    tta_share: Probability = 1.0
    mistakes: CountOrZero = 24
    score_train: bool = True
    watch_test: bool = False


Metric: TypeAlias = Literal[
    "train_accuracy", "validation_accuracy", "test_accuracy", "validation_loss",
    "highest_train_accuracy", "highest_test_accuracy", "parameters",
]  # fmt: skip


class Claim(Spec, frozen=True):
    """A number that somebody else published for this recipe; accuracies as fractions of 1.

    "highest" is the maximum over the epochs, of training as it ran or of a watched test set. `tolerance` is how far
    an "about" reaches to either side.
    """

    metric: Metric
    value: float
    source: str
    tolerance: NonNegative = 0.0


class Recipe(Spec, kw_only=True, frozen=True):
    """One training, completely. The first five fields say where it comes from and change nothing in it."""

    name: Name  # of its folder, too
    about: str = ""
    source: str = ""
    assumptions: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    seed: CountOrZero = 0
    data: DataSpec = DataSpec()
    augment: AugmentSpec = AugmentSpec()
    model: AnyModel
    optim: AnyOptimizer
    schedule: AnySchedule = Constant()
    training: TrainingSpec
    stopping: StoppingSpec = StoppingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()


def name_of(spec: Spec | type[Spec]) -> str:
    """Return the name that a recipe gives to one alternative of a family; "" for a struct that is none."""
    return str(spec.__struct_config__.tag or "")


def alternatives(family: Any) -> dict[str, type[Spec]]:
    """Return the structs of a family such as `AnyModel`, by the name that a recipe gives them."""
    return {name_of(kind): kind for kind in get_args(family)}
