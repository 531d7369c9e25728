"""What a recipe can say: frozen typed structs, one per choice, every default in sight; `rungs.recipe.toml` reads them.

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
from rungs.recipe.models import AnyModel
from rungs.recipe.optimizers import AnyOptimizer, AnySchedule, Constant


class DataSpec(Spec, frozen=True):
    """Which images, how large, and how they are divided.

    `image_size` in pixels (square); without one, the source's own size where all its images share one, else 64.
    `validation` and then `train` are cut from the source's training images, stratified by class, by the recipe's seed;
    without `train`, all the rest. `test` is cut only where the source has no test set of its own. A source's own
    validation set is used as it is.
    """

    source: Annotated[str, role("place", "images")] = "cifar10"
    image_size: Annotated[ImageSize | None, role("resolved", "images")] = None
    train: Share | None = None
    validation: Annotated[Share, role("images", "judge")] = 0.1
    test: Annotated[Share, role("test set", "judge")] = 0.1


class TrainingSpec(Spec, frozen=True):
    """How long, in what batches (of all ranks together), and how each step is taken.

    `loss`: "cross-entropy" of the logits; "nll", the same written as log-softmax and negative log likelihood;
    "softmax-cross-entropy", a softmax too many: it cannot fall below ln(1 + (K - 1) / e), 1.461 for 10 classes.
    `micro_batch`: images that go through the net at once; the gradients of a batch are added up, and a BatchNorm sees
    so many images. `image_scales`: what shares of `data.image_size` images are shrunk to, each for an equal part of
    the epochs: small images cost less, and a net learns most of what it knows from them. `compile`: whether
    torch.compile translates the net; "auto" tries it where the run is long enough to repay the minute that it costs;
    `cuda_graphs`: on one GPU a step's kernels are recorded once and then replayed without waiting for Python; elsewhere
    it says nothing. `convolution`: "winograd" computes wide 3x3 convolutions with a third of the multiplications, equal
    up to rounding; "auto" does so in fp32 on a CPU.
    """

    epochs: Count
    batch_size: Annotated[int, Meta(ge=2)]
    micro_batch: Annotated[int, Meta(ge=2)] | None = None
    image_scales: tuple[Annotated[float, Meta(gt=0, le=1)], ...] = ()
    loss: Annotated[Literal["cross-entropy", "nll", "softmax-cross-entropy"], role("loss")] = "cross-entropy"
    label_smoothing: Below1 = 0.0
    clip_norm: Positive | None = None
    ema_decay: Annotated[float, Meta(gt=0, lt=1)] | None = None
    precision: Annotated[Literal["auto", "bf16", "fp32"], role("resolved")] = "auto"
    compile: Annotated[Literal["auto", "no", "yes"], role("resolved", "rounding")] = "auto"
    cuda_graphs: Annotated[bool, role("speed")] = True
    convolution: Annotated[Literal["auto", "direct", "winograd"], role("resolved", "rounding")] = "auto"


class StoppingSpec(Spec, frozen=True):
    """Which value of the validation chooses the best epoch, and after how many epochs without gain to stop."""

    monitor: Annotated[Literal["validation_loss", "validation_accuracy"], role("chooses")] = "validation_loss"
    patience: Count | None = None
    min_delta: NonNegative = 0.0


class EvaluationSpec(Spec, frozen=True):
    """How the finished net is scored.

    `watch_test` also scores the test set after every epoch, to show what a maximum over epochs flatters; nothing is
    ever chosen by it. `tta`, test-time augmentation, scores the finished net a second time: over each image and its
    mirror image, or also over both moved by a pixel. `tta_share`: of the images, those that the net is least sure of.
    `score_test` false keeps the test set closed: what a search tries is judged by validation alone.
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

    name: Annotated[Name, role("about")]  # of its folder, too
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
