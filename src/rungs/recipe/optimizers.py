"""Optimisers, and schedules of the learning rate."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from rungs.recipe.base import Below1, CountOrZero, Epochs, NonNegative, Positive, Spec, role


class Optimizer(Spec, tag_field="name", frozen=True):
    """The base of all optimisers. Weight decay skips biases and norms unless `decay_all`.

    `head_lr` is the learning rate of the last linear layer; `layer_decay` multiplies that of each stage below it once
    more (layer-wise decay, as in ELECTRA, Clark et al. 2020, arXiv:2003.10555).
    """

    lr: Positive
    weight_decay: NonNegative = 0.0
    decay_all: bool = False
    head_lr: Annotated[Positive | None, role("newer")] = None
    layer_decay: Annotated[Annotated[float, Meta(gt=0, le=1)], role("newer")] = 1.0


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
    """Muon for the kernels of convolutions, with learning rate `lr`; SGD with Nesterov momentum for everything else.

    `head_lr` is the rate of the last linear layer's weights, `bias_lr` that of biases and norms; the schedule scales
    all three. `weight_decay` applies to these two only (a kernel's norm is fixed): the share of a weight that a step
    at the full rate removes, whatever that rate is. `ns_steps`: Newton-Schulz steps.
    """

    momentum: Below1 = 0.6
    ns_steps: Annotated[int, Meta(ge=1, le=20)] = 3
    head_lr: Positive = 0.001
    bias_lr: Positive = 0.001
    sgd_momentum: Below1 = 0.85


AnyOptimizer: TypeAlias = SGD | Adam | AdamW | RMSprop | Muon


class Schedule(Spec, tag_field="name", frozen=True):
    """The base of all schedules: a linear warm-up first, in epochs (fractions allowed)."""

    warmup_epochs: Epochs = 0.0


class Constant(Schedule, tag="constant", frozen=True):
    """The base learning rate throughout."""


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
    """Multiply by `factor` after more than `patience` epochs without improvement, like torch's ReduceLROnPlateau."""

    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    patience: CountOrZero = 3
    min_delta: NonNegative = 0.0


AnySchedule: TypeAlias = Constant | Step | Cosine | Linear | OneCycle | Plateau
