"""Fine-tuning: which stages of a net are frozen in an epoch.

A frozen stage is a fixed function: its weights get no gradient, so that no optimiser decays or moves them, and it
computes as in evaluation, with the running statistics of its BatchNorms and without dropout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Optimizer

from rungs.errors import UserError
from rungs.models.stages import parameters_of, stages
from rungs.recipe.optimizers import Muon
from rungs.recipe.spec import Recipe, TrainingSpec
from rungs.report.format import many


def frozen_stages(training: TrainingSpec, many: int, epoch: int) -> int:
    """Return how many of a net's first stages are frozen in an epoch, counted from 0.

    Args:
        training: Of a recipe.
        many: The stages of the net, with its head.
        epoch: Which.
    """
    if training.freeze == "none":
        return 0
    first = many - 1 if training.freeze == "backbone" else training.freeze
    return first - sum(epoch >= after for after in training.unfreeze_epochs)


def freeze(model: nn.Module, optimizer: Optimizer, training: TrainingSpec, epoch: int) -> bool:
    """Put the frozen stages of a net into evaluation mode, without gradients; and its norms where they are frozen.

    Args:
        model: The net, in training mode.
        optimizer: Of its weights, but for those that the net keeps fixed itself.
        training: Of the recipe.
        epoch: Counted from 0.

    Returns:
        Whether other weights get a gradient than before.
    """
    if training.freeze == "none" and not training.frozen_norms:
        return False
    each = stages(model)
    frozen = frozen_stages(training, len(each), epoch)
    for i, stage in enumerate(each[:-1]):
        for module in stage:
            if i < frozen:
                module.eval()
            elif training.frozen_norms:
                _freeze_norms(module)
    above = {parameter for stage in each[frozen:] for parameter in parameters_of(stage)}
    changed = False
    for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
        trains = frozen == 0 or parameter in above
        if trains and not parameter.requires_grad:
            _begin_momentum(optimizer, parameter)
        changed |= parameter.requires_grad != trains
        parameter.requires_grad_(trains)
    return changed


def _begin_momentum(optimizer: Optimizer, parameter: nn.Parameter) -> None:
    """Give a parameter that begins to train a momentum of 0: torch's fused SGD wants all of a group to have one."""
    if isinstance(optimizer, SGD) and optimizer.defaults["momentum"]:
        state = optimizer.state[parameter]
        if state.get("momentum_buffer") is None:  # a resumed run has it from its checkpoint
            state["momentum_buffer"] = torch.zeros_like(parameter, requires_grad=False)


def _freeze_norms(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            norm.eval()


def keeps_features(recipe: Recipe, net: nn.Module, ranks: int) -> bool:
    """Return whether a head is trained on features that its body computes only once: see `rungs.training.features`.

    All but the head is frozen throughout, each picture is seen in one version only, and the net says where its head
    begins: it has a method `features`, from images to (B, F), and its `head` is its last stage.
    """
    training, augment = recipe.training, recipe.augment
    if training.freeze != "backbone" or training.unfreeze_epochs or training.image_scales or ranks > 1:
        return False
    if augment.train or augment.validation or isinstance(recipe.optim, Muon):  # muon needs convolutions to train
        return False
    return callable(getattr(type(net), "features", None)) and stages(net)[-1] == [getattr(net, "head", None)]


def require_stages(model: nn.Module, training: TrainingSpec) -> None:
    """Refuse a recipe that freezes or unfreezes more stages than its net has.

    Raises:
        UserError: It does.
    """
    there = len(stages(model))
    if isinstance(training.freeze, int) and training.freeze >= there:
        what = f"{many(training.freeze, 'stage')} to freeze, but this net has {there}, the last of them its head"
        do = f'give at most {there - 1}, or "backbone" for all but the head'
        raise UserError(what, where="training.freeze", do=do)
    if frozen_stages(training, there, training.epochs) < 0:
        times, frozen = many(len(training.unfreeze_epochs), "time"), there - 1
        what = f"a stage is unfrozen {times}, but {frozen} {'is' if frozen == 1 else 'are'} frozen"
        raise UserError(what, where="training.unfreeze_epochs", do=f"give at most {many(frozen, 'epoch')}")
