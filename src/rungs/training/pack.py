"""A pack: runs that differ only in their seed, trained side by side as one stacked net.

Each member stays an ordinary `Setup`, with its own split, order, augmentation and weights. `join` stacks what training
changes, the loop trains the stack, and `copy_to_members` copies it back after each epoch: a member is validated,
saved and resumed like a single run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.normalized import Normalized
from rungs.models.stacked import Stacked, unstackable
from rungs.optim.ema import average
from rungs.recipe.base import name_of
from rungs.recipe.optimizers import Plateau
from rungs.recipe.own import Own
from rungs.recipe.spec import Recipe
from rungs.training.setup import Setup

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
"""Element-wise optimisers, so that stacked weights are updated as they would be alone."""
KNOWN = {
    "": "name about source assumptions claims seed data augment model optim schedule training stopping evaluation",
    "optim": "lr weight_decay decay_all momentum nesterov betas eps alpha",
    "training": "epochs batch_size micro_batch loss class_weights label_smoothing clip_norm ema_decay precision compile"
    " cuda_graphs convolution",
    "evaluation": "batch_size mistakes score_train watch_test",
}
"""Fields of a recipe that packs support. A run that sets any other is not packed: no field is silently ignored."""


@dataclass
class Pack(Setup):
    """The setup of at least two runs; attributes that are not stacked are the first run's."""

    runs: tuple[Setup, ...]

    @property
    def members(self) -> tuple[Setup, ...]:  # noqa: D102
        return self.runs

    @property
    def stack(self) -> Stacked:
        """The nets side by side."""
        assert isinstance(self.model, Stacked)
        return self.model

    @property
    def records(self) -> bool:  # noqa: D102
        return super().records and not self.stack.draws  # each net's dropout has a random state in Python

    def seed_dropout(self, seeds: Sequence[int]) -> None:  # noqa: D102
        self.stack.dice.seed(seeds, self.world.device)

    def clip_gradients(self, most: float) -> None:  # noqa: D102
        grads = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norms = torch.stack([grad.flatten(1).norm(dim=1) for grad in grads]).norm(dim=0)  # (S,)
        factor = (most / (norms + 1e-6)).clamp(max=1.0)  # as in torch's clip_grad_norm_
        for grad in grads:
            grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))

    def copy_to_members(self) -> None:  # noqa: D102
        for i, run in enumerate(self.runs):
            _copy(self.model, run.model, i)
            if self.ema is not None and run.ema is not None:
                _copy(self.ema.module, run.ema.module, i)
                run.ema.n_averaged.copy_(self.ema.n_averaged)
            for group, stacked in zip(run.optimizer.param_groups, self.optimizer.param_groups, strict=True):
                group["lr"] = stacked["lr"]
                for mine, ours in zip(group["params"], stacked["params"], strict=True):
                    state = self.optimizer.state[ours].items()
                    run.optimizer.state[mine] = {key: _part(value, i, mine, ours) for key, value in state}


def unpackable(recipe: Recipe) -> str | None:
    """Return why the seeds of a recipe cannot be trained in one pack; None if they can."""
    for place, known in KNOWN.items():
        spec = getattr(recipe, place) if place else recipe
        for field in msgspec.structs.fields(spec):
            if field.name not in known.split() and getattr(spec, field.name) != field.default:
                return f"packs do not support {f'{place}.{field.name}'.lstrip('.')}"
    if recipe.data.folds is not None:
        return "the runs of a cross-validation differ in their fold, not in their seed"
    if name_of(recipe.optim) not in OPTIMIZERS:
        return f"{name_of(recipe.optim)} is not element-wise"
    if recipe.training.compile not in ("auto", "no"):
        return "the nets of a pack are not compiled"
    if isinstance(recipe.schedule, Plateau):
        return "with a plateau schedule each seed has its own learning rates"
    if isinstance(recipe.model, Own):
        return "a net of your own is trained by itself"
    try:
        with torch.device("meta"):
            net = build_model(recipe.model, image_size=recipe.data.image_size or 64, classes=10)
    except UserError:  # its own training will report it
        return None
    return unstackable(net)


