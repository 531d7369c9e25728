"""Optimisers: from a spec to a `torch.optim.Optimizer`, with its parameter groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from torch import nn, optim

from rungs.errors import UserError
from rungs.optim.muon import Muon
from rungs.recipe.base import name_of
from rungs.recipe.optimizers import SGD, AnyOptimizer
from rungs.recipe.optimizers import Muon as MuonSpec

OPTIMIZERS: Mapping[str, type[optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "muon": Muon,
}

FUSED = {"sgd": {"cpu", "cuda", "mps"}, "adam": {"cpu", "cuda", "mps"}, "adamw": {"cpu", "cuda", "mps"}}
"""Device types on which torch fuses the whole step into one kernel."""

COUNTING = ("adam", "adamw", "rmsprop")
"""Optimisers with a step counter, which must be on the GPU for a CUDA graph to record a step (`capturable`)."""


def build_optimizer(
    spec: AnyOptimizer, model: nn.Module, *, stages: Sequence[Sequence[nn.Module]] = (), in_bf16: bool = False
) -> optim.Optimizer:
    """Build the optimiser of a recipe for a model that is already on its device.

    It uses torch's fused kernel if there is one, else its foreach kernels. On a CPU the fused kernel walks through
    memory in order: gradients and states need the same memory format as their parameter (channels_last or not), which
    backward() and torch.save preserve.

    Args:
        spec: From the recipe.
        model: Its parameters that require a gradient are trained.
        stages: Its modules by stage, from input to output, the last the head, for the rates of a part.
        in_bf16: Whether Muon may compute its matrix products in bf16: where the net does, bf16 is fast.

    Raises:
        UserError: Nesterov momentum with momentum 0, Muon for a net without convolutions or with a layer-wise decay.
    """
    if isinstance(spec, SGD) and spec.nesterov and spec.momentum == 0:
        raise UserError("nesterov needs momentum", where="optim.momentum", do="set it above 0; 0.9 is usual")
    if isinstance(spec, MuonSpec):
        if spec.layer_decay != 1:
            what = "muon has no layer-wise decay: its updates have the same norm whatever the gradient"
            raise UserError(what, where="optim.layer_decay", do="leave it out, or choose sgd or adamw")
        return Muon(muon_groups(spec, model), spec.ns_steps, in_bf16=in_bf16)
    tag = name_of(spec)
    fields = msgspec.structs.asdict(spec)
    groups = parameter_groups(model, fields.pop("weight_decay"), decay_all=fields.pop("decay_all"))
    groups = [part for group in groups for part in with_rates(group, spec, stages)]
    del fields["head_lr"], fields["layer_decay"]
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    kernel = "fused" if devices <= FUSED.get(tag, set()) else "foreach"
    if tag in COUNTING:
        fields["capturable"] = devices == {"cuda"}
    return OPTIMIZERS[tag](groups, **{**fields, kernel: True})


def slowed(spec: AnyOptimizer, factor: float) -> AnyOptimizer:
    """Return an optimiser with all of its learning rates multiplied by a factor."""
    rates = [name for name in ("lr", "head_lr", "bias_lr") if getattr(spec, name, None) is not None]
    return msgspec.structs.replace(spec, **{name: getattr(spec, name) * factor for name in rates})


def muon_groups(spec: MuonSpec, model: nn.Module) -> list[dict[str, Any]]:
    """Group the trained parameters: kernels of convolutions, weights of linear layers, biases and norms.

    Besides Muon's settings, each group holds its `share` of the base rate: the loop sets lr = share x rate.

    Raises:
        UserError: The net has no convolution.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kernels, heads = [p for p in trained if p.ndim > 2], [p for p in trained if p.ndim == 2]
    biases = [p for p in trained if p.ndim < 2]
    if not kernels:
        raise UserError("muon is for convolutions, but this net has none", where="optim.name", do="choose sgd or adamw")
    decay, rest = spec.weight_decay, {"momentum": spec.sgd_momentum, "orthogonal": False}
    groups: tuple[dict[str, Any], ...] = (
        {"params": kernels, "lr": spec.lr, "momentum": spec.momentum, "weight_decay": 0.0, "orthogonal": True},
        {"params": heads, "lr": spec.head_lr, "weight_decay": decay / spec.head_lr, **rest},
        {"params": biases, "lr": spec.bias_lr, "weight_decay": spec.decay_all * decay / spec.bias_lr, **rest},
    )
    return [{**group, "share": group["lr"] / spec.lr} for group in groups if group["params"]]


def parameter_groups(model: nn.Module, weight_decay: float, *, decay_all: bool = False) -> list[dict[str, Any]]:
    """Group the trained parameters: weights decay, biases and norms (less than two dimensions) do not.

    Pulling a scale or an offset towards 0 does not regularise (Jia et al. 2018, arXiv:1807.11205).
    A group without parameters is left out.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if decay_all or parameter.ndim >= 2]
    spared = [parameter for parameter in trained if not decay_all and parameter.ndim < 2]
    groups = ({"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def with_rates(
    group: dict[str, Any], spec: AnyOptimizer, stages: Sequence[Sequence[nn.Module]]
) -> list[dict[str, Any]]:
    """Split a group by the learning rates of its parameters: see `rungs.recipe.optimizers.Optimizer`.

    Each part holds its `share` of the base rate, as in `muon_groups`; a group whose parameters all have the base rate
    is returned unchanged. A parameter that is in no stage counts as in the first.
    """
    if spec.head_lr is None and spec.layer_decay == 1:
        return [group]
    last = len(stages) - 1
    shares = [spec.layer_decay ** (last - i) for i in range(last)]
    shares.append(1.0 if spec.head_lr is None else spec.head_lr / spec.lr)
    stage_of = {weight: i for i, stage in enumerate(stages) for module in stage for weight in module.parameters()}
    parts: dict[float, list[nn.Parameter]] = {}
    for parameter in group["params"]:
        parts.setdefault(shares[stage_of.get(parameter, 0)], []).append(parameter)
    return [{**group, "params": part, "lr": spec.lr * share, "share": share} for share, part in parts.items()]
