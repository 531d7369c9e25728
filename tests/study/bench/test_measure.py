"""A bench counts what it should, parts sum to the whole, and what it cannot measure is refused. Nothing on speed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from conftest import DRAW, shrink_ceilings
from small import SMALL, small
from torch import nn

from rungs.data.split import Parts
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.toml import parse
from rungs.run.record import from_json, to_json
from rungs.study.bench import ceilings, measure, operations, phases, record, rounds
from rungs.study.bench.options import BenchOptions
from rungs.study.bench.record import PHASES, BenchDir, BenchRecord, Spread
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import assemble

CPU = torch.device("cpu")
QUICK = ("training.batch_size=50", "evaluation.batch_size=40")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchRecord, Path]:
    """Make one bench for many tests, its ceilings small: what they come to is not tested."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_ceilings(patch)
        patch.setattr("rungs.report.style.save", DRAW)
        folder = tmp_path_factory.mktemp("bench") / "made"
        return measure.bench(small(*QUICK), folder=folder, seconds=1), folder


def test_the_record_is_written_and_comes_back(measured: tuple[BenchRecord, Path]) -> None:
    record, folder = measured
    assert BenchDir(folder).read_record() == record == from_json(to_json(record), BenchRecord, "x")
    assert {path.name for path in folder.iterdir()} >= {"bench.json", "report.html", "figures"}
    assert (folder / "figures" / "bench.png").stat().st_size > 20_000
    assert record.recipe.optim.lr == 0.05  # the recipe's own, though the bench takes smaller steps
    assert record.ceilings.precision == record.recipe.training.precision in ("fp32", "bf16")


def test_parts_sum_to_the_whole_and_shares_are_shares(measured: tuple[BenchRecord, Path]) -> None:
    record, _ = measured
    assert record.rounds >= rounds.FEWEST_ROUNDS
    for point in record.points:
        assert tuple(phase.name for phase in point.phases) == PHASES[point.kind]
        assert sum(phase.share for phase in point.phases) == pytest.approx(1)
        assert sum(phase.seconds.low for phase in point.phases) <= point.seconds.high * 1.0001
        assert point.images_per_s == pytest.approx(point.batch_size / point.seconds.median)
        assert (
            0 < point.share.low <= point.share.median <= point.share.high < 5
        )  # a busy machine slows the product, too
        assert point.share.n == record.rounds
    assert sum(row.share for row in record.operations) == pytest.approx(1)
    assert any(row.kind.startswith("convolution") for row in record.operations)


def test_levers_are_measured_in_each_round_or_say_why_not(measured: tuple[BenchRecord, Path]) -> None:
    record, _ = measured
    assert [lever.name for lever in record.levers] == ["convolution", "precision", "memory", "compile"]
    for lever in record.levers:
        assert (lever.gain is None) == bool(lever.why_not)
        assert lever.gain is None or lever.gain.n == record.rounds
    assert "raise --seconds to about" in record.levers[-1].why_not  # compiling takes a minute


def test_batch_sizes_surround_the_recipes_own(measured: tuple[BenchRecord, Path]) -> None:
    record, _ = measured
    left_out = " ".join(record.left_out)
    for kind, own, sizes in (("training", 50, (12, 25, 100, 200)), ("inference", 40, (1, 10, 20, 80))):
        assert record.own(kind).batch_size == own  # type: ignore[arg-type]
        found = [point.batch_size for point in record.points if point.kind == kind]
        assert found == sorted(found)
        assert all(size in found or f"{kind} with batches of {size}:" in left_out for size in sizes)


def test_flops_of_the_record_are_those_of_the_net(measured: tuple[BenchRecord, Path]) -> None:
    record, _ = measured
    first = 2 * 3 * 8 * 9 * 8 * 8  # its gradient by the image is not computed: two products, not three
    assert record.inference.flops == record.model.flops == first + 2 * 8 * 16 * 9 * 4 * 4 + 2 * 64 * 16 + 2 * 16 * 10
    assert record.training.flops == 3 * record.inference.flops - first


def test_flops_and_traffic_of_a_known_net_equal_a_count_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 10))
    x = torch.rand(5, 3, 8, 8)
    with torch.no_grad():
        flops, traffic = operations.count(lambda: net(x))
    conv, linear = 2 * 3 * 4 * 9 * 64, 2 * 256 * 10
    assert flops == 5 * (conv + linear) == sum(row[0] for row in traffic.rows)
    maps, weights, logits = 4 * 5 * 4 * 64, 4 * 3 * 4 * 9, 4 * 5 * 10
    by_hand = [
        (5 * conv, x.nbytes + weights + maps),
        (0, 2 * maps),
        (5 * linear, 4 * 10 + maps + 4 * 2560 + logits),  # bias, images, weights, logits; flattening moves nothing
    ]
    assert traffic.rows == by_hand
    assert traffic.bound_s(1e9, 1e30) == pytest.approx(flops / 1e9)
    assert traffic.bound_s(1e30, 1e9) == pytest.approx(sum(moved for _, moved in by_hand) / 1e9)


def test_what_an_operation_changes_is_written_once() -> None:
    x, y = torch.ones(100), torch.ones(100)
    _, traffic = operations.count(lambda: x.add_(y))
    assert traffic.rows == [(0, 3 * 400)]
    _, traffic = operations.count(lambda: (torch.empty(50), x.view(10, 10).t()))
    assert traffic.rows == []


