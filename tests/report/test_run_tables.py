from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import samples
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from rungs.recipe.spec import Claim
from rungs.report import run_tables
from rungs.report.seeds import next_run
from rungs.run.record import ModelRecord, Scaled


def printed(table: Table, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_claims_stand_beside_measurements_with_a_verdict() -> None:
    train, validation, test = run_tables.comparisons(samples.claimed())
    assert train.claimed == "95.12 %"
    for row in (train, validation, test):  # one seed: five points are what seeds may do
        assert row.agrees is None and row.verdict.startswith("cannot tell with 1 seed (")
    assert "(-1.12 points)" in train.verdict
    low, high = (float(end) for end in test.interval.removesuffix(" %").split(" – "))  # noqa: RUF001
    assert 6 < high - low < 12


def test_a_claim_says_nothing_of_a_changed_recipe() -> None:
    record = replace(samples.claimed(), changed=("optim.lr", "training.epochs"))
    for row in run_tables.comparisons(record):
        assert (row.verdict, row.agrees) == ("not comparable: optim.lr, training.epochs changed", None)


def test_a_claim_is_not_named_beside_other_images() -> None:
    record = replace(samples.claimed(), changed=("data.source", "data.train"))
    assert run_tables.comparisons(record) == ()
    assert "claimed" not in printed(run_tables.summary(record))
    assert "claimed" in printed(run_tables.summary(samples.claimed()))


def test_a_claim_below_the_interval_is_beaten_and_one_without_a_score_is_open() -> None:
    record = samples.claimed()
    better = replace(record, test=samples.result(10, 10000, 0.95))
    assert run_tables.comparisons(better)[2].verdict == "better (+11.90 points)"
    worse = run_tables.comparisons(replace(record, test=samples.result(10, 10000, 0.6)))[2]
    assert worse.verdict.startswith("worse (-2") and worse.agrees is False
    unscored = run_tables.comparisons(replace(record, test=None))[2]
    assert (unscored.verdict, unscored.agrees) == ("not measured", None)


def test_summary_names_what_matters() -> None:
    record = samples.claimed()
    text = printed(run_tables.summary(record))
    assert record.test is not None
    for part in (f"{100 * record.test.accuracy:.2f} %", "44 min 23 s", "2,191,146", "bf16", "82.94 %", "n = 10,000"):
        assert part in text


def test_summary_and_verdict_say_when_a_run_did_not_end_well() -> None:
    assert "stopped by SIGINT" in printed(run_tables.summary(samples.interrupted()))
    assert run_tables.verdict(samples.interrupted()).startswith("The training was interrupted")
    assert run_tables.verdict(samples.diverged()).startswith("The training diverged")
    assert "has not been opened" in run_tables.verdict(samples.first_epoch())


def test_layers_sum_up() -> None:
    model = samples.plain_model()
    text = printed(run_tables.layers(model))
    assert f"{model.parameters:,}" in text
    assert "features.conv1_2" in text
    assert text.count("Conv2d") == 6


@pytest.mark.parametrize("width", [100, 120])
@pytest.mark.parametrize("make", [samples.plain_model, samples.resnet_model])
def test_layers_are_named_in_full_on_a_usual_terminal(width: int, make: Callable[[], ModelRecord]) -> None:
    model, text = make(), printed(run_tables.layers(make()), width)
    assert all(f"{row.name} " in text and row.kind in text for row in model.layers)
    assert "…" not in text
    assert "stride 1" not in text


def test_the_summary_is_whole_on_a_narrow_terminal() -> None:
    text = printed(run_tables.summary(samples.claimed()), 60)
    assert "…" not in text
    for name in ("test accuracy", "validation accuracy", "FLOPs per image", "2,191,146", "44 min 23 s", "n = 10,000"):
        assert name in text


def test_class_names_are_text_and_not_markup() -> None:
    record = samples.sized(2, 1, names=("[red]stop[/red]", "[/]"))
    assert record.test is not None
    text = printed(run_tables.per_class(record.test, record.data.classes))
    assert "[red]stop[/red]" in text
    assert "[/]" in text


def test_claims_of_a_count_and_of_a_maximum_over_epochs() -> None:
    record = samples.healthy()
    rows = tuple(replace(row, test_accuracy=0.7 + row.epoch / 1000) for row in record.history)
    claims = tuple(
        Claim(metric=metric, value=value, source="somebody")
        for metric, value in (
            ("parameters", record.model.parameters),
            ("parameters", 12),
            ("highest_test_accuracy", 0.75),
            ("highest_train_accuracy", 0.5),
        )
    )
    claimed = replace(record, recipe=replace(record.recipe, claims=claims))
    same, other, unwatched, trained = run_tables.comparisons(claimed)
    assert (same.agrees, other.agrees, unwatched.verdict) == (True, False, "not measured")
    highest = 100 * max(row.train_accuracy for row in rows)
    assert trained.measured == f"{highest:.2f} %" and "a maximum over 20 epochs" in trained.verdict
    early = run_tables.comparisons(replace(claimed, history=rows[:1]))[-1]
    assert early.verdict.endswith("a maximum over 1 epoch")
    watched = run_tables.comparisons(replace(claimed, history=rows))[2]
    assert watched.measured == "72.00 %" and watched.verdict.startswith("-3.00 points")


def test_a_claim_of_about_so_much_agrees_within_its_tolerance() -> None:
    record = samples.healthy()
    assert record.test is not None
    value = next_run(record.test, same_images=True)[1] + 0.004
    for tolerance, agrees in ((0.0, False), (0.005, None)):
        claim = Claim(metric="test_accuracy", value=value, source="somebody", tolerance=tolerance)
        (row,) = run_tables.comparisons(replace(record, recipe=replace(record.recipe, claims=(claim,))))
        assert row.agrees is agrees


def test_a_class_without_images_has_a_dash_and_is_in_no_mean() -> None:
    result = samples.result(3, 300, 0.9)
    table = ((95, 5, 0), (10, 90, 0), (0, 0, 0))
    absent = replace(result, n=200, confusion=table, precision=(0.9, 0.9, 0.0), recall=(0.95, 0.9, 0.0))
    assert absent.recall == (0.95, 0.9, None)
    text = printed(run_tables.per_class(absent, ("a", "b", "c")))
    (row,) = (line for line in text.splitlines() if "c " in line and "class" not in line)
    assert row.count("–") == 3 and "%" not in row  # noqa: RUF001
    (foot,) = (line for line in text.splitlines() if "mean of 2 classes" in line)
    assert "90.0 %" in foot and "92.5 %" in foot


def test_the_summary_tells_top_5_and_calibration_where_there_are() -> None:
    record = samples.claimed()
    assert record.test is not None
    text = printed(run_tables.summary(record))
    assert "top 5" not in text and "calibration error" in text
    after = Scaled(temperature=1.5, loss=0.5, calibration_error=0.012, calibration=record.test.calibration)
    many = replace(record, test=replace(record.test, top5_accuracy=0.9876, scaled=after))
    text = printed(run_tables.summary(many))
    assert "test accuracy, top 5" in text and "98.76 %" in text and "1.2 % with temperature 1.50" in text


def test_what_a_temperature_does_is_said_and_nothing_of_runs_of_before_it() -> None:
    record = samples.healthy()
    assert run_tables.calibrated(record) == ""
    none = replace(record, temperature_reason="not fitted: 9 validation images, and it takes 100")
    assert "its temperature was not fitted: 9 validation images" in run_tables.calibrated(none)
    assert record.test is not None
    after = Scaled(temperature=1.5, loss=0.5, calibration_error=0.012, calibration=record.test.calibration)
    fitted = replace(
        record, test=replace(record.test, scaled=after), temperature=1.5, temperature_reason="fitted on 9 images"
    )
    said = run_tables.calibrated(fitted)
    assert "divides the logits by 1.50, a temperature fitted on 9 images" in said
    assert "test 2.0 % before, 1.2 % after" in said and "the net as it was trained" in said
