"""S nets of the same shape, computed together: their maps are concatenated along the channels.

Images are (B, 3 S, H, W), maps (B, S C, H, W), features (B, S F), logits (B, S, K); weights have a leading S.
A convolution has S groups, a linear layer is a batched product, a BatchNorm has S times the channels: the
nets do not interact, so each has the same outputs and gradients as on its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.models.fast_convolution import FastConv2d
from rungs.models.layered import LayeredNet
from rungs.models.mixconv import Mix, MixConvNet, weighted_sum
from rungs.models.normalized import Normalized
from rungs.models.plain import PlainNet
from rungs.models.resnet import BasicBlock, ResNet

UNCHANGED: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.ReLU, nn.Sigmoid, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d,
    nn.Sequential, PlainNet, LayeredNet, MixConvNet, ResNet, BasicBlock,
)  # fmt: skip
"""Modules that work per channel, or only call their parts and `flatten(1)`."""


class DropoutGenerators:
    """A state of torch's global generator per net, so that each net's dropout is the same as on its own."""

    def __init__(self) -> None:
        self.states: list[Tensor] = []

    def seed(self, seeds: Sequence[int], device: torch.device) -> None:
        """Seed each net's generator."""
        self.states = []
        for seed in seeds:
            torch.manual_seed(seed)
            self.states.append(_random(device).get_rng_state())

    def masks(self, like: Tensor, p: float) -> Tensor:
        """Return dropout masks (B, S, F); each net's (B, F) is drawn by torch's own dropout."""
        drawn, ones = [], torch.ones_like(like[:, 0])
        for i, state in enumerate(self.states):
            _random(like.device).set_rng_state(state)
            drawn.append(F.dropout(ones, p))
            self.states[i] = _random(like.device).get_rng_state()
        return torch.stack(drawn, 1)


def _random(device: torch.device) -> Any:
    """Return the torch module with a device's global generator."""
    return torch.cuda if device.type == "cuda" else torch


