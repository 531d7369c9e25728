"""A run that keeps its last epoch says so, and nowhere that validation chose it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from small import run, small

from rungs.diagnose.curves import unfinished
from rungs.diagnose.pace import stopped_early
from rungs.report import run_figures, run_page, run_tables
from rungs.run.record import EpochRow, RunRecord
from rungs.study.comparison.comparable import how_chosen
from rungs.training.screen import Screen


class Marked(Screen):
    """A screen that keeps which epoch it is told to mark as the best."""

    def __init__(self) -> None:
        self.marks: list[int | None] = []

    def show(self, rows: Sequence[EpochRow], best: int | None) -> None:
        self.marks.append(best)


def with_losses(record: RunRecord, losses: Sequence[float]) -> RunRecord:
    rows = [replace(row, validation_loss=loss) for row, loss in zip(record.history, losses, strict=True)]
    return replace(record, history=tuple(rows))


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, list[int | None]]:
    screen = Marked()
    recipe = small("stopping.keep=last", "training.epochs=4", "evaluation.watch_test=false")
    return run(recipe, tmp_path_factory.mktemp("last") / "run", screen=screen), screen.marks


def test_the_last_epoch_is_kept_and_none_is_marked_as_the_best(last: tuple[RunRecord, list[int | None]]) -> None:
    record, marks = last
    assert record.best_epoch == 4
    assert marks == [None] * 4


def test_reports_call_it_the_last(last: tuple[RunRecord, list[int | None]], tmp_path: Path) -> None:
    record, _ = last
    assert run_page._monitor(record, ()) == (
        "The weights are those of the last epoch, 4, as the recipe says; the test set was opened once, after that."
    )
    names = [name for name, _ in run_tables._summary_rows(record)]
    assert "last epoch" in names
    assert "best epoch" not in names
    assert how_chosen(record) == "nothing (the last epoch)"
    figure = run_figures.learning_curves(record)
    titles = " ".join(axes.get_title(loc) for axes in figure.axes for loc in ("left", "center"))
    assert "last: epoch 4" in titles


def test_a_last_epoch_that_is_not_the_best_is_no_sign_of_learning(last: tuple[RunRecord, list[int | None]]) -> None:
    constant = replace(last[0], history=tuple(replace(row, learning_rate=0.1) for row in last[0].history))
    assert unfinished(with_losses(constant, [1.0, 0.9, 0.8, 0.5])) is not None
    assert unfinished(with_losses(constant, [1.0, 0.4, 0.8, 0.5])) is None


def test_its_end_is_not_called_early_by_an_epoch_that_was_not_chosen(
    last: tuple[RunRecord, list[int | None]],
) -> None:
    recipe = replace(last[0].recipe, stopping=replace(last[0].recipe.stopping, patience=1))
    recipe = replace(recipe, training=replace(recipe.training, epochs=40))
    rows = [replace(row, train_loss=1 / row.epoch, train_accuracy=0.5) for row in last[0].history]
    record = replace(last[0], recipe=recipe, history=tuple(rows))
    assert stopped_early(record) is None
    best = replace(recipe, stopping=replace(recipe.stopping, keep="best"))
    assert stopped_early(replace(record, recipe=best)) is not None
