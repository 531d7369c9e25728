"""A net that evaluation spoils: when it is said, and which cause is named."""

from __future__ import annotations

import pytest
import samples
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.evaluation_mode import evaluation_mode
from rungs.diagnose.interpretation import interpretation
from rungs.recipe import toml as recipes
from rungs.recipe.augments import ColourJitter
from rungs.recipe.models import Speedrun
from rungs.recipe.own import Own
from rungs.run.record import Finding, LayerRow, RunRecord


def spoilt(kept: float = 0.4, running: float = 0.9, steps: int = 400, *overrides: str) -> RunRecord:
    """Return a run of four epochs whose last weights, which were kept, score worse than they did while training."""
    record = samples.healthy()
    rows = tuple(
        replace(row, step=steps * row.epoch // 4, train_accuracy=running, train_loss=2.0 - 0.4 * row.epoch)
        for row in samples.history(4)
    )
    recipe = recipes.parse(recipes.to_toml(record.recipe), "it", overrides)
    scored = replace(samples.result(10, 5000, 0.5), accuracy=kept, accuracy_interval=samples.wilson(kept, 5000))
    return replace(record, recipe=recipe, history=rows, best_epoch=4, train=scored)


def with_norm(record: RunRecord, detail: str) -> RunRecord:
    norm = LayerRow(name="norm", kind="BatchNorm2d", detail=detail, output=(8, 4, 4), parameters=16, flops=0)
    return replace(record, model=replace(record.model, layers=(*record.model.layers, norm)))


def found(record: RunRecord) -> Finding:
    first = examine(record)[0]
    assert first.rule == "evaluation-mode"
    return first


def test_five_points_and_an_interval_below_are_needed() -> None:
    assert evaluation_mode(spoilt(kept=0.84)) is not None
    assert evaluation_mode(spoilt(kept=0.86)) is None
    few = spoilt(kept=0.84)
    assert few.train is not None
    assert evaluation_mode(replace(few, train=replace(few.train, accuracy_interval=(0.7, 0.92)))) is None


def test_it_is_silent_where_it_cannot_be_told() -> None:
    assert evaluation_mode(replace(spoilt(), train=None)) is None  # the net may just have memorised
    assert evaluation_mode(replace(spoilt(), best_epoch=None)) is None
    assert evaluation_mode(samples.healthy()) is None


def test_weights_that_know_nothing_are_held_against_the_epoch_that_started_from_them() -> None:
    record = spoilt(kept=0.1)
    rows = tuple(
        replace(row, train_accuracy=share) for row, share in zip(record.history, [0.12, 0.5, 0.8, 0.9], strict=True)
    )
    early = replace(record, history=rows, best_epoch=1)
    assert "During epoch 2 the net classified 50.0 %" in found(early).text
    slow = tuple(replace(row, train_accuracy=0.12) for row in rows)
    assert evaluation_mode(replace(early, history=slow)) is None
    assert early.train is not None
    something = replace(early.train, accuracy=0.2, accuracy_interval=(0.19, 0.21))
    assert evaluation_mode(replace(early, train=something)) is None


def test_early_weights_are_held_against_the_epochs_around_them() -> None:
    record = spoilt(kept=0.18)  # a net that is normalised only while it is trained: chance keeps its first epoch
    rows = tuple(
        replace(row, train_accuracy=share, learning_rate=0.05)
        for row, share in zip(record.history, [0.2, 0.3, 0.35, 0.4], strict=True)
    )
    early = replace(record, history=rows, best_epoch=1, validation=record.train, test=record.train)
    assert "In the mean of epochs 1 and 2 the net classified 25.0 %" in found(early).text
    cut = (rows[0], *(replace(row, learning_rate=0.005) for row in rows[1:]))
    assert evaluation_mode(replace(early, history=cut)) is None  # the smaller rate may have raised it


def test_it_speaks_alone_and_names_both_accuracies() -> None:
    record = spoilt()
    warnings = [one.rule for one in examine(record) if one.level == "warning"]
    assert warnings == ["evaluation-mode"]
    assert "classified 90.0 % of the training images correctly" in found(record).text
    assert "only 40.0 % of the same images" in found(record).text
    assert "far more of the former: evaluation mode spoils the net." in interpretation(record)


@pytest.mark.parametrize(
    ("decay", "steps", "cure"), [(0.999, 400, "0.97"), (0.9999, 10000, "0.999"), (0.99, 500, "0.98")]
)
def test_an_average_of_the_weights_that_looks_back_too_far(decay: float, steps: int, cure: str) -> None:
    finding = found(spoilt(0.4, 0.9, steps, f"training.ema_decay={decay}"))
    assert f"looks back about {1 / (1 - decay):,.0f} steps" in finding.text
    assert finding.cure == f"--set training.ema_decay={cure}"


def test_an_average_over_a_tenth_of_the_steps_is_not_to_blame() -> None:
    assert "average of the weights" not in found(spoilt(0.4, 0.9, 1010, "training.ema_decay=0.99")).text
    assert found(spoilt(0.4, 0.9, 16, "training.ema_decay=0.9")).cure == "--set training.ema_decay=none"


def test_running_statistics_that_have_not_settled() -> None:
    own = found(with_norm(spoilt(), "momentum 0.001"))
    assert "have not settled" in own.text and "Raise the momentum in your net" in own.text
    few = found(with_norm(spoilt(0.4, 0.9, 48), "momentum 0.1"))
    assert few.cure == "--set training.batch_size=16"
    record = spoilt()
    speedrun = replace(record, recipe=replace(record.recipe, model=Speedrun(norm_memory=0.999)))
    assert found(with_norm(speedrun, "momentum 0.001")).cure == "--set model.norm_memory=0.9"
    assert found(with_norm(speedrun, "")).cure == "--set model.norm_memory=0.9"  # a record of an earlier version


def test_running_statistics_of_too_few_images() -> None:
    assert "those of the last batches" in found(with_norm(spoilt(), "momentum 1")).text
    record = spoilt(0.4, 0.9, 4000, "training.batch_size=4")
    assert found(with_norm(record, "momentum 0.1")).cure == "--set training.batch_size=32"


def test_small_images_in_training_alone() -> None:
    record = spoilt(0.4, 0.9, 400, "training.image_scales=[1.0, 0.5]", "training.epochs=4")
    assert found(record).cure == "--set training.image_scales=[]"
    assert "0.5 of the size" in found(record).text
    full_at_last = spoilt(0.4, 0.9, 400, "training.image_scales=[0.5, 1.0]", "training.epochs=4")
    assert "the size" not in found(full_at_last).text


def test_what_is_left_is_the_net_itself_or_its_inputs() -> None:
    record = spoilt()
    own = replace(record, recipe=replace(record.recipe, model=Own(attribute="Net")))
    assert "`self.training`" in found(own).text
    assert "normalised by the same means" in found(record).text
    jittered = replace(
        record, recipe=replace(record.recipe, augment=replace(record.recipe.augment, train=(ColourJitter(),)))
    )
    assert found(jittered).cure == "--set augment.train=[]"
