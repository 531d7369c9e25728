"""Which way of computing each convolution is fastest on this machine: the choice of `training.convolution`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from rungs.errors import UserError
from rungs.models.kernel_gradient import WAYS, GradientConv2d, fits
from rungs.models.normalized import Normalized
from rungs.models.winograd import use_winograd
from rungs.recipe.identity import VERSION
from rungs.training.device import World
from rungs.training.remembered import remembered

LEAST_GAIN = 1.2
"""Another way must be this much faster for a layer: less is lost again in moving its results."""
LEAST_FLOPS = 2e8
"""Of a kernel's gradient in a step; below it, calls take as long as arithmetic."""
MOST_FLOPS = 1e9
"""Of a measured gradient; of a larger batch a part is measured."""
ROUNDS = 5

Convolution = Literal["auto", "direct", "winograd", "fast"]


def use_fast(
    model: Normalized,
    asked: Convolution,
    *,
    precision: str,
    world: World,
    sizes: Iterable[int],
    images: int,
    kept: bool = False,
) -> Convolution:
    """Replace convolutions of a net, in place, by ones that compute the same faster here.

    Args:
        model: The net on the CPU, before it is moved.
        asked: From a recipe: "winograd" only that; "fast" or "auto" also the gradients of kernels, by what is measured.
        precision: Resolved. bf16 is too imprecise for Winograd's sums.
        world: Where it will run; all ranks take what rank 0 measures. On a GPU, cuDNN chooses its own algorithm.
        sizes: Of the images, in pixels.
        images: In a forward pass.
        kept: Whether `asked` is what a resumed run began with, perhaps on another machine: it stays the recipe's value,
            and is computed as well as possible here.

    Returns:
        What the net uses: "winograd" if nothing but that, "fast" with other gradients.

    Raises:
        UserError: Winograd was asked for where it is not supported.
    """
    device = world.device.type
    if asked == "winograd" and not kept and (precision != "fp32" or device != "cpu"):
        what = f"winograd needs fp32 on a CPU, got {precision} on {device}"
        raise UserError(what, where="training.convolution", do="set it to auto")
    if asked == "direct" or device != "cpu":
        return asked if kept else "direct"
    sizes = tuple(sizes)
    has_winograd = precision == "fp32" and use_winograd(model, sizes)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    has_ways = asked != "winograd" and _use_gradients(model, dtype, sizes, images, world)
    if kept:
        return asked
    return "fast" if has_ways else "winograd" if has_winograd else "direct"


def _use_gradients(model: Normalized, dtype: torch.dtype, sizes: tuple[int, ...], images: int, world: World) -> bool:
    """Replace the convolutions whose kernel's gradient is faster another way; return whether there are any."""
    maps = _maps(model, sizes)
    ways = world.agree(lambda: [_ways(conv, seen, dtype, images) for conv, seen in maps.items()])
    found = {conv: way for conv, way in zip(maps, ways, strict=True) if way}
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child in found:
                setattr(parent, name, GradientConv2d(child, found[child]))
    return bool(found)


def _maps(model: Normalized, sizes: tuple[int, ...]) -> dict[nn.Conv2d, set[tuple[int, int]]]:
    """Return the plain convolutions with the (H, W) of their inputs, for images of these sizes."""
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d) and fits(module)]
    maps: dict[nn.Conv2d, set[tuple[int, int]]] = {conv: set() for conv in convs}

    def see(conv: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        if inputs and inputs[0].ndim == 4:  # a net of one's own may call it in another way
            maps[conv].add((inputs[0].shape[2], inputs[0].shape[3]))

    hooks = [conv.register_forward_pre_hook(see) for conv in convs]
    was_training = model.training
    with torch.no_grad():
        for size in sizes:
            model.eval()(torch.zeros(1, 3, size, size))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return maps


def _ways(conv: nn.Conv2d, maps: set[tuple[int, int]], dtype: torch.dtype, images: int) -> dict[tuple[int, int], str]:
    chosen = {size: _fastest(conv, size, dtype, images) for size in sorted(maps)}
    return {size: way for size, way in chosen.items() if way != "torch"}


def _fastest(conv: nn.Conv2d, size: tuple[int, int], dtype: torch.dtype, images: int) -> str:
    """Return the fastest of `WAYS` for a layer and a size of map, measured once on this machine."""
    cin, cout, side = conv.in_channels, conv.out_channels, conv.kernel_size[0]
    an_image = 2 * cin * cout * side**2 * size[0] * size[1]
    if not conv.weight.requires_grad or an_image * images < LEAST_FLOPS:
        return "torch"
    images = max(1, min(images, round(MOST_FLOPS / an_image)))
    shape = f"{cin} to {cout} channels, {side}x{side}, maps of {size[0]}x{size[1]}, {images} images, {dtype}"
    question = f"fastest kernel gradient: {shape}, {torch.get_num_threads()} threads, rungs {VERSION}"
    return remembered(question, str, lambda: _measured((images, cin, cout, side), size, dtype))


def _measured(shape: tuple[int, int, int, int], size: tuple[int, int], dtype: torch.dtype) -> str:
    """Measure in turns and return the fastest way; torch's own unless another gains enough."""
    images, cin, cout, side = shape
    x, dout = (
        torch.ones(images, channels, *size, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for channels in (cin, cout)
    )
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            began = time.perf_counter()
            way(x, dout, side)
            best[name] = min(best[name], time.perf_counter() - began)
    fastest = min(best, key=lambda name: best[name])
    return fastest if best["torch"] > LEAST_GAIN * best[fastest] else "torch"
