"""What the rules say of a bench, and that they hold their tongue where nothing would help."""

from __future__ import annotations

from bench_samples import COPY, LEVERS, PEAK, bench, spread
from msgspec.structs import replace

from rungs.run.record import Finding
from rungs.study.bench.advice import advise
from rungs.study.bench.record import BenchRecord, Lever, Operation, Spread


def found(record: BenchRecord) -> dict[str, Finding]:
    return {finding.rule: finding for finding in advise(record)}


def test_nothing_is_said_where_nothing_helps() -> None:
    assert advise(bench()) == ()


def test_data_that_takes_its_time_names_the_augmentation_only_where_it_is_the_cause() -> None:
    slow = bench(phases=(0.4, 0.2, 0.35, 0.05))
    assert found(slow)["data"].cure is None  # 1 ms of augmentation is a small part of it
    data_s = slow.own("training").phases[0].seconds.median
    finding = found(replace(slow, augmentation_s=0.9 * data_s))["data"]
    assert finding.cure is not None and "augment.train" in finding.cure
    assert "40 %" in finding.text and "1.67 times" in finding.text
    assert "data" not in found(bench(phases=(0.19, 0.4, 0.36, 0.05)))


def test_an_expensive_optimiser_wants_larger_batches() -> None:
    assert found(bench(phases=(0.1, 0.2, 0.4, 0.3)))["optimiser"].cure == "--set training.batch_size=128"


def test_a_faster_batch_size_is_named_with_its_gain() -> None:
    larger = found(bench(training=(0.3, 0.4, 0.6)))["training-batches"]
    assert larger.cure == "--set training.batch_size=128" and "1.50 times" in larger.text
    micro = found(bench(training=(0.6, 0.4, 0.4)))["training-batches"]
    assert micro.cure == "--set training.micro_batch=32"
    smaller = found(bench(inference=(0.6, 0.4, 0.3)))["inference-batches"]
    assert smaller.cure == "--set evaluation.batch_size=125" and "Smaller" in smaller.title


def test_a_batch_size_within_the_noise_is_not_named() -> None:
    record = bench(training=(0.4, 0.5, 0.55))
    wide = tuple(replace(point, share=spread(point.share.median, 0.1)) for point in record.points)
    assert "training-batches" in found(record)
    assert "training-batches" not in found(replace(record, points=wide))


def test_precision_threads_and_an_unsteady_machine() -> None:
    record = bench()
    fast = replace(record, ceilings=replace(record.ceilings, by_precision={"fp32": PEAK, "bf16": 3 * PEAK}))
    assert found(fast)["precision"].cure == "--set training.precision=bf16"
    assert "OMP_NUM_THREADS=2" in found(replace(record, threads=1))["threads"].text
    assert found(replace(record, threads=8))["threads"].level == "warning"
    assert "threads" not in found(replace(record, threads=1, on_gpu=True))
    moved = replace(record.ceilings, matmul=spread(PEAK, 0.2))
    assert found(replace(record, ceilings=moved))["unsteady"].level == "warning"


def test_near_the_ceiling_only_fewer_operations_help() -> None:
    finding = found(bench(training=(0.78, 0.8, 0.8)))["near-the-ceiling"]
    assert finding.level == "good" and "80 %" in finding.text and "fewer operations" in finding.text
    memory = bench(training=(0.28, 0.3, 0.3))  # far from the product, but near what its traffic allows
    bound = replace(memory.training, bound_s=0.9 * memory.own("training").seconds.median / 64)
    assert "90 %" in found(replace(memory, training=bound))["near-the-ceiling"].text
    assert memory.ceilings.copy.median == COPY


def test_time_outside_of_products_names_the_operations() -> None:
    rows = (
        Operation(kind="convolution", share=0.4, names=()),
        Operation(kind="batch norm", share=0.35, names=()),
        Operation(kind="pooling", share=0.25, names=()),
    )
    assert "batch norm 35 %, pooling 25 %" in found(bench(operations=rows))["other-operations"].text


def test_a_lever_is_named_where_the_other_way_is_clearly_faster() -> None:
    (compiling,) = advise(bench(levers=LEVERS))
    assert compiling.level == "note" and compiling.title == "Faster on this machine: compiled"
    assert compiling.cure == "--set training.compile=yes" and "1.25 times as fast" in compiling.text
    cures = {
        "convolution": ("winograd", "direct", "--set training.convolution=direct"),
        "precision": ("bf16", "fp32", "--set training.precision=fp32"),
        "memory": ("kept", "returned", "RUNGS_KEEP_MEMORY=no"),
    }
    for name, (used, other, cure) in cures.items():
        lever = Lever(name=name, used=used, other=other, gain=spread(0.9))  # type: ignore[arg-type]
        assert found(bench(levers=(lever,)))[name].cure == cure
        small, wide = spread(0.96), Spread(n=5, median=0.9, low=0.8, high=1.01)
        for within in (small, wide):
            assert advise(bench(levers=(replace(lever, gain=within),))) == ()


def test_a_measured_precision_counts_more_than_a_product() -> None:
    record = bench()
    fast = replace(record, ceilings=replace(record.ceilings, by_precision={"fp32": PEAK, "bf16": 3 * PEAK}))
    assert "precision" in found(replace(fast, levers=LEVERS))  # not measured there
    lever = Lever(name="precision", used="fp32", other="bf16", gain=spread(1.1))
    assert "precision" not in found(replace(fast, levers=(lever,)))
