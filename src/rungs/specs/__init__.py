"""What a recipe can say: frozen typed structs, one per choice, every default in sight; `rungs.recipe` reads them.

A struct with a `name` is one alternative of a family (a model, an optimiser, an augmentation, a schedule); its other
fields are the keyword arguments of the thing it names.
"""

from __future__ import annotations

from rungs.specs.augments import (
    AnyAugment,
    Augment,
    AugmentSpec,
    ColourJitter,
    Crop,
    CutMix,
    Cutout,
    Flip,
    Greyscale,
    Mixup,
    Rotate,
)
from rungs.specs.base import (
    Below1,
    Count,
    CountOrZero,
    Epochs,
    ImageSize,
    Name,
    NonNegative,
    Positive,
    Probability,
    Share,
    Spec,
    alternatives,
    name_of,
)
from rungs.specs.models import (
    Activation,
    AnyModel,
    ConvLayer,
    Layered,
    LinearLayer,
    MixConv,
    NormPlace,
    Plain,
    ResNet18,
    Speedrun,
)
from rungs.specs.optimizers import (
    SGD,
    Adam,
    AdamW,
    AnyOptimizer,
    AnySchedule,
    Constant,
    Cosine,
    Linear,
    Muon,
    OneCycle,
    Optimizer,
    Plateau,
    RMSprop,
    Schedule,
    Step,
)
from rungs.specs.training import Claim, DataSpec, EvaluationSpec, Metric, StoppingSpec, TrainingSpec

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "AnyAugment",
    "AnyModel",
    "AnyOptimizer",
    "AnySchedule",
    "Augment",
    "AugmentSpec",
    "Below1",
    "Claim",
    "ColourJitter",
    "Constant",
    "ConvLayer",
    "Cosine",
    "Count",
    "CountOrZero",
    "Crop",
    "CutMix",
    "Cutout",
    "DataSpec",
    "Epochs",
    "EvaluationSpec",
    "Flip",
    "Greyscale",
    "ImageSize",
    "Layered",
    "Linear",
    "LinearLayer",
    "Metric",
    "MixConv",
    "Mixup",
    "Muon",
    "Name",
    "NonNegative",
    "NormPlace",
    "OneCycle",
    "Optimizer",
    "Plain",
    "Plateau",
    "Positive",
    "Probability",
    "RMSprop",
    "Recipe",
    "ResNet18",
    "Rotate",
    "Schedule",
    "Share",
    "Spec",
    "Speedrun",
    "Step",
    "StoppingSpec",
    "TrainingSpec",
    "alternatives",
    "name_of",
]


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
