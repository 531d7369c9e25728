"""The cost of a step: FLOPs and memory traffic, counted; time by kind of operation, profiled."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from rungs.study.bench.record import Operation, Work

TOP = 8
"""Kinds of operations in the table; the rest are summed."""

KINDS = (
    ("matrix product", ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul")),
    ("optimiser", ("_fused_", "_foreach_", "lerp")),
    ("batch norm", ("batch_norm",)),
    ("convolution", ("conv",)),
    ("pooling", ("pool",)),
    ("activation", ("relu", "threshold", "clamp_min", "gelu", "silu", "sigmoid", "tanh")),
    ("dropout", ("dropout", "bernoulli")),
    ("loss", ("softmax", "nll", "argmax", "cross_entropy")),
    ("allocate memory", ("empty", "resize")),
    ("gather images", ("index", "gather", "take", "grid_sampler")),
    ("copy, convert", ("copy", "clone", "_to_", "contiguous", "cat", "stack", "pad", "flip", "fill", "zero")),
    ("element-wise", ("add", "sub", "mul", "div", "where", "sum", "mean", "norm", "sqrt", "pow", "reciprocal")),
)  # fmt: skip
"""(kind, parts of torch's names): the first match wins; the names of the first row must match exactly."""
REST = "everything else"


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the (FLOPs, bytes moved) of each operation, in order.

    An operation reads its arguments and writes its results or the arguments that it modifies. Views and allocations
    move nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows: list[tuple[int, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read = list(_tensors((args, tuple(kwargs.values()))))
        there = {_place(tensor) for tensor in read}
        made = [tensor for tensor in _tensors(out) if _place(tensor) not in there]
        given = zip(func._schema.arguments, args, strict=False)
        changed = [t for spec, value in given if spec.alias_info and spec.alias_info.is_write for t in _tensors(value)]
        if (made or changed or not list(_tensors(out))) and "empty" not in str(func):
            count = flop_registry.get(func.overloadpacket)
            flops = int(count(*args, **kwargs, out_val=out)) if count else 0
            self.rows.append((flops, sum(map(_bytes, (*read, *made, *changed)))))
        return out

    def bound_s(self, flops_per_s: float, bytes_per_s: float) -> float:
        """Return the time of all operations if each ran at its own ceiling, one after the other."""
        return sum(max(flops / flops_per_s, moved / bytes_per_s) for flops, moved in self.rows)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> int:
    """Return the bytes to read; an expanded tensor has less than its shape suggests."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def count(do: Callable[[], object]) -> tuple[int, Traffic]:
    """Run `do` once; return its FLOPs and its traffic."""
    traffic = Traffic()
    with FlopCounterMode(display=False) as counter, traffic:
        do()
    return int(counter.get_total_flops()), traffic


def per_image(flops: int, traffic: Traffic, images: int, flops_per_s: float, bytes_per_s: float) -> Work:
    """Return a batch's cost per image."""
    moved = sum(row[1] for row in traffic.rows)
    bound = traffic.bound_s(flops_per_s, bytes_per_s)
    return Work(flops=flops / images, traffic_bytes=moved / images, bound_s=bound / images)


def operations(do: Callable[[], object], device: torch.device, steps: int) -> tuple[Operation, ...]:
    """Profile `do`, one step of training, a few times; return its operations by kind, the most expensive first."""
    on_gpu = device.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler prints to the terminal
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as seen:
        for _ in range(steps):
            do()
        if on_gpu:
            torch.cuda.synchronize(device)
    rows = [
        (str(event.key), float(event.self_device_time_total if on_gpu else event.self_cpu_time_total))
        for event in seen.key_averages()
        if event.device_type.name == "CPU"  # a kernel's time is already counted for the operation that launched it
    ]
    return grouped(rows)


def grouped(rows: Iterable[tuple[str, float]]) -> tuple[Operation, ...]:
    """Add up (torch's name, time) by kind; the shares sum to 1."""
    kinds: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in rows:
        if row[1] > 0:
            kinds[kind_of(row[0])].append(row)
    total = sum(time for found in kinds.values() for _, time in found)
    if not total:
        return ()
    order = sorted(kinds, key=lambda kind: (kind == REST, -sum(time for _, time in kinds[kind])))
    for kind in order[TOP:]:
        if kind != REST:
            kinds[REST] += kinds.pop(kind)
    shown = [kind for kind in order if kind in kinds] + ([REST] if REST in kinds and REST not in order else [])
    return tuple(_operation(kind, kinds[kind], total) for kind in shown)


def _operation(kind: str, rows: list[tuple[str, float]], total: float) -> Operation:
    rows = sorted(rows, key=lambda row: -row[1])
    return Operation(
        kind=kind,
        share=sum(time for _, time in rows) / total,
        names=tuple(name.removeprefix("aten::").rpartition("#")[2] for name, _ in rows[:3]),
    )


def kind_of(name: str) -> str:
    """Return the kind of a torch operation: "aten::relu_" is an activation."""
    if not name.startswith("aten::"):  # the engine's own bookkeeping
        return "optimiser" if name.startswith("Optimizer.") else REST
    bare = name.removeprefix("aten::")
    (product, whole), *others = KINDS
    if bare.rstrip("_") in whole:
        return product
    kind = next((kind for kind, parts in others if any(part in bare for part in parts)), REST)
    return f"{kind}, backward" if "backward" in bare and kind not in (REST, "loss") else kind