def require_packable(recipe: Recipe, ranks: int = 1) -> None:
    """Refuse to pack runs that would not train as they do alone.

    Raises:
        UserError: With the reason.
    """
    reason = unpackable(recipe) if ranks == 1 else "a pack trains in one process, not on several ranks"
    if reason:
        raise UserError(f"seeds of {recipe.name} cannot be packed: {reason}", where="--pack", do="leave --pack out")


def join(setups: Sequence[Setup]) -> Setup:
    """Return one setup that trains all of these, which are at the same epoch; a single one unchanged.

    Raises:
        UserError: They differ in more than their seed, or cannot be packed.
    """
    first = setups[0]
    if len(setups) == 1:
        return first
    require_packable(first.recipe, first.world.size)
    ways = first.recipe.training.convolution  # of a run that began alone; the stack computes them all plainly
    others = [
        replace(one.recipe, seed=first.recipe.seed, training=replace(one.recipe.training, convolution=ways))
        for one in setups
    ]
    sizes = [[len(part) for part in setup.parts.present().values()] for setup in setups]
    if any(other != first.recipe for other in others) or any(size != sizes[0] for size in sizes):
        raise UserError("the runs of a pack differ in more than their seed", where="--pack", do="leave --pack out")
    models = [setup.model for setup in setups if isinstance(setup.model, Normalized)]
    stack = Stacked(models)
    own = {"model": stack, "trained": stack, "optimizer": _optimizer(setups, stack), "ema": _ema(setups, stack)}
    weights = [setup.class_weights for setup in setups if setup.class_weights is not None]
    own["class_weights"] = torch.stack(weights) if weights else None  # (S, K)
    return Pack(**{**_fields(first), **own}, runs=tuple(setups))


def _fields(setup: Setup) -> dict[str, Any]:
    return {field.name: getattr(setup, field.name) for field in fields(Setup)}


def _optimizer(setups: Sequence[Setup], stack: Stacked) -> torch.optim.Optimizer:
    """Return an optimiser of the stacked weights, in the groups of one run, with the states of all runs."""
    names = {parameter: name for name, parameter in setups[0].model.named_parameters()}
    stacked = dict(stack.named_parameters())
    groups = [
        {**group, "params": [stacked[names[parameter]] for parameter in group["params"]]}
        for group in setups[0].optimizer.param_groups
    ]
    made: torch.optim.Optimizer = type(setups[0].optimizer)(groups)  # type: ignore[call-arg]
    each = [dict(setup.model.named_parameters()) for setup in setups]
    for name, ours in stacked.items():
        states = [setup.optimizer.state.get(one[name], {}) for setup, one in zip(setups, each, strict=True)]
        made.state[ours] = {key: _stacked([state[key] for state in states], ours) for key in states[0]}
    return made


def _ema(setups: Sequence[Setup], stack: Stacked) -> AveragedModel | None:
    """Return the moving average of the stack, from those of the runs."""
    averages = [setup.ema for setup in setups if setup.ema is not None]
    if not averages:
        return None
    made = average(stack, setups[0].recipe.training.ema_decay or 0.0)
    each = [one.module.state_dict() for one in averages]
    for name, ours in made.module.state_dict().items():
        ours.copy_(torch.stack([one[name] for one in each]))
    made.n_averaged.copy_(averages[0].n_averaged)
    return made


def _stacked(values: Sequence[Any], ours: Tensor) -> Any:
    """Stack an optimiser's state of one weight; anything but a tensor of its shape (a step count) is shared."""
    first = values[0]
    if not isinstance(first, Tensor) or first.shape != ours.shape[1:]:
        return first.clone() if isinstance(first, Tensor) else first
    return torch.stack(list(values)).contiguous()


def _part(value: Any, i: int, mine: Tensor, ours: Tensor) -> Any:
    """Return run i's part of an optimiser's state, in the memory format of its own weight."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty_like(mine, requires_grad=False).copy_(value[i]) if value.shape == ours.shape else value.clone()


def _copy(stack: nn.Module, model: nn.Module, i: int) -> None:
    """Copy run i's part of all weights and buffers into its own net."""
    own = model.state_dict()
    for name, tensor in stack.state_dict().items():
        own[name].copy_(tensor[i])
