"""Rules that suggest speedups from a `BenchRecord`. Each returns a `Finding` or None.

Batch sizes are compared by their share of the matrix product in the same round, not by their seconds, so that other
load on the machine affects both numbers alike.
"""

from __future__ import annotations

from collections.abc import Callable

from rungs.diagnose.findings import note, warning
from rungs.run.record import Finding
from rungs.study.bench.record import BenchRecord, Kind, LeverName, Point
from rungs.study.bench.words import way

UNSTEADY = 1.3
"""Ratio of the quartiles of the matrix product; above it, small differences cannot be distinguished."""
DATA_SHARE = 0.20
"""Share of a step spent on data; without it a step would be 1.25 times as fast."""
OPTIMISER_SHARE = 0.15
"""Share of a step in the optimiser, whose time does not depend on the batch size, so larger batches reduce it."""
FASTER = 1.05
"""A batch size must be 5 % faster, and its quartiles above those of the recipe's own, to be reported; a lever the other
way must be 5 % faster, and its quartiles above 1."""
PRECISION_GAIN = 1.5
"""A precision pays off if its matrix product is this much faster; not everything is a matrix product."""
NEAR = 0.75
"""Share of the matrix product, or of the operations' ceilings, above which little is left to gain."""
OTHERS_SHARE = 0.30
"""Share of a step in operations that are neither convolutions nor matrix products and count no FLOPs."""
COUNTED = ("convolution", "matrix product")


def advise(record: BenchRecord) -> tuple[Finding, ...]:
    """Return the findings of all rules: warnings, then notes, then good ones."""
    found = [finding for rule in RULES if (finding := rule(record)) is not None]
    return tuple(sorted(found, key=lambda finding: ("warning", "note", "good").index(finding.level)))


def bound_share(record: BenchRecord, kind: Kind) -> float:
    """Return the share of the speed that its operations would reach if each ran at its ceiling."""
    point, work = record.own(kind), record.training if kind == "training" else record.inference
    return work.bound_s * point.batch_size / point.seconds.median


def phase(point: Point, name: str) -> float:
    """Return the share of one phase."""
    return next(phase.share for phase in point.phases if phase.name == name)


def unsteady(record: BenchRecord) -> Finding | None:
    """The ceiling itself varied during the measurement."""
    product = record.ceilings.matmul
    if product.high <= UNSTEADY * product.low:
        return None
    text = (
        f"The same matrix product ran at {product.low / 1e9:.3g} to {product.high / 1e9:.3g} GFLOP/s (the quartiles of "
        f"{product.n} measurements): other processes used the machine, or its clock changed. Shares are taken within "
        "a round and so are affected less than seconds, but small differences are not meaningful."
    )
    return warning("unsteady", "The machine was not idle", text, None)


def threads(record: BenchRecord) -> Finding | None:
    """Torch uses fewer or more threads than there are cores."""
    cores, used = record.environment.cores, record.threads
    if record.on_gpu or used == cores:
        return None
    if used > cores:
        text = f"Torch uses {used} threads on {cores} cores, so they wait for each other: set OMP_NUM_THREADS."
        return warning("threads", "More threads than cores", text, None)
    text = (
        f"Torch uses {used} of {cores} cores; the ceilings were measured with the same number. "
        f"OMP_NUM_THREADS={cores} uses all of them; the gain was not measured."
    )
    return note("threads", "Not all cores are used", text, None)


def convolution(record: BenchRecord) -> Finding | None:
    """Convolutions are faster the other way."""
    return _other_way(record, "convolution", "--set training.convolution={}", "The results are equal up to rounding.")


def memory(record: BenchRecord) -> Finding | None:
    """Steps are faster if freed memory is returned."""
    return _other_way(record, "memory", "RUNGS_KEEP_MEMORY=no", "The results are the same.")


def compiling(record: BenchRecord) -> Finding | None:
    """Steps are faster the other way, compiled or not."""
    cost = "Compiling takes about a minute at the start, once for each image size."
    return _other_way(record, "compile", "--set training.compile={}", cost)


def precision(record: BenchRecord) -> Finding | None:
    """The other precision is faster; where that was not measured, its matrix product is much faster."""
    lever = record.lever("precision")
    if lever is not None and lever.gain is not None:
        return _other_way(record, "precision", "--set training.precision={}", "Check the accuracy.")
    used, rates = record.ceilings.precision, record.ceilings.by_precision
    other = max(rates, key=lambda name: rates[name])
    gain = rates[other] / rates[used]
    if other == used or gain < PRECISION_GAIN:
        return None
    text = f"A matrix product in {other} is {gain:.1f} times as fast here as in {used}, which this recipe uses."
    return note("precision", f"{other} is faster on this machine", text, f"--set training.precision={other}")


def _other_way(record: BenchRecord, name: LeverName, cure: str, also: str) -> Finding | None:
    """Suggest the other way of a lever where it was clearly faster; `cure` has room for it."""
    lever = record.lever(name)
    if lever is None or lever.gain is None or lever.gain.median > 1 / FASTER or lever.gain.high >= 1:
        return None
    gain, used, other = lever.gain, way(lever.used), way(lever.other)
    text = (
        f"A training step is {1 / gain.median:.2f} times as fast: {other} rather than {used} "
        f"(quartiles {1 / gain.high:.2f} to {1 / gain.low:.2f}, {gain.n} rounds). {also}"
    )
    return note(name, f"Faster on this machine: {other}", text, cure.format(lever.other))


