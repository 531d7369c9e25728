"""The rules of curves on the curves of real CIFAR-10 runs: the records of climbed ladders.

Those in results/ were climbed in full. Those in short_climbs.json.gz had few images or epochs, so that more went wrong
in them.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import msgspec
import pytest
import samples
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.recipe import toml as recipes
from rungs.run.record import EpochRow, EvalResult, RunRecord, from_json
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord

RESULTS = Path(__file__).parents[2] / "results"
SHORT = Path(__file__).parents[1] / "short_climbs.json.gz"
OF_IMAGES = {"near-copies", "small-validation", "confused-pair", "calibration", "sound", "few-epochs", "test-selection"}


@cache
def ladder(name: str) -> LadderRecord:
    path = RESULTS / f"{name}.json"
    return from_json(path.read_bytes(), LadderRecord, path)


@cache
def short(name: str) -> LadderRecord:
    return msgspec.json.decode(gzip.decompress(SHORT.read_bytes()), type=dict[str, LadderRecord])[name]


def assignments(record: LadderRecord, rung: RungRecord) -> tuple[str, ...]:
    below = [] if rung.on is None else assignments(record, next(r for r in record.rungs if r.name == rung.on))
    return (*below, *rung.changes)


def as_run(record: LadderRecord, rung: RungRecord, cell: CellRecord) -> RunRecord:
    """Return the run of a cell as far as the ladder's record holds it."""
    curves, many = cell.curves, len(cell.curves["train_loss"])

    def value(name: str, i: int) -> float | None:
        return curves[name][i] if name in curves else None

    rows = tuple(
        EpochRow(
            epoch=i + 1, step=round(cell.values["steps"] * (i + 1) / many), learning_rate=curves["learning_rate"][i],
            train_loss=curves["train_loss"][i], train_accuracy=curves["train_accuracy"][i],
            validation_loss=value("validation_loss", i), validation_accuracy=value("validation_accuracy", i),
            train_s=1.0, validation_s=0.1, images_per_s=1.0,
        )
        for i in range(many)
    )  # fmt: skip

    def scored(part: str) -> EvalResult | None:
        n, accuracy = sum(record.data.counts.get(part, ())), cell.values.get(f"{part}_accuracy")
        result = samples.result(10, max(n, 1), 0.8)
        interval = samples.wilson(accuracy or 0.0, max(n, 1))
        return None if accuracy is None else replace(result, n=n, accuracy=accuracy, accuracy_interval=interval)

    set_here = assignments(record, rung) if rung.on else ()
    recipe = recipes.parse(recipes.to_toml(record.recipe), record.name, set_here)
    return replace(
        samples.healthy(), recipe=recipe, data=record.data, history=rows, best_epoch=cell.best_epoch,
        train=scored("train"), validation=scored("validation"), test=scored("test"),
    )  # fmt: skip


def seen(record: LadderRecord, rung_name: str) -> list[set[str]]:
    rung = next(rung for rung in record.rungs if rung.name == rung_name)
    return [{f.rule for f in examine(as_run(record, rung, cell))} - OF_IMAGES for cell in rung.cells]


def test_every_rung_of_the_first_net_went_well() -> None:
    for rung in ladder("first-cnn").rungs:
        assert all(not found for found in seen(ladder("first-cnn"), rung.name)), rung.name
    assert all(found == {"no-validation"} for found in seen(ladder("speedrun"), "speedrun-94"))


def test_what_the_full_climbs_show_is_seen() -> None:
    deep, nets = ladder("deep-then-regularise"), ladder("three-nets")
    assert all(found == {"validation-diverges"} for found in seen(deep, "batchnorm"))
    assert all(not found & {"validation-diverges", "overfitting"} for found in seen(deep, "augmented"))
    assert all(not found for found in seen(nets, "net-2"))
    for rung in ("resnet18", "later-decay", "quarter", "half"):
        assert all("large-stem" in found and found & {"overfitting", "gap"} for found in seen(nets, rung)), rung
    assert all(found == {"early-decay", "large-stem"} for found in seen(nets, "augmented"))


@pytest.mark.parametrize(
    ("name", "rung", "rules"),
    [
        ("deep-then-regularise", "batchnorm", {"validation-diverges"}),
        ("deep-then-regularise", "initial", {"validation-diverges"}),
        ("deep-then-regularise", "augmented", {"unfinished"}),
        ("why-resnet18", "net-1", {"rate-too-small"}),
        ("why-resnet18", "net-2", {"early-decay"}),
        ("why-resnet18", "more-epochs", {"overfitting", "large-stem"}),
        ("why-resnet18", "small-stem", {"gap"}),
        ("mixed-convolutions", "softmax-twice", {"double-softmax"}),
        ("what-matters", "rate-0.0001", {"rate-too-small"}),
        ("what-matters", "rate-0.001", {"rate-too-small"}),
        ("what-matters", "rate-0.3", {"stuck"}),
        ("what-matters", "batch-512", {"few-steps"}),
        ("what-matters", "batch-512-rate-scaled", {"few-steps"}),
        ("what-matters", "base", {"unfinished"}),
    ],
)
def test_what_the_seeds_tell_of_is_seen(name: str, rung: str, rules: set[str]) -> None:
    for found in seen(short(name), rung):
        assert found == rules
