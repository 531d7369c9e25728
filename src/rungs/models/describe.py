"""A summary of a net: a row per layer with its output shape, parameters and FLOPs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rungs.run.record import LayerRow, ModelRecord


def describe(model: nn.Module, name: str, image_size: int) -> ModelRecord:
    """Run one blank image through `model` and summarise each leaf layer.

    FLOPs are those of convolutions and matrix products in the forward pass, a multiplication and an
    addition counted as two (torch's FlopCounterMode); element-wise operations count as none.
    """
    leaves, shapes = dict(model.named_modules()), dict[str, tuple[int, ...]]()  # shapes in the order of execution
    with FlopCounterMode(display=False) as counter:
        run_blank(model, image_size, lambda path, _leaf, _inputs, out: shapes.__setitem__(path, tuple(out.shape[1:])))
    per_module = {path.split(".", 1)[-1]: sum(ops.values()) for path, ops in counter.get_flop_counts().items()}
    rows = tuple(
        LayerRow(
            name=path.removeprefix("net."),
            kind=type(leaves[path]).__name__,
            detail=_detail(leaves[path]),
            output=shape,
            parameters=sum(p.numel() for p in leaves[path].parameters()),
            flops=int(per_module.get(path, 0)),
        )
        for path, shape in shapes.items()
    )
    parameters = sum(p.numel() for p in model.parameters())
    return ModelRecord(name=name, parameters=parameters, flops=int(counter.get_total_flops()), layers=rows)


def run_blank(model: nn.Module, image_size: int, look: Callable[[str, nn.Module, tuple[Any, ...], Any], None]) -> None:
    """Run one blank image through `model`, as it is scored; `look` gets each leaf's path, itself, inputs and output."""
    hooks = [
        module.register_forward_hook(lambda module, inputs, out, path=path: look(path, module, inputs, out))
        for path, module in model.named_modules()
        if path and not list(module.children())
    ]
    was_training, parameter = model.training, next(model.parameters())
    blank = torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype)
    try:
        with torch.no_grad():
            model.eval()(blank)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()


def _detail(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        (h, w), stride, pad = module.kernel_size, module.stride[0], module.padding[0]
        dilation = f", dilation {module.dilation[0]}" if module.dilation[0] > 1 else ""
        return f"{module.in_channels}->{module.out_channels}, {h}x{w}, stride {stride}, pad {pad}{dilation}"
    if isinstance(module, nn.Linear):
        return f"{module.in_features}->{module.out_features}"
    if isinstance(module, nn.Dropout):
        return f"p {module.p:g}"
    if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) and module.track_running_stats:
        return f"momentum {module.momentum or 0:g}"  # the share that a step replaces; 0: the mean of all steps
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return f"{module.kernel_size}x{module.kernel_size}, stride {module.stride}"
    return ""