def data(record: BenchRecord) -> Finding | None:
    """The net waits for data."""
    own = record.own("training")
    share = phase(own, "data")
    if share <= DATA_SHARE:
        return None
    data_s, augmentation_s = own.phases[0].seconds.median, record.augmentation_s or 0.0
    of_it = min(1.0, augmentation_s / data_s)
    text = (
        f"{100 * share:.0f} % of a training step is data loading, {100 * of_it:.0f} % of that augmentation. "
        f"Removing it would make a step at most {1 / (1 - share):.2f} times as fast."
    )
    many = of_it > 0.5
    title = "Augmentation is slow" if many else "Data loading is slow"
    return note("data", title, text, "--set augment.train='[]'  # or fewer of them" if many else None)


def optimiser(record: BenchRecord) -> Finding | None:
    """The optimiser takes a large share of a step."""
    own = record.own("training")
    share = phase(own, "optimiser")
    larger = [point for point in record.of("training") if point.batch_size > own.batch_size]
    if share <= OPTIMISER_SHARE or not larger:
        return None
    best = min(larger, key=lambda point: phase(point, "optimiser"))
    text = (
        f"The optimiser takes {100 * share:.0f} % of a step, whatever the batch; with batches of {best.batch_size} "
        f"{100 * phase(best, 'optimiser'):.0f} %. Larger batches mean fewer steps per epoch: "
        "retune the learning rate."
    )
    return note("optimiser", "The optimiser is slow", text, f"--set training.batch_size={best.batch_size}")


def training_batches(record: BenchRecord) -> Finding | None:
    """Another batch size trains faster."""
    found = _faster(record, "training")
    if found is None:
        return None
    own, best, gain = found
    text = f"{_compared(own, best, gain)} "
    if record.on_gpu and record.recipe.training.cuda_graphs:
        text += "The bench runs plain steps; training uses CUDA graphs, so a small net gains less. "
    if best.batch_size > own.batch_size:
        text += "An epoch has fewer steps, so retune the learning rate."
        return note(
            "training-batches", "Larger batches train faster", text, f"--set training.batch_size={best.batch_size}"
        )
    text += "As micro-batches with accumulated gradients, they only change the step's BatchNorm statistics."
    cure = f"--set training.micro_batch={best.batch_size}"
    return note("training-batches", "Smaller batches train faster", text, cure)


def inference_batches(record: BenchRecord) -> Finding | None:
    """Another batch size infers faster, with the same results."""
    found = _faster(record, "inference")
    if found is None:
        return None
    own, best, gain = found
    text = f"{_compared(own, best, gain)} The scores are the same."
    title = f"{'Larger' if best.batch_size > own.batch_size else 'Smaller'} batches infer faster"
    return note("inference-batches", title, text, f"--set evaluation.batch_size={best.batch_size}")


def _faster(record: BenchRecord, kind: Kind) -> tuple[Point, Point, float] | None:
    own, best = record.own(kind), max(record.of(kind), key=lambda point: point.share.median)
    gain = best.share.median / own.share.median
    return (own, best, gain) if gain >= FASTER and best.share.low > own.share.high else None


def _compared(own: Point, best: Point, gain: float) -> str:
    return (
        f"{own.kind.capitalize()} in batches of {best.batch_size} reaches {100 * best.share.median:.0f} % of the "
        f"matrix product, in those of {own.batch_size} {100 * own.share.median:.0f} %: {gain:.2f} times as fast."
    )


def other_operations(record: BenchRecord) -> Finding | None:
    """Much of the time is spent on operations without FLOPs."""
    others = [row for row in record.operations if not row.kind.startswith((*COUNTED, "everything else"))]
    share = sum(row.share for row in others)
    if share <= OTHERS_SHARE:
        return None
    named = [f"{row.kind} {100 * row.share:.0f} %" for row in others[:3]]
    text = (
        f"{100 * share:.0f} % of the operations' time is spent outside convolutions and matrix products: "
        f"{', '.join(named)}. They are memory-bound, or too small to keep the chip busy: smaller maps in the "
        "first stages (a stride, an earlier pool) make them cheaper, and larger batches amortise small ones."
    )
    return note("other-operations", "Much time is outside convolutions and matrix products", text, None)


def near_the_ceiling(record: BenchRecord) -> Finding | None:
    """Training is near the ceiling, so only fewer operations help."""
    own = record.own("training")
    share, bound = own.share.median, bound_share(record, "training")
    if max(share, bound) < NEAR or unsteady(record) is not None:
        return None
    text = (
        f"Training reaches {100 * share:.0f} % of the matrix product's FLOP/s, and {100 * bound:.0f} % of what the "
        "same operations would reach if each ran at its ceiling and no cache helped. Only fewer operations help: "
        "smaller images, narrower first stages, fewer epochs."
    )
    return Finding(rule="near-the-ceiling", level="good", title="Training is near the ceiling", text=text)


RULES: tuple[Callable[[BenchRecord], Finding | None], ...] = (
    unsteady,
    threads,
    precision,
    convolution,
    memory,
    compiling,
    data,
    optimiser,
    training_batches,
    inference_batches,
    other_operations,
    near_the_ceiling,
)