def test_operations_are_called_as_the_field_calls_them() -> None:
    names = {
        "aten::mkldnn_convolution": "convolution",
        "aten::convolution_backward": "convolution, backward",
        "aten::cudnn_batch_norm_backward": "batch norm, backward",
        "aten::max_pool2d_with_indices": "pooling",
        "aten::threshold_backward": "activation, backward",
        "aten::addmm": "matrix product",
        "aten::_fused_adamw_": "optimiser",
        "Optimizer.step#AdamW.step": "optimiser",
        "aten::index_select": "gather images",
        "autograd::engine::evaluate_function: AddBackward0": operations.REST,
    }
    assert {name: operations.kind_of(name) for name in names} == names
    many = [
        (f"aten::{name}", float(time))
        for time, name in enumerate(
            (
                "relu",
                "add",
                "mm",
                "convolution",
                "max_pool2d",
                "native_batch_norm",
                "copy_",
                "empty",
                "index",
                "nll_loss",
            ),
            1,
        )
    ]
    rows = operations.grouped(many)
    assert len(rows) == operations.TOP + 1 and rows[-1].kind == operations.REST
    assert rows[0].kind == "loss" and rows[0].share == pytest.approx(10 / 55)
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert operations.grouped([]) == ()


@pytest.mark.parametrize("micro_batch", ["none", "20"])
def test_a_step_in_phases_is_a_step_of_the_loop(micro_batch: str) -> None:
    """Clipping, smoothing, momentum and the moving average included: a change of the loop's step shows here."""
    fixed = ("schedule.name=constant", "schedule.warmup_epochs=0.0", "model.dropout=[0.0]", "training.clip_norm=0.5")
    recipe, dataset = load_dataset(small("training.epochs=1", f"training.micro_batch={micro_batch}", *fixed), False)
    ours, theirs = (assemble(recipe, dataset, World(0, 1, open_device())) for _ in range(2))
    one = Parts(dataset.parts.train.take(torch.arange(50)), dataset.parts.validation, None)
    ours, theirs = (dataclasses.replace(setup, parts=one, steps_per_epoch=1) for setup in (ours, theirs))
    before = [parameter.clone() for parameter in ours.model.parameters()]
    ours.model.train()
    phases.train_on(ours, phases.training_feed(ours, 50))
    list(train_epochs(theirs, [], Screen()))
    for setup in (ours, theirs):
        assert setup.ema is not None and int(setup.ema.n_averaged) == 1
    changed = [not torch.equal(a, b) for a, b in zip(before, ours.model.parameters(), strict=True)]
    assert all(changed)
    for key, value in theirs.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[key], value), key


def test_passes_of_micro_batches_are_added_up() -> None:
    recipe, dataset = load_dataset(small("training.micro_batch=20"), False)
    setup = assemble(recipe, dataset, World(0, 1, open_device()))
    case = phases.Case(setup, "training", 50, True, phases.training_feed(setup, 50))
    assert case.folded([1.0, 2.0, 10.0, 3.0, 20.0, 100.0]) == [1.0, 5.0, 30.0, 100.0]
    assert [len(row) for row in case.run(ceilings.Stopwatch(CPU), 3)] == [4, 4, 4]


def test_feeds_give_batches_of_one_size_without_end() -> None:
    recipe, dataset = load_dataset(small(), False)
    setup = assemble(recipe, dataset, World(0, 1, open_device()))
    feed = phases.training_feed(setup, 150)  # 400 images: 150, 150, 100
    assert [len(next(feed)[0]) for _ in range(7)] == [150] * 7
    assert setup.parts.validation is not None
    feed = phases.scoring_feed(setup, setup.parts.validation, 99)  # 100 images: the last joins the others
    assert [len(next(feed)[0]) for _ in range(3)] == [100] * 3


def test_slow_batch_sizes_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = rounds.Measurement.__new__(rounds.Measurement)
    measurement.seconds = 10
    measurement.device = CPU
    traffic = operations.Traffic()
    traffic.rows = [(0, 1000)]
    measurement.counts = ((1, traffic, 1), (1, traffic, 1))
    assert "does not fit into 10 s" in measurement.reason_to_skip("training", 64, expected_s=5, budget_s=2)
    assert measurement.reason_to_skip("training", 64, expected_s=1, budget_s=2) == ""
    monkeypatch.setattr(rounds, "available_bytes", lambda: 100.0)
    assert "GB" in measurement.reason_to_skip("training", 64, expected_s=1, budget_s=2)


def test_stopwatch_and_spread() -> None:
    watch = ceilings.Stopwatch(CPU)
    for _ in range(4):
        watch.mark()
    assert len(watch.read()) == 3 and watch.marks == []
    assert record.spread([3.0]) == Spread(n=1, median=3, low=3, high=3)
    assert record.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == Spread(n=5, median=3, low=2, high=4)
    assert ceilings.MatrixProduct(CPU, "fp32", 32).measure() > 0


def test_bad_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse(SMALL, "small")
    for seconds in (0, 1e9, float("nan")):
        with pytest.raises(UserError, match="--seconds"):
            measure.bench(recipe, folder=tmp_path / "a", seconds=seconds)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        measure.bench(recipe, folder=tmp_path / "full")
    with pytest.raises(UserError, match="a file"):
        measure.bench(recipe, folder=tmp_path / "full" / "note.txt")
    with pytest.raises(UserError, match="no data source"):
        measure.bench(recipe, data="didgits", folder=tmp_path / "a")
    with pytest.raises(UserError, match="allowed"):
        measure.bench(recipe, ["training.batch_sise=3"], folder=tmp_path / "a")
    with pytest.raises(UserError):
        measure.bench(recipe, data=f"folder:{tmp_path / 'nowhere'}", folder=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="several ranks"):
        measure.bench(recipe, folder=tmp_path / "a")


def test_the_usual_folder_is_a_new_one_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert measure.prepare(BenchOptions(small())).folder.path == Path("runs/bench-small")
    (tmp_path / "runs" / "bench-small").mkdir(parents=True)
    assert measure.prepare(BenchOptions(small())).folder.path == Path("runs/bench-small-2")
