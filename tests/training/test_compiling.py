"""Compiling: chosen by trial, reported, and the same numbers."""

from __future__ import annotations

import importlib
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from small import Told, run, small
from torch import nn

from rungs.models.winograd import pays
from rungs.recipe.identity import changes
from rungs.recipe.toml import load
from rungs.run.record import EpochRow
from rungs.training import compiling, loop
from rungs.training.compiling import Trial, choose_compiling, compile_net
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

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
        way = "training.convolution=winograd"
        recipe = small(model, way, "training.precision=fp32", "data.image_size=12", "training.ema_decay=none")
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
            "training.convolution=winograd",
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
    plain_s, compiled_s = seconds
    monkeypatch.setattr(compiling, "_step_s", lambda *_: plain_s)
    monkeypatch.setattr(compiling, "_trial", lambda *_: Trial(9.0, plain_s, compiled_s, 60.0))
    monkeypatch.setattr(compiling, "compile_net", lambda setup: None)
    monkeypatch.setattr("rungs.training.run.compile_net", lambda setup: None)
    told = Told()
    record = run(
        small("training.epochs=20000", "training.convolution=direct"), tmp_path / "run", screen=told, stop_after=1
    )
    assert record.recipe.training.compile == choice
    assert f"{1000 * seconds[1]:.0f} ms compiled" in record.environment.compile_reason
    most = 0.05 * plain_s / 50 * 400 * 20000
    assert f"testing whether compiling the net pays off; this takes {most:.0f} s at most" in told.said


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


def lengthy(epochs: int, *overrides: str) -> Setup:
    """Return the setup of a run that takes 8 s an epoch, with `_step_s` of `one_second`."""
    recipe = small(f"training.epochs={epochs}", "training.convolution=direct", "training.precision=fp32", *overrides)
    return assemble(*load_dataset(recipe, False), World(0, 1, torch.device("cpu")))


def chosen(setup: Setup) -> tuple[str, str]:
    choose_compiling(setup, "auto", lambda text: None)
    return setup.recipe.training.compile, setup.environment.compile_reason


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_step_s", lambda *_: 1.0)


def trials(monkeypatch: pytest.MonkeyPatch, compiled_s: float | None, failure: str = "") -> list[float]:
    """Let trials come to this; return the list of their time limits."""
    given: list[float] = []

    def trial(setup: Setup, x: object, y: object, given_s: float) -> Trial:
        given.append(given_s)
        return Trial(given_s, 1.0, compiled_s, 60.0, failure)

    monkeypatch.setattr(compiling, "_trial", trial)
    return given


@pytest.mark.usefixtures("one_second")
def test_runs_of_the_same_net_share_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    given = trials(monkeypatch, 0.5)
    measured = "1000 ms a step of 50 images uncompiled, 500 ms compiled, after 60 s of compiling"
    assert chosen(lengthy(1000)) == ("yes", measured)
    assert given == [pytest.approx(0.05 * 8000)]
    assert chosen(lengthy(2000, "seed=1")) == ("yes", f"{measured}; measured before on this machine")
    assert len(given) == 1
    for other in ("model.batch_norm=false", "training.micro_batch=25", "training.precision=bf16"):
        chosen(lengthy(1000, other))
    assert len(given) == 4


@pytest.mark.usefixtures("one_second")
def test_the_same_trial_tells_a_shorter_run_not_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    trials(monkeypatch, 0.93)
    assert chosen(lengthy(1000))[0] == "yes"  # saves 560 s of 8,000
    trial = Trial(400.0, 1.0, 0.93, 60.0)
    assert [compiling._decide(trial, 50, 2000.0, sizes)[0] for sizes in (1, 2, 3)] == [
        "yes",
        "yes",
        "no",
    ]  # saves 140 s
    choice, reason = chosen(lengthy(100))  # of 800, 56 s
    assert choice == "no" and "more than this run would save; measured before" in reason
    assert chosen(lengthy(70)) == ("no", compiling.TOO_SHORT)  # a trial could take 28 s


@pytest.mark.usefixtures("one_second")
@pytest.mark.parametrize("failure", ["", "RuntimeError"])
def test_a_trial_without_a_result_is_repeated_only_with_more_time(
    monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    given = trials(monkeypatch, None, failure)
    words = f"compiling failed: {failure}" if failure else "compiling takes longer than 40 s"
    assert chosen(lengthy(100)) == ("no", words)
    assert chosen(lengthy(150)) == ("no", f"{words}; measured before on this machine")
    assert given == [pytest.approx(40)]
    chosen(lengthy(250))
    assert given[1:] == [pytest.approx(100)]


def test_a_trial_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = lengthy(1)
    x, y = compiling._trial_batch(setup)
    handler = signal.getsignal(signal.SIGALRM)
    importlib.import_module("torch._inductor.compile_fx")  # its seconds count
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: time.sleep(600))
    began = time.perf_counter()
    assert compiling._trial(setup, x, y, 1.0) == Trial(1.0)  # in the middle of compiling
    monkeypatch.setattr(compiling, "_step_s", lambda *_: time.sleep(600))
    assert compiling._trial(setup, x, y, 0.05) == Trial(0.05)
    assert time.perf_counter() - began < 300
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_thread_that_cannot_limit_a_trial_makes_none() -> None:
    setup = lengthy(100_000)
    thread = threading.Thread(target=choose_compiling, args=(setup, "auto", lambda text: None))
    thread.start()
    thread.join()
    assert setup.recipe.training.compile == "no"
    assert "in a program's main thread alone" in setup.environment.compile_reason


def test_of_a_very_short_run_not_a_single_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_step_s", lambda *_: pytest.fail("timed"))
    assert chosen(lengthy(5)) == ("no", compiling.TOO_SHORT)  # 4 steps of 50 images are a tenth of 5 x 400


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
