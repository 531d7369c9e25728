"""The structs of a recipe: frozen and typed, one per choice, with all defaults; `rungs.recipe.toml` reads them.

A struct with a `name` is one alternative of a family (a model, an optimiser, an augmentation, a schedule); its other
fields are the keyword arguments of the thing it names.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from rungs.recipe.augments import AugmentSpec
from rungs.recipe.base import (
    Below1,
    Count,
    CountOrZero,
    ImageSize,
    Name,
    NonNegative,
    Positive,
    Probability,
    Share,
    Spec,
    role,
)
from rungs.recipe.groups import AnyGroups
from rungs.recipe.models import AnyModel
from rungs.recipe.optimizers import AnyOptimizer, AnySchedule, Constant

Layout: TypeAlias = Literal["auto", "class", "part/class", "class/part"]
"""What the folders of a source stand for, from the top: a class, or a part (train, validation, test) and a class."""

PerChannel: TypeAlias = tuple[float, float, float]
"""A number for each of red, green and blue, of pixels in [0, 1]."""

ClassWeights: TypeAlias = Annotated[tuple[Positive, ...], Meta(min_length=2)]
"""A number for each class."""


class DataSpec(Spec, frozen=True):
    """Which images, how large, and how they are split.

    `image_size` in pixels (square); without one, the source's own size where all its images share one, else 64.
    `validation` and then `train` are cut from the source's training images, stratified by class, by the recipe's seed;
    without `train`, all the rest. `test` is cut only where the source has no test set of its own. A source's own
    validation set is used unchanged. `balance`: "sampling" draws each epoch so that all classes are equally frequent
    in it; an epoch stays as long as it is, so images of small classes come several times and some of large ones not.

    How a picture becomes the net's input: `interpolation` resizes it, `crop` is the share of the shorter side that the
    centre square keeps, `mean` and `std` normalise it. A pretrained backbone sets them where a recipe does not; for
    other nets they are "bicubic", 1, and those of the training images.

    `cache_gb`: the GB that decoded images may take in the cache before the least recently used sets are removed; by
    default the variable RUNGS_CACHE_GB, else a quarter of the disk space that is free or taken by the cache.

    How a source is read: `layout` of a folder, "auto" to find it out; `image_column` and `label_column` of a table.

    `groups`: images that must stay in one part; by default near duplicates, except in a published data set. `folds`:
    cross-validation, each image tested once by a net that was not trained on it; `fold`, counted from 0, is the one
    that a run tests.
    """

    source: Annotated[str, role("place", "images")] = "cifar10"
    image_size: Annotated[ImageSize | None, role("resolved", "images")] = None
    train: Share | None = None
    validation: Annotated[Share, role("images", "judge")] = 0.1
    test: Annotated[Share, role("test set", "judge")] = 0.1
    balance: Annotated[Literal["none", "sampling"], role("newer")] = "none"
    interpolation: Annotated[Literal["bicubic", "bilinear"] | None, role("resolved", "images", "newer")] = None
    crop: Annotated[Annotated[float, Meta(gt=0, le=1)] | None, role("resolved", "images", "newer")] = None
    mean: Annotated[PerChannel | None, role("resolved", "newer")] = None
    std: Annotated[tuple[Positive, Positive, Positive] | None, role("resolved", "newer")] = None
    layout: Annotated[Layout, role("images", "newer")] = "auto"
    image_column: Annotated[str | None, role("images", "newer")] = None
    label_column: Annotated[str | None, role("images", "newer")] = None
    groups: Annotated[AnyGroups | None, role("resolved", "images", "judge", "newer")] = None
    folds: Annotated[Annotated[int, Meta(ge=2, le=100)] | None, role("images", "judge", "newer")] = None
    fold: Annotated[CountOrZero | None, role("seed", "newer")] = None
    cache_gb: Annotated[Positive | None, role("speed")] = None


class TrainingSpec(Spec, frozen=True):
    """How long, in what batches (of all ranks together), and how each step is computed.

    `loss`: "cross-entropy" of the logits; "nll", the same written as log-softmax and negative log likelihood;
    "softmax-cross-entropy", which applies the softmax twice: it cannot fall below ln(1 + (K - 1) / e), 1.461 for 10
    classes. `class_weights`: how much an image counts in the loss, by its class: "balanced", N / (K n) for a class with
    n of N images, or a number for each class, of which only the ratios matter: an image counts 1 on average. One with a
    mixed label counts the mean of its classes. `micro_batch`: images per forward pass; the gradients of a batch are
    accumulated, and a BatchNorm sees this many images. `image_scales`: factors of `data.image_size` to which images are
    shrunk, each for an equal part of the epochs: small images cost less, and a net learns most from them. `compile`:
    whether torch.compile is used; "auto" tries it once a net and machine, for at most 5 % of the run's time, and uses
    it where that saves more than compiling takes; `cuda_graphs`: on one GPU a step's kernels are recorded once and then
    replayed without waiting for Python; no effect elsewhere. `convolution`, on a CPU: "winograd" computes all wide 3x3
    convolutions with a third of the multiplications, in fp32; "fast", or "auto", each convolution in the way that was
    measured to be fastest on this machine, Winograd's or another. All are equal up to rounding.

    Fine-tuning: `freeze` keeps weights as they begin: all but the head ("backbone"), or so many of the first stages.
    `unfreeze_epochs`: after so many epochs, each time, the last frozen stage begins to train, too (gradual unfreezing,
    Howard and Ruder 2018, arXiv:1801.06146). `head_epochs`: the head is first trained alone for so many epochs, on the
    features of images without augmentation (Kumar et al. 2022, arXiv:2202.10054). `frozen_norms`: BatchNorms keep their
    running statistics.
    """

    epochs: Count
    batch_size: Annotated[int, Meta(ge=2)]
    micro_batch: Annotated[int, Meta(ge=2)] | None = None
    image_scales: tuple[Annotated[float, Meta(gt=0, le=1)], ...] = ()
    loss: Annotated[Literal["cross-entropy", "nll", "softmax-cross-entropy"], role("loss")] = "cross-entropy"
    class_weights: Annotated[Literal["none", "balanced"] | ClassWeights, role("newer")] = "none"
    label_smoothing: Below1 = 0.0
    clip_norm: Positive | None = None
    ema_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    precision: Annotated[Literal["auto", "bf16", "fp32"], role("resolved")] = "auto"
    compile: Annotated[Literal["auto", "no", "yes"], role("resolved", "rounding")] = "auto"
    cuda_graphs: Annotated[bool, role("speed")] = True
    convolution: Annotated[Literal["auto", "direct", "winograd", "fast"], role("resolved", "rounding")] = "auto"
    freeze: Annotated[Literal["none", "backbone"] | Count, role("newer")] = "none"
    unfreeze_epochs: Annotated[tuple[Count, ...], role("newer")] = ()
    head_epochs: Annotated[CountOrZero, role("newer")] = 0
    frozen_norms: Annotated[bool, role("newer")] = False


class StoppingSpec(Spec, frozen=True):
    """Which validation metric chooses the best epoch, and after how many epochs without improvement to stop.

    `keep`: the weights of the best epoch, or of the last: with few validation images the best is luck.
    """

    monitor: Annotated[Literal["validation_loss", "validation_accuracy"], role("chooses")] = "validation_loss"
    keep: Annotated[Literal["best", "last"], role("chooses", "newer")] = "best"
    patience: Count | None = None
    min_delta: NonNegative = 0.0


class EvaluationSpec(Spec, frozen=True):
    """How the finished net is scored.

    `watch_test` also scores the test set after every epoch, to show how optimistic a maximum over epochs is; nothing
    is ever chosen by it. `tta`, test-time augmentation, scores the finished net a second time: over each image and its
    mirror image, or also over both moved by a pixel. `tta_share`: the share of images, those of lowest confidence.
    `score_test` false keeps the test set closed: the trials of a search are scored on validation only.
    """

    batch_size: Count = 250
    tta: Literal["none", "mirror", "mirror-translate"] = "none"
    tta_share: Probability = 1.0
    mistakes: CountOrZero = 24
    score_train: bool = True
    score_test: bool = True
    watch_test: bool = False


Metric: TypeAlias = Literal[
    "train_accuracy", "validation_accuracy", "test_accuracy", "test_tta_accuracy", "validation_loss",
    "highest_train_accuracy", "highest_test_accuracy", "parameters",
]  # fmt: skip


class Claim(Spec, frozen=True):
    """A number published elsewhere for this recipe; accuracies as fractions of 1.

    "highest" is the maximum over the epochs, of training as it ran or of a watched test set. `tolerance` is the
    half-width of an "about". `runs`: how many the value is the mean of. `change`: it is a difference to the rung that
    this one builds on, in a ladder.
    """

    metric: Metric
    value: float
    source: str
    tolerance: NonNegative = 0.0
    runs: Count = 1
    change: bool = False


class Recipe(Spec, kw_only=True, frozen=True):
    """One training run, fully specified. The first five fields describe where it comes from and do not affect it."""

    name: Annotated[Name, role("about")]  # also of its folder
    about: Annotated[str, role("about")] = ""
    source: Annotated[str, role("about")] = ""
    assumptions: Annotated[tuple[str, ...], role("about")] = ()
    claims: Annotated[tuple[Claim, ...], role("about")] = ()
    seed: Annotated[CountOrZero, role("seed")] = 0
    data: DataSpec = DataSpec()
    augment: AugmentSpec = AugmentSpec()
    model: AnyModel
    optim: AnyOptimizer
    schedule: AnySchedule = Constant()
    training: TrainingSpec
    stopping: StoppingSpec = StoppingSpec()
    evaluation: Annotated[EvaluationSpec, role("scores", "judge")] = EvaluationSpec()
