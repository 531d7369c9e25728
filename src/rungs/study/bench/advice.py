"""Rules that read a `BenchRecord` and say what would make it faster here. Each returns a `Finding` or None.

Batch sizes are compared by their share of the matrix product in the same round, not by their seconds: what else the
machine did meanwhile is then in both numbers.
"""

from __future__ import annotations

from collections.abc import Callable

from rungs.diagnose.findings import note, warning
from rungs.run.record import Finding
from rungs.study.bench.record import BenchRecord, Kind, Point

UNSTEADY = 1.3
"""Ratio of the quartiles of the matrix product: a machine that varies more tells no small differences apart."""
DATA_SHARE = 0.20
"""A fifth of the step for data: without it the step is 1.25 times as fast."""
OPTIMISER_SHARE = 0.15
"""The optimiser takes the same time for any batch, so a share like this one falls with larger ones."""
FASTER = 1.05
"""A batch size must be 5 % faster, and its quartiles above those of the recipe's own, to be worth a word."""
PRECISION_GAIN = 1.5
"""A precision whose matrix product is so much faster pays, though not everything is a matrix product."""
NEAR = 0.75
"""Of the matrix product, or of the same operations at their ceilings: what is left is not worth chasing."""
OTHERS_SHARE = 0.30
"""Of the step's time in operations that are neither convolutions nor matrix products, and count no FLOPs."""
COUNTED = ("convolution", "matrix product")


def advise(record: BenchRecord) -> tuple[Finding, ...]:
    """Return what all rules see: warnings, then notes, then what is well; nothing where nothing would help."""
    found = [finding for rule in RULES if (finding := rule(record)) is not None]
    return tuple(sorted(found, key=lambda finding: ("warning", "note", "good").index(finding.level)))


def bound_share(record: BenchRecord, kind: Kind) -> float:
    """Return how near a point comes to the time that its operations would take if each ran at its ceiling."""
    point, work = record.own(kind), record.training if kind == "training" else record.inference
    return work.bound_s * point.batch_size / point.seconds.median


def phase(point: Point, name: str) -> float:
    """Return the share of one phase."""
    return next(phase.share for phase in point.phases if phase.name == name)


def unsteady(record: BenchRecord) -> Finding | None:
    """The ceiling itself moved while it was measured."""
    product = record.ceilings.matmul
    if product.high <= UNSTEADY * product.low:
        return None
    text = (
        f"The same matrix product ran at {product.low / 1e9:.3g} to {product.high / 1e9:.3g} GFLOP/s (the quartiles of "
        f"{product.n} measurements): something else used the machine, or its clock changed. Shares are taken within "
        "a round and so suffer less than seconds, but small differences mean nothing."
    )
    return warning("unsteady", "The machine was not quiet", text, None)


def threads(record: BenchRecord) -> Finding | None:
    """Torch computes with fewer threads than there are cores, or with more."""
    cores, used = record.environment.cores, record.threads
    if record.on_gpu or used == cores:
        return None
    if used > cores:
        text = (
            f"Torch computes with {used} threads on {cores} cores, where they wait for each other: set OMP_NUM_THREADS."
        )
        return warning("threads", "More threads than cores", text, None)
    text = (
        f"Torch computes with {used} of {cores} cores; the ceilings were measured with as many. "
        f"OMP_NUM_THREADS={cores} uses all of them; what that brings was not measured."
    )
    return note("threads", "Not all cores compute", text, None)


def precision(record: BenchRecord) -> Finding | None:
    """The other precision's matrix product is much faster here."""
    used, rates = record.ceilings.precision, record.ceilings.by_precision
    other = max(rates, key=lambda name: rates[name])
    gain = rates[other] / rates[used]
    if other == used or gain < PRECISION_GAIN:
        return None
    text = f"A matrix product in {other} is {gain:.1f} times as fast here as in {used}, in which this recipe runs."
    return note("precision", f"{other} is faster on this machine", text, f"--set training.precision={other}")


def data(record: BenchRecord) -> Finding | None:
    """The net waits for its images."""
    own = record.own("training")
    share = phase(own, "data")
    if share <= DATA_SHARE:
        return None
    data_s, augmentation_s = own.phases[0].seconds.median, record.augmentation_s or 0.0
    of_it = min(1.0, augmentation_s / data_s)
    text = (
        f"{100 * share:.0f} % of a training step goes into its images, {100 * of_it:.0f} % of that into augmentation. "
        f"A step cannot become more than {1 / (1 - share):.2f} times as fast by this."
    )
    many = of_it > 0.5
    title = "Augmentation takes its time" if many else "Fetching images takes its time"
    return note("data", title, text, "--set augment.train='[]'  # or fewer of them" if many else None)


def optimiser(record: BenchRecord) -> Finding | None:
    """The optimiser takes much of a step."""
    own = record.own("training")
    share = phase(own, "optimiser")
    larger = [point for point in record.of("training") if point.batch_size > own.batch_size]
    if share <= OPTIMISER_SHARE or not larger:
        return None
    best = min(larger, key=lambda point: phase(point, "optimiser"))
    text = (
        f"The optimiser takes {100 * share:.0f} % of a step, whatever the batch; with batches of {best.batch_size} "
        f"{100 * phase(best, 'optimiser'):.0f} %. Larger batches take fewer steps an epoch, so the learning rate wants "
        "tuning again."
    )
    return note("optimiser", "The optimiser takes its time", text, f"--set training.batch_size={best.batch_size}")


def training_batches(record: BenchRecord) -> Finding | None:
    """Another batch size trains faster."""
    found = _faster(record, "training")
    if found is None:
        return None
    own, best, gain = found
    text = f"{_compared(own, best, gain)} "
    if record.on_gpu and record.recipe.training.cuda_graphs:
        text += "These are plain steps; training records them as CUDA graphs, so that a small net gains less. "
    if best.batch_size > own.batch_size:
        text += "It takes fewer steps an epoch, so the learning rate wants tuning again."
        return note(
            "training-batches", "Larger batches train faster", text, f"--set training.batch_size={best.batch_size}"
        )
    text += "As micro-batches, their gradients added up, they leave the step as it is but for a BatchNorm's statistics."
    cure = f"--set training.micro_batch={best.batch_size}"
    return note("training-batches", "Smaller batches train faster", text, cure)


def inference_batches(record: BenchRecord) -> Finding | None:
    """Another batch size infers faster; the results stay."""
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
    """Much of the time goes where no FLOPs are counted."""
    others = [row for row in record.operations if not row.kind.startswith((*COUNTED, "everything else"))]
    share = sum(row.share for row in others)
    if share <= OTHERS_SHARE:
        return None
    named = [f"{row.kind} {100 * row.share:.0f} %" for row in others[:3]]
    text = (
        f"{100 * share:.0f} % of the operations' time is spent outside convolutions and matrix products: "
        f"{', '.join(named)}. Such operations wait for memory, or are too small to keep the chip busy: smaller maps in "
        "the first stages (a stride, an earlier pool) make them cheaper, larger batches amortise those that are small."
    )
    return note("other-operations", "Much time goes where nothing is multiplied", text, None)


def near_the_ceiling(record: BenchRecord) -> Finding | None:
    """Only fewer operations help."""
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
    data,
    optimiser,
    training_batches,
    inference_batches,
    other_operations,
    near_the_ceiling,
)
