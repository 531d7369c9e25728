"""Which way of computing each convolution is fastest on this machine: the choice of `training.convolution`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Literal, cast

import torch
from torch import Tensor, nn

from rungs.errors import UserError
from rungs.models.fast_convolution import FastConv2d, Pair, convolve, fits, is_depthwise, padding_of, ways_of
from rungs.models.normalized import Normalized
from rungs.models.winograd import pays
from rungs.recipe.identity import code_version
from rungs.run.record import FastConvolution
from rungs.training.device import World
from rungs.training.remembered import remembered

LEAST_GAIN = 1.07
"""Another way must make a layer's forward and backward passes this much faster: less is noise."""
LEAST_FLOPS = 2e8
"""Of a layer's forward pass in a step; below it, calls take as long as arithmetic."""
MOST_FLOPS = 6e9
"""Of a measured forward pass; of a larger batch a part is measured, enough images for what a way costs a call."""
DEPTHWISE_COST = 10
"""A depthwise convolution takes as long as one of others with about this many times its FLOPs: it waits for memory."""
ROUNDS = 3

Convolution = Literal["auto", "direct", "winograd", "fast"]
Ways = dict[tuple[int, int], str]
"""(H, W) -> one of `ways_of` a layer, for the sizes of maps that torch is slower on."""


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
        asked: From a recipe: "winograd" uses it wherever it saves enough multiplications; "fast" or "auto" what is
            measured to be fastest.
        precision: Resolved. bf16 is too imprecise for Winograd's sums.
        world: Where it will run; all ranks take what rank 0 measures. On a GPU, cuDNN chooses its own algorithm.
        sizes: Of the images, in pixels.
        images: In a forward pass.
        kept: Whether `asked` is what a resumed run began with, perhaps on another machine: it stays the recipe's value,
            and is computed as well as possible here.

    Returns:
        What the net uses: "direct" if torch computes all convolutions, else "winograd" if that was asked for, else
        "fast".

    Raises:
        UserError: Winograd was asked for where it is not supported.
    """
    device = world.device.type
    if asked == "winograd" and not kept and (precision != "fp32" or device != "cpu"):
        what = f"winograd needs fp32 on a CPU, got {precision} on {device}"
        raise UserError(what, where="training.convolution", do="set it to auto")
    if asked == "direct" or device != "cpu":
        return asked if kept else "direct"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    maps = _maps(model, sizes)
    if asked == "winograd":
        ways = [_by_arithmetic(conv, seen) if dtype == torch.float32 else {} for conv, seen in maps.items()]
    else:
        ways = world.agree(lambda: [_measured_ways(conv, seen, dtype, images) for conv, seen in maps.items()])
    _replace(model, {conv: faster for conv, faster in zip(maps, ways, strict=True) if faster})
    if kept:
        return asked
    return "direct" if not any(ways) else "winograd" if asked == "winograd" else "fast"


def fast_convolutions(model: nn.Module) -> tuple[FastConvolution, ...]:
    """Return the convolutions of a net that torch does not compute, for the record of a run."""
    return tuple(
        FastConvolution(layer=name, height=height, width=width, way=way)
        for name, module in model.named_modules()
        if isinstance(module, FastConv2d)
        for (height, width), way in module.ways.items()
    )


def use_as_before(model: nn.Module, before: Sequence[FastConvolution]) -> None:
    """Let exactly these convolutions of a net be computed in these ways, in place, so that a resumed run goes on."""
    ways: dict[str, Ways] = {}
    for one in before:
        ways.setdefault(one.layer, {})[one.height, one.width] = one.way
    found: dict[nn.Conv2d, Ways] = {}
    for name, module in model.named_modules():
        if isinstance(module, FastConv2d):
            module.ways = ways.get(name, {})
        elif name in ways and isinstance(module, nn.Conv2d) and fits(module):
            found[module] = ways[name]
    _replace(model, found)


@contextmanager
def computed_by_torch(model: nn.Module) -> Iterator[None]:
    """Let torch compute all convolutions of a net in this block, for instance to count their FLOPs."""
    before = fast_convolutions(model)
    use_as_before(model, ())
    try:
        yield
    finally:
        use_as_before(model, before)


def _maps(model: Normalized, sizes: Iterable[int]) -> dict[nn.Conv2d, set[tuple[int, int]]]:
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


def _replace(model: nn.Module, found: dict[nn.Conv2d, Ways]) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d) and child in found:
                setattr(parent, name, FastConv2d(child, found[child]))


def _by_arithmetic(conv: nn.Conv2d, maps: set[tuple[int, int]]) -> Ways:
    if conv.kernel_size != (3, 3) or is_depthwise(conv):
        return {}
    return {size: "winograd" for size in sorted(maps) if pays(conv.in_channels, conv.out_channels, *size)}


def _measured_ways(conv: nn.Conv2d, maps: set[tuple[int, int]], dtype: torch.dtype, images: int) -> Ways:
    fastest = {size: _fastest(conv, size, dtype, images) for size in sorted(maps)}
    return {size: way for size, way in fastest.items() if way != "torch"}


def _fastest(conv: nn.Conv2d, size: tuple[int, int], dtype: torch.dtype, images: int) -> str:
    """Return the fastest of `ways_of` a layer for a size of map, measured once on this machine."""
    cin, cout, side, stride = conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0]
    an_image = 2 * conv.weight.numel() * size[0] * size[1] / stride**2 * (DEPTHWISE_COST if is_depthwise(conv) else 1)
    if an_image * images < LEAST_FLOPS or len(ways_of(conv, dtype)) == 1:
        return "torch"
    images = max(1, min(images, round(MOST_FLOPS / an_image)))
    kind = f"depthwise, stride {conv.stride}, padding {padding_of(conv)}, " if is_depthwise(conv) else ""
    shape = f"{kind}{cin} to {cout} channels, {side}x{side}, maps of {size[0]}x{size[1]}, {images} images, {dtype}"
    question = f"seconds of a convolution: {shape}, {torch.get_num_threads()} threads, rungs {code_version()}"
    seconds = remembered(question, dict[str, float], lambda: _measured(conv, images, size, dtype))
    fastest = min(seconds, key=lambda way: seconds[way])
    return fastest if seconds["torch"] > LEAST_GAIN * seconds[fastest] else "torch"


def _measured(conv: nn.Conv2d, images: int, size: tuple[int, int], dtype: torch.dtype) -> dict[str, float]:
    """Return the seconds of a layer's forward and backward passes in each way, measured in turns.

    Args:
        conv: The layer, whose shape counts, not its weights.
        images: In a batch.
        size: (H, W) of the maps.
        dtype: Of maps and weights.
    """
    side, stride, padding = conv.kernel_size[0], cast(Pair, conv.stride), padding_of(conv)
    out_size = ((n + 2 * rim - side) // step + 1 for n, rim, step in zip(size, padding, stride, strict=True))
    x, weight, dout = (
        torch.ones(lengths, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for lengths in ((images, conv.in_channels, *size), conv.weight.shape, (images, conv.out_channels, *out_size))
    )
    x.requires_grad_()
    weight.requires_grad_()
    best = {way: float("inf") for way in ways_of(conv, dtype)}
    for _ in range(ROUNDS):
        for way in best:
            began = perf_counter()
            torch.autograd.grad(convolve(x, weight, way, stride, padding), (x, weight), dout)
            best[way] = min(best[way], perf_counter() - began)
    return best
