"""The hardware's limits: a matrix product and a copy, timed in alternation with the workloads compared with them."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIZES = {"cpu": (256, 512, 768, 1024, 1536), "cuda": (2048, 4096, 8192)}
"""Rows and columns of the matrices: small ones stay in a CPU's caches, large ones fill a GPU."""
COPY_BYTES = {"cpu": 128 << 20, "cuda": 512 << 20}
"""More than the caches of most chips hold: an EPYC's 32 MiB per complex, an H100's 50 MiB."""
COMPARED = {"cpu": 512, "cuda": 4096}
"""The size at which precisions are compared."""
TRIES = 3
"""Measurements of each size; the best one counts."""
SLOW_S = 0.3
"""If a product takes longer, no larger one is tried."""
ENOUGH_S = 0.04
"""Least duration of a measurement, so that timer and kernel-launch overhead are negligible."""


class Stopwatch:
    """Times a device's work between marks; on a GPU with events in its stream, without synchronising.

    On a GPU the time between two marks is the stream's, including idle time when the CPU is too slow to keep it busy.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: list[float | torch.cuda.Event] = []

    def mark(self) -> None:
        """Set a mark."""
        if self.device.type != "cuda":
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        self.marks.append(event)

    def read(self) -> list[float]:
        """Wait for the device; return the seconds between the marks and forget them."""
        wait(self.device)
        pairs = list(zip(self.marks, self.marks[1:], strict=False))
        self.marks = []
        return [_between(first, second) for first, second in pairs]


def _between(first: float | torch.cuda.Event, second: float | torch.cuda.Event) -> float:
    if isinstance(first, float) and isinstance(second, float):
        return second - first
    return float(first.elapsed_time(second)) / 1000  # type: ignore[union-attr,arg-type]  # it gives milliseconds


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, do: Callable[[], object], times: int) -> float:
    """Return the mean seconds of `times` back-to-back calls, including the device's work."""
    watch = Stopwatch(device)
    watch.mark()
    for _ in range(times):
        do()
    watch.mark()
    return watch.read()[0] / times


def repeats(seconds: float) -> int:
    """Return how many calls of this duration a measurement needs to last long enough."""
    return max(1, round(ENOUGH_S / max(seconds, 1e-7)))


class MatrixProduct:
    """A square matrix product in one precision."""

    def __init__(self, device: torch.device, precision: str, size: int) -> None:
        self.device, self.precision, self.size = device, precision, size
        generator, dtype = torch.Generator(device).manual_seed(0), DTYPES[precision]
        a, b = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
        product = torch.empty_like(a)
        self.do: Callable[[], Tensor] = lambda: torch.mm(a, b, out=product)
        self.do()
        self.seconds = timed(device, self.do, 1)
        self.times = repeats(self.seconds)

    def measure(self) -> float:
        """Return FLOP/s."""
        return 2 * self.size**3 / timed(self.device, self.do, self.times)


def fastest_product(device: torch.device, precision: str) -> MatrixProduct:
    """Return the product of the size with the most FLOP/s; sizes alternate, so that noise affects all alike."""
    products: list[MatrixProduct] = []
    for size in SIZES[device.type]:
        products.append(MatrixProduct(device, precision, size))
        if products[-1].seconds > SLOW_S:  # a CPU without native bf16 is a hundred times slower
            break
    best = [0.0] * len(products)
    for _ in range(TRIES):
        best = [max(rate, product.measure()) for rate, product in zip(best, products, strict=True)]
    return products[best.index(max(best))]


class Copy:
    """The bytes per second that a large copy reads and writes."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes = COPY_BYTES[device.type]
        source = torch.ones(self.bytes // 4, device=device)
        target = torch.empty_like(source)
        self.do: Callable[[], Tensor] = lambda: target.copy_(source)
        self.do()
        self.times = repeats(timed(device, self.do, 1))

    def measure(self) -> float:
        """Return bytes/s."""
        return 2 * self.bytes / timed(self.device, self.do, self.times)


def side_by_side(device: torch.device) -> dict[str, float]:
    """Return the FLOP/s of each precision, at one size; small on a CPU, which may lack native bf16."""
    products = [MatrixProduct(device, precision, COMPARED[device.type]) for precision in DTYPES]
    return {product.precision: product.measure() for product in products}
