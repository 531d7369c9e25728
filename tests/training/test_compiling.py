"""Compiling: chosen by trial, reported, and the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import Told, run, small

from rungs.models.winograd import pays
from rungs.recipe.identity import changes
from rungs.recipe.toml import load
from rungs.run.record import EpochRow
from rungs.training import compiling, loop
from rungs.training.compiling import choose_compiling, compile_net
from rungs.training.device import World
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import assemble, load_dataset

SHORT = (
    "training.epochs=1", "data.train=100", "data.validation=50", "data.test=50", "evaluation.batch_size=50",
    "evaluation.score_train=false",
    "model.dropout=[]",  # compiled, it draws other numbers
)  # fmt: skip


def losses(rows: tuple[EpochRow, ...]) -> list[float]:
    return [row.train_loss for row in rows]


def test_a_short_run_is_not_compiled_and_says_why(tmp_path: Path) -> None:
    record = run(small("training.epochs=1", "training.convolution=direct"), tmp_path / "run")
    assert record.recipe.training.compile == "no"
    assert record.environment.compile_reason == "too short a run to win back the time of compiling"
    assert "training.compile" not in record.changed


def test_the_winograd_way_is_not_compiled() -> None:
    wide, narrow = "model={name='plain',stages=[[64,64]],hidden=[]}", "model.dropout=[]"
    found = {}
    for model in (wide, narrow):
        recipe = small(model, "training.precision=fp32", "data.image_size=12", "training.ema_decay=none")
        setup = assemble(*load_dataset(recipe, False), World(0, 1, torch.device("cpu")))
        choose_compiling(setup, "auto", lambda text: None)
        found[model] = (
            setup.recipe.training.convolution,
            setup.recipe.training.compile,
            setup.environment.compile_reason,
        )
    assert found[wide][:2] == ("winograd", "no") and "products of matrices" in found[wide][2]
    assert found[narrow][:2] == ("direct", "no") and "too short a run" in found[narrow][2]


def test_a_compiled_net_computes_the_same(tmp_path: Path) -> None:
    plain, compiled = (
        run(small(*SHORT, "training.epochs=3", f"training.compile={choice}"), tmp_path / choice)
        for choice in ("no", "yes")
    )
    assert losses(compiled.history) == pytest.approx(losses(plain.history), rel=1e-3)
    assert compiled.test is not None and plain.test is not None
    assert compiled.test.loss == pytest.approx(plain.test.loss, rel=1e-2)
    assert compiled.environment.compile_reason == "the recipe asks for it"
    first, *later = compiled.history
    assert first.train_s / 2 < first.warm_up_s < first.train_s
    assert later[-1].warm_up_s == 0 == plain.history[0].warm_up_s


@pytest.mark.dear
def test_a_compiled_net_computes_the_winograd_way_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pays(64, 64, 4, 4)
    monkeypatch.setattr(loop, "validate", lambda setup, epoch: ((None, None),))  # one graph to compile is enough
    rows: list[EpochRow] = []
    for choice in ("no", "yes"):
        recipe = small(
            *SHORT, "model={name='plain',stages=[[64],[64]],hidden=[]}", "training.precision=fp32",
            "training.epochs=3", "training.ema_decay=none", f"training.compile={choice}",
        )  # fmt: skip
        setup = assemble(*load_dataset(recipe, False), World(0, 1, torch.device("cpu")))
        choose_compiling(setup, choice, lambda text: None)
        assert (setup.recipe.training.convolution, setup.recipe.training.compile) == ("winograd", choice)
        compile_net(setup)
        rows += train_epochs(setup, [], Screen())
    plain, compiled = losses(tuple(rows[:3])), losses(tuple(rows[3:]))
    assert len(set(plain)) == len(compiled) == 3
    assert compiled == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize(("seconds", "choice"), [((1.0, 0.5), "yes"), ((1.0, 0.99), "no"), ((0.5, 1.0), "no")])
def test_a_long_run_takes_what_a_trial_found_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, float], choice: str
) -> None:
    asked = iter(seconds)
    monkeypatch.setattr(compiling, "_step_s", lambda *_: next(asked))
    monkeypatch.setattr(compiling, "compile_net", lambda setup: None)
    monkeypatch.setattr("rungs.training.run.compile_net", lambda setup: None)
    told = Told()
    record = run(
        small("training.epochs=20000", "training.convolution=direct"), tmp_path / "run", screen=told, stop_after=1
    )
    assert record.recipe.training.compile == choice
    assert f"{1000 * seconds[1]:.0f} ms compiled" in record.environment.compile_reason
    assert "testing whether compiling the net pays off; this takes about a minute" in told.said


def test_what_cannot_be_compiled_is_trained_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> float:
        if times:
            return times.pop()
        raise RuntimeError("no compiler")

    times = [1.0]
    monkeypatch.setattr(compiling, "_step_s", broken)
    record = run(small("training.epochs=20000", "training.convolution=direct"), tmp_path / "run", stop_after=1)
    assert (record.recipe.training.compile, record.environment.compile_reason) == (
        "no",
        "compiling failed: RuntimeError",
    )


def test_a_resumed_run_keeps_its_first_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(small(), tmp_path / "run", stop_after=1)
    monkeypatch.setattr(compiling, "_try_it", lambda *_: ("yes", "a trial that fell out otherwise"))
    record = run(small(), tmp_path / "run", resume=True)
    assert (record.status, record.recipe.training.compile) == ("finished", "no")


def test_what_a_run_fills_in_is_no_change_of_its_recipe() -> None:
    setup = assemble(*load_dataset(load("digits-quick"), False), World(0, 1, torch.device("cpu")))
    choose_compiling(setup, "auto", lambda text: None)
    assert "auto" not in (
        setup.recipe.training.compile,
        setup.recipe.training.convolution,
        setup.recipe.training.precision,
    )
    assert changes(setup.recipe) == ()