class Stacked(nn.Module):
    """Several `Normalized` nets, computed together; parameters and buffers are named as in one, with a leading S.

    Args:
        models: At least two, of one shape, on one device, for which `unstackable` returns None.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, models: Sequence[Normalized]) -> None:
        super().__init__()
        self.many, self.dice = len(models), DropoutGenerators()
        self.net = copy.deepcopy(models[0].net)
        for name, module in list(self.net.named_modules()):
            if (stack := _stacker(module)) is not None:
                parent, _, last = name.rpartition(".")
                layers = [self.net.get_submodule(name), *(model.net.get_submodule(name) for model in models[1:])]
                setattr(self.net.get_submodule(parent), last, stack(layers, self.dice))
        self.register_buffer("mean", torch.stack([model.mean for model in models]))
        self.register_buffer("std", torch.stack([model.std for model in models]))
        self.train(models[0].training)

    @property
    def draws(self) -> bool:
        """Whether training draws dropout."""
        return any(isinstance(module, _Dropout) for module in self.modules())

    def forward(self, x: Tensor) -> Tensor:
        """Map float (B, 3 S, H, W) in [0, 1] to logits (B, S, K)."""
        x = (x - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)
        logits: Tensor = self.net(x)  # (B, S K)
        return apart(logits, self.many)


def unstackable(net: nn.Module) -> str | None:
    """Return why a net cannot be stacked; None if it can."""
    for module in net.modules():
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d) and (module.groups != 1 or module.padding_mode != "zeros"):
            return "a convolution with groups, or padded with other than zeros"
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and (
            module.momentum is None or not module.track_running_stats
        ):
            return "a BatchNorm without a moving average"
        if isinstance(module, MixConvNet) and any(isinstance(one, nn.Dropout) for one in module.modules()):
            return "dropout of whole maps, whose draws depend on the memory format"
        if _stacker(module) is None and type(module) not in UNCHANGED:
            return f"a layer of the kind {kind}"
    return None


def apart(x: Tensor, many: int) -> Tensor:
    """Split concatenated channels: (B, S C, ...) -> (B, S, C, ...)."""
    return x.reshape(len(x), many, x.shape[1] // many, *x.shape[2:])


def _stacker(module: nn.Module) -> Callable[[Sequence[nn.Module], DropoutGenerators], nn.Module] | None:
    return STACKERS.get(type(module))


def _stack_parameters(tensors: Sequence[Tensor | None]) -> nn.Parameter | None:
    """Stack parameters of the same name into one, (S, ...), contiguous."""
    if tensors[0] is None:
        return None
    return nn.Parameter(torch.stack([tensor.detach() for tensor in tensors if tensor is not None]).contiguous())


class _Conv(nn.Module):
    def __init__(self, layers: Sequence[nn.Conv2d], _dice: DropoutGenerators) -> None:
        super().__init__()
        first = layers[0]
        self.weight, self.bias = (
            _stack_parameters([one.weight for one in layers]),
            _stack_parameters([one.bias for one in layers]),
        )
        self.stride, self.padding, self.dilation, self.many = first.stride, first.padding, first.dilation, len(layers)

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        bias = None if self.bias is None else self.bias.flatten()
        weight = self.weight.flatten(0, 1)  # (S C_out, C_in, h, w)
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups=self.many)


class _Linear(nn.Module):
    def __init__(self, layers: Sequence[nn.Linear], _dice: DropoutGenerators) -> None:
        super().__init__()
        self.weight, self.bias = (
            _stack_parameters([one.weight for one in layers]),
            _stack_parameters([one.bias for one in layers]),
        )
        self.many = len(layers)

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        x = apart(x, self.many).transpose(0, 1)  # (S, B, F_in)
        weight = self.weight.transpose(1, 2)
        x = torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias.unsqueeze(1), x, weight)
        return x.transpose(0, 1).flatten(1)  # (B, S F_out)


class _BatchNorm(nn.Module):
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layers: Sequence[nn.BatchNorm1d | nn.BatchNorm2d], _dice: DropoutGenerators) -> None:
        super().__init__()
        self.weight, self.bias = (
            _stack_parameters([one.weight for one in layers]),
            _stack_parameters([one.bias for one in layers]),
        )
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, torch.stack([one.get_buffer(name) for one in layers]))
        self.momentum, self.eps = layers[0].momentum, layers[0].eps

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        weight, bias = (None if one is None else one.flatten() for one in (self.weight, self.bias))
        mean, var = self.running_mean.view(-1), self.running_var.view(-1)  # views of the same memory, updated in place
        return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum or 0.0, self.eps)


class _Dropout(nn.Module):
    def __init__(self, layers: Sequence[nn.Dropout], dice: DropoutGenerators) -> None:
        super().__init__()
        self.p, self.many, self.dice = layers[0].p, len(layers), dice

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        features = apart(x, self.many)  # (B, S, F)
        return (features * self.dice.masks(features, self.p)).flatten(1)


class _Mix(nn.Module):
    def __init__(self, layers: Sequence[Mix], _dice: DropoutGenerators) -> None:
        super().__init__()
        self.branches, self.weights = layers[0].branches, layers[0].weights
        self.normalised, self.many = layers[0].normalised, len(layers)

    def forward(self, x: Tensor) -> Tensor:
        weights = apart(self.weights(x.mean((2, 3))), self.many)  # (B, S, branches)
        if self.normalised:
            weights = weights.softmax(2)
        maps = self.branches(x).unflatten(1, (*weights.shape[1:], -1))  # (B, S, branches, C, H, W)
        return weighted_sum(maps, weights).flatten(1, 2)  # (B, S C, H, W)


STACKERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: _Conv,
    FastConv2d: _Conv,  # in a pack it is computed directly
    nn.Linear: _Linear,
    nn.BatchNorm1d: _BatchNorm,
    nn.BatchNorm2d: _BatchNorm,
    nn.Dropout: _Dropout,
    Mix: _Mix,
}
"""Layers that are computed differently in a stack."""
