"""A made-up but plausible bench, for the tests of its rules, tables and picture; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import samples
from msgspec.structs import replace

from rungs.study.bench.record import (
    PHASES,
    BenchRecord,
    Ceilings,
    Kind,
    Lever,
    Operation,
    Phase,
    Point,
    Spread,
    Work,
)

PEAK, COPY = 90e9, 10e9
FORWARD = 0.27e9


def spread(median: float, width: float = 0.02, n: int = 5) -> Spread:
    return Spread(n=n, median=median, low=median * (1 - width), high=median * (1 + width))


LEVERS = (
    Lever(name="convolution", used="winograd", other="direct", gain=spread(1.6)),
    Lever(name="precision", used="fp32", other="bf16", why_not="this CPU has neither AMX nor AVX-512 bf16"),
    Lever(name="memory", used="kept", other="returned", gain=spread(1.01)),
    Lever(name="compile", used="no", other="yes", gain=spread(0.8)),
)


def point(kind: Kind, size: int, share: float, phases: Sequence[float], *, own: bool = False) -> Point:
    flops_per_s = share * PEAK
    images_per_s = flops_per_s / (FORWARD * (3 if kind == "training" else 1))
    seconds = size / images_per_s
    named = zip(PHASES[kind], phases, strict=True)
    return Point(
        kind=kind,
        batch_size=size,
        own=own,
        seconds=spread(seconds),
        phases=tuple(Phase(name=name, seconds=spread(seconds * part), share=part) for name, part in named),
        images_per_s=images_per_s,
        flops_per_s=flops_per_s,
        share=spread(share),
    )


def bench(
    training: Sequence[float] = (0.48, 0.5, 0.51),
    inference: Sequence[float] = (0.49, 0.5, 0.51),
    phases: Sequence[float] = (0.1, 0.3, 0.55, 0.05),
    **changed: Any,
) -> BenchRecord:
    """A bench whose recipe has batches of 64 and 250, each tried at half, once and twice its size."""
    run = samples.healthy()
    points = [
        point("training", s, share, phases, own=s == 64) for s, share in zip((32, 64, 128), training, strict=True)
    ]
    sizes = zip((125, 250, 500), inference, strict=True)
    points += [point("inference", s, share, (0.02, 0.98), own=s == 250) for s, share in sizes]
    record = BenchRecord(
        recipe=run.recipe,
        data=run.data,
        model=run.model,
        environment=replace(run.environment, precision="fp32"),
        on_gpu=False,
        threads=2,
        ceilings=Ceilings(
            precision="fp32",
            matmul=spread(PEAK),
            matmul_size=512,
            copy=spread(COPY),
            copy_bytes=1 << 27,
            by_precision={"fp32": PEAK, "bf16": PEAK / 90},
        ),
        training=Work(flops=3 * FORWARD, traffic_bytes=1e7, bound_s=3 * FORWARD / PEAK / 0.8),
        inference=Work(flops=FORWARD, traffic_bytes=4e6, bound_s=FORWARD / PEAK / 0.8),
        points=tuple(points),
        augmentation_s=0.001,
        operations=(
            Operation(kind="convolution, backward", share=0.5, names=("convolution_backward",)),
            Operation(kind="convolution", share=0.3, names=("mkldnn_convolution", "convolution")),
            Operation(kind="batch norm", share=0.15, names=("native_batch_norm",)),
            Operation(kind="everything else", share=0.05, names=("div",)),
        ),
        peak_memory_bytes=780_000_000,
        left_out=("training with batches of 256: about 4.1 s each, too long for 30 s in all",),
        rounds=5,
        started="2026-01-02T10:00:00+00:00",
        wall_s=41.0,
    )
    return replace(record, **changed)
