"""What the losses plot is said to show, read as a student would read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from small import run, small

from rungs.diagnose.interpretation import interpretation
from rungs.recipe import toml as recipes
from rungs.recipe.optimizers import AnySchedule, Constant, Cosine, OneCycle, Plateau, Step
from rungs.run.record import EpochRow, RunRecord


def told(
    losses: Sequence[float],
    validated: Sequence[float | None] | None = None,
    rates: Sequence[float] | None = None,
    schedule: AnySchedule = Constant(),  # noqa: B008 (frozen)
    **changes: Any,
) -> str:
    """Return what is said of these curves; without `train`, `validation` and `test` results unless they are given."""
    epochs = len(losses)
    rows: list[EpochRow] = []
    for i, row in enumerate(samples.history(epochs)):
        loss = None if validated is None else validated[i]
        rate = 0.1 if rates is None else rates[i]
        rows.append(replace(row, train_loss=losses[i], validation_loss=loss, learning_rate=rate))
    judged = [row for row in rows if row.validation_loss is not None]
    best = min(judged, key=lambda row: row.validation_loss or 0.0) if judged else rows[-1]
    record = samples.healthy()
    recipe = replace(record.recipe, schedule=schedule)
    fields = {"recipe": recipe, "train": None, "validation": None, "test": None, **changes}
    return interpretation(replace(record, history=tuple(rows), best_epoch=best.epoch, **fields))


FALLING = [2.0, 1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.6]
LEVEL = [2.0, 1.5, 1.2, 1.05, 1.01, 1.0, 1.0, 1.001]


def test_nothing_is_said_without_an_epoch() -> None:
    assert interpretation(samples.first_epoch()) == ""


def test_one_epoch_makes_no_curve() -> None:
    assert told([1.8], [1.7]) == "After its only epoch the training loss is 1.800."


def test_a_falling_training_loss() -> None:
    assert told(FALLING) == "The training loss falls from 2.000 to 0.600 in 8 epochs."


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([2.3, 2.4, 2.6], "does not fall (from 2.300 to 2.600 in 3 epochs)"),
        ([2.3, 2.3, 2.3], "does not fall (from 2.300 to 2.300 in 3 epochs)"),
        ([2.303, 2.3028, 2.302], "hardly falls (from 2.303 to 2.302 in 3 epochs)"),
    ],
)
def test_a_training_loss_that_stays(losses: list[float], words: str) -> None:
    assert told(losses) == f"The training loss {words}: the learning rate is too large, or far too small."


def test_a_training_loss_that_comes_back_up() -> None:
    text = told([2.0, 1.0, 0.5, 0.4, 0.8, 1.2])
    assert text == (
        "The training loss goes from 2.000 to 1.200 in 6 epochs, but was 0.400 in epoch 4: the steps are large."
    )


def test_a_rise_too_small_to_see_is_no_rise() -> None:
    assert told([2.0, 0.5, 0.1, 0.001, 0.002, 0.002]).startswith("The training loss falls from 2.000 to 0.002")


def test_overfitting_names_its_epoch() -> None:
    text = told(FALLING, [2.1, 1.6, 1.3, 1.2, 1.3, 1.5, 1.8, 2.0])
    assert text.endswith(
        "The validation loss falls with it until epoch 4 (1.200) and then rises, to 2.000: from there on the net "
        "overfits: what it learns no longer generalises."
    )
    record = samples.overfitting()
    assert f"until epoch {record.best_epoch} (" in interpretation(record)


def test_overfitting_from_the_first_epoch_falls_nowhere() -> None:
    text = told(FALLING, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7])
    assert "is smallest after epoch 1 (1.000) and rises from then on, to 1.700: from there on the net overfits" in text
    assert "validation loss falls" not in text


def test_still_falling() -> None:
    text = told(FALLING, [loss + 0.1 for loss in FALLING])
    assert text.endswith(
        "The validation loss falls with it to 0.700 and is still falling at the end: more epochs would help."
    )
    annealed = [0.1, 0.09, 0.07, 0.05, 0.03, 0.01, 0.001, 0.0001]
    text = told(FALLING, [loss + 0.1 for loss in FALLING], annealed, Cosine())
    assert text.endswith("The validation loss falls with it, to 0.700 in the last epoch.")


def test_an_interrupted_run_is_not_told_to_be_longer() -> None:
    text = told(FALLING, FALLING, status="interrupted")
    assert text.endswith("The validation loss falls with it, to 0.600 in the last epoch.")


def test_levelled_out() -> None:
    text = told(FALLING, LEVEL)
    assert text.endswith(
        "The validation loss reaches its smallest value, 1.000, in epoch 6; from epoch 5 on there is little gain."
    )
    text = told(FALLING, [2.0, 1.5, 1.2, 1.1, 1.05, 1.0, 1.01, 1.005])
    assert text.endswith(
        "The validation loss reaches its smallest value, 1.000, in epoch 6; after it there is no gain."
    )


def test_a_small_rise_is_told_but_not_called_overfitting() -> None:
    text = told(FALLING, [2.0, 1.5, 1.2, 1.05, 1.0, 1.01, 1.03, 1.04])
    assert text.endswith("The validation loss reaches its smallest value, 1.000, in epoch 5; at the end it is 1.040.")


def test_nothing_falls_with_a_training_loss_that_does_not_fall() -> None:
    text = told([1.0] * 8, [loss + 0.1 for loss in FALLING])
    assert "The validation loss falls to 0.700" in text
    assert "with it" not in text
    text = told([1.0] * 4, [1.0, 1.5, 2.0, 2.5])  # no overfitting: it learns nothing
    assert text.endswith("The validation loss reaches its smallest value, 1.000, in epoch 1; at the end it is 2.500.")


def test_without_validation_only_training_is_told() -> None:
    text = interpretation(samples.without_validation())
    assert text.startswith("The training loss falls")
    assert "validation" not in text
    assert "of the test images" in text


def test_a_diverged_run_says_that_it_broke_down() -> None:
    text = interpretation(samples.diverged())
    assert "The training loss falls from" in text
    assert "Then training broke down: the training loss was not finite in epoch 4 (step 2412)." in text
    assert "broke down" not in interpretation(samples.healthy())


# --- cuts of the learning rate ------------------------------------------------------------------------

CUT_AFTER_4 = [0.01] * 4 + [0.001] * 4


def test_a_cut_is_named_with_its_effect() -> None:
    after = [2.0, 1.6, 1.4, 1.3, 0.9, 0.89, 0.88, 0.88]
    text = told(FALLING, after, CUT_AFTER_4, Step(milestones=(4.0,)))
    assert (
        "When the learning rate is cut from 0.01 to 0.001, in epoch 5, the validation loss falls immediately by 0.400."
        in text
    )
    assert text.count("is cut") == 1


@pytest.mark.parametrize(
    ("at_the_cut", "words"),
    [
        (1.301, "hardly moves (1.300 to 1.301)"),
        (1.29, "hardly moves (1.300 to 1.290)"),
        (1.5, "rises immediately by 0.200"),
        (1.1, "falls immediately by 0.200"),
    ],
)
def test_what_a_cut_does_is_said_as_it_is(at_the_cut: float, words: str) -> None:
    text = told(FALLING, [2.0, 1.6, 1.4, 1.3, *[at_the_cut] * 4], CUT_AFTER_4, Step(milestones=(4.0,)))
    assert f"in epoch 5, the validation loss {words}." in text


def test_a_cut_by_half_and_one_in_the_last_epoch_are_cuts() -> None:
    halved = told(FALLING, LEVEL, [0.1] * 7 + [0.05], Step(milestones=(7.0,), gamma=0.5))
    assert "cut from 0.1 to 0.05, in epoch 8" in halved
    falling = [0.1 / 10**i for i in range(8)]  # in every epoch: still cuts, of a plateau
    text = told(FALLING, LEVEL, falling, Plateau(patience=0))
    assert text.count("When the learning rate is cut") == 3
    assert "It is cut 4 times more, to 1e-08 in epoch 8." in text


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle(), Constant()])
def test_a_smooth_schedule_makes_no_cut(schedule: AnySchedule) -> None:
    rates = [0.1, 0.09, 0.075, 0.05, 0.025, 0.0067, 0.0001, 0.0]
    assert "cut" not in told(FALLING, LEVEL, rates, schedule)


def test_a_cosine_of_few_epochs_makes_no_cut() -> None:
    rates = [0.0467, 0.0375, 0.025, 0.0125, 0.0033, 0.0]  # six epochs from 0.05: the fifth has a quarter of the fourth
    assert "cut" not in told(FALLING[:6], LEVEL[:6], rates, recipes.load("first-000").schedule)


def test_a_warm_up_is_no_cut() -> None:
    assert "cut" not in told(FALLING, LEVEL, [0.001, 0.05, *[0.1] * 6], Step(milestones=(20.0,), warmup_epochs=2.0))


def test_a_cut_without_validation_has_no_effect_to_tell() -> None:
    assert "cut" not in told(FALLING, None, CUT_AFTER_4, Step(milestones=(4.0,)))
    missing: list[float | None] = [*LEVEL]
    missing[4] = None
    assert "inf" not in told(FALLING, missing, CUT_AFTER_4, Step(milestones=(4.0,)))


# --- the gap ------------------------------------------------------------------------------------------


def gap(train: float, validation: float) -> str:
    results = {"train": samples.result(10, 45000, train), "validation": samples.result(10, 5000, validation)}
    accuracies = {"train": train, "validation": validation}
    return told(FALLING, LEVEL, **{name: replace(results[name], accuracy=accuracies[name]) for name in results})


def test_the_gap_is_told_in_points() -> None:
    said = "The kept weights, of epoch 6, classify 95.0 % of the training images and "
    said += "83.0 % of the validation images correctly"
    assert gap(0.95, 0.83).endswith(f"{said}, a gap of 12.0 points.")
    assert gap(0.84, 0.83).endswith(": there is hardly a gap, so a larger net or longer training may help.")
    assert gap(0.999, 0.99).endswith(": there is hardly a gap, and little left to gain.")
    assert gap(0.80, 0.90).endswith(
        "90.0 % of the validation images correctly: the latter are easier, or too few to tell."
    )


def test_weights_kept_for_their_accuracy_say_so() -> None:
    record = samples.healthy()
    stopping = replace(record.recipe.stopping, monitor="validation_accuracy")
    text = interpretation(replace(record, recipe=replace(record.recipe, stopping=stopping)))
    assert "The kept weights, of epoch 19, the most accurate on validation, classify" in text


# --- all of it ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.001, 50), st.none() | st.floats(0.001, 50)), min_size=1, max_size=12),
    st.sampled_from([Constant(), Cosine(), Step(milestones=(1.0, 2.0)), Plateau()]),
    st.sampled_from(["finished", "interrupted", "diverged"]),
)
def test_any_history_is_told_in_whole_sentences(
    losses: list[tuple[float, float | None]], schedule: AnySchedule, status: str
) -> None:
    rates = [0.1 / 3**i for i in range(len(losses))]
    text = told([a for a, _ in losses], [b for _, b in losses], rates, schedule, status=status)
    assert text.startswith(("The training loss", "After its only epoch"))
    assert text.endswith(".")
    assert not {"inf", "nan", "None"} & set(text.replace(",", " ").split())


def test_a_real_run_is_told_by_its_own_numbers(tmp_path: Path) -> None:
    step = ("schedule.name=step", "schedule.milestones=[3]", "schedule.warmup_epochs=0", "augment.train=[]")
    record: RunRecord = run(small(*step), tmp_path)
    rows = record.history
    text = interpretation(record)
    assert f"falls from {rows[0].train_loss:.3f} to {rows[-1].train_loss:.3f} in 4 epochs." in text
    assert "The validation loss" in text
    assert "cut from 0.05 to 0.005, in epoch 4, the validation loss" in text
    assert record.train is not None
    assert f"of epoch {record.best_epoch}, classify {100 * record.train.accuracy:.1f} % of the training" in text


def test_the_floor_of_a_softmax_taken_twice_is_said() -> None:
    record = samples.healthy()
    training = replace(record.recipe.training, loss="softmax-cross-entropy")
    assert "It cannot fall below 1.461" in interpretation(
        replace(record, recipe=replace(record.recipe, training=training))
    )
    assert "cannot fall below" not in interpretation(record)
