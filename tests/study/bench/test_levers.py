"""Each lever is measured the other way round, in turns with the recipe's own step, or says why not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from msgspec.structs import replace
from small import small

from rungs.recipe.spec import TrainingSpec
from rungs.study.bench import levers
from rungs.study.bench.ceilings import Stopwatch
from rungs.study.bench.levers import NO_FASTER, Budget, Levers, Trial
from rungs.study.bench.phases import Case, training_feed
from rungs.study.bench.record import Lever, LeverName
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.setup import Setup, assemble

PLENTY = Budget(seconds=1e5, turns=5, left_s=2e4)
NET = ("model.stages=[[64,64]]", "training.batch_size=20", "training.precision=fp32")
WIDE = (*NET, "training.convolution=winograd")


def made(*overrides: str) -> tuple[Levers, Case]:
    """Return the levers of the small recipe, of real setups without a compiler, and its own training step."""
    recipe, dataset = load_dataset(small(*overrides, "training.compile=no"), False)

    def build(training: TrainingSpec) -> Setup:
        if training.compile == "yes":
            raise RuntimeError("no compiler")
        return assemble(replace(recipe, training=training), dataset, World(0, 1, torch.device("cpu")))

    setup, size = build(recipe.training), recipe.training.batch_size
    return Levers(recipe.training, build, setup), Case(setup, "training", size, True, training_feed(setup, size))


def measured(found: Levers, own: Case, budget: Budget = PLENTY) -> dict[LeverName, Lever]:
    """Choose and take one turn."""
    found.choose(own, 0.1, {"fp32": 2.0, "bf16": 1.0}, dataclasses.replace(budget), lambda text: None)
    found.turn(0.1)
    return {lever.name: lever for lever in found.results()}


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any CPU have bf16."""
    monkeypatch.setattr(levers, "lacks_bf16", lambda device: "")


@pytest.mark.usefixtures("bf16")
def test_each_lever_goes_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levers, "keep_freed_memory", lambda: "kept when freed")
    found, own = made(*WIDE)
    results = measured(found, own)
    compared = {name: (lever.used, lever.other) for name, lever in results.items()}
    assert compared == {
        "convolution": ("winograd", "direct"),
        "precision": ("fp32", "bf16"),
        "memory": ("kept", "returned"),
        "compile": ("no", "yes"),
    }
    assert results["compile"].why_not == "compiling failed: RuntimeError" and results["compile"].gain is None
    assert all((lever.gain is None) == bool(lever.why_not) for lever in results.values())
    convolution, precision, memory = (trial.case for trial in found.trials)
    assert convolution.setup.recipe.training.convolution == "direct"
    assert convolution.setup.recipe.training.precision == "fp32"
    assert precision.setup.recipe.training.precision == "bf16"
    with precision.setup.autocast():
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16 and torch.is_autocast_enabled("cpu")
    assert memory is own and {convolution.batch_size, precision.batch_size} == {own.batch_size}
    assert own.rows == []  # a turn of a lever is not one of the recipe's
    pixels = own.setup.parts.train.pixels.data_ptr()
    assert all(trial.case.setup.parts.train.pixels.data_ptr() == pixels for trial in found.trials)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("training.precision=fp32",), NO_FASTER),
        (("training.precision=fp32", "training.convolution=direct"), NO_FASTER),
        (("training.precision=bf16",), NO_FASTER),
    ],
)
def test_what_a_net_or_a_machine_does_not_have_is_said(
    overrides: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levers, "lacks_bf16", lambda device: "no bf16 here")
    monkeypatch.setenv("RUNGS_KEEP_MEMORY", "no")
    results = measured(*made(*overrides))
    assert results["convolution"].why_not == told
    assert "RUNGS_KEEP_MEMORY=no" in results["memory"].why_not
    used = results["precision"].used
    assert results["precision"].why_not == ("no bf16 here" if used == "fp32" else "")  # any CPU computes fp32


def test_another_precision_takes_the_convolution_that_suits_it() -> None:
    found, _ = made(*WIDE)
    precision = Lever(name="precision", used="fp32", other="bf16")
    assert (found.other_way(precision).precision, found.other_way(precision).convolution) == ("bf16", "auto")
    assert not found.compiles(precision)
    found.asked = replace(found.asked, compile="yes")
    assert found.compiles(precision)  # a compiled recipe pays for compiling once more
    found, _ = made(*NET, "training.convolution=direct")
    assert found.other_way(precision).convolution == "direct"


@pytest.mark.usefixtures("bf16")
def test_what_the_budget_does_not_hold_is_left_out_and_priced() -> None:
    found, own = made(*WIDE)
    results = measured(found, own, Budget(seconds=3, turns=5, left_s=0.3))  # a step is said to take 0.1 s
    assert results["memory"].gain is None
    assert results["convolution"].gain is not None
    assert results["precision"].why_not == "raise --seconds to about 10"  # 0.4 s in each turn, 0.1 are left
    assert results["compile"].why_not == "raise --seconds to about 80"  # 60 s, and all that came before
    assert Budget(30, 5, 2.0).missing(2.0) == "" and Budget(30, 5, 2.0).missing(12.0) == "raise --seconds to about 90"


def test_an_error_of_the_engine_is_not_taken_for_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(training: TrainingSpec) -> Setup:
        raise ValueError("a fault")

    found, own = made(*WIDE)
    found.build = broken
    with pytest.raises(ValueError, match="a fault"):
        measured(found, own)


def test_a_turn_is_compared_with_the_step_before_it_and_memory_is_kept_again(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Stub(Case):
        def run(self, watch: Stopwatch, times: int) -> list[list[float]]:
            log.append(f"steps: {times}")
            return [[0.1, 0.1], [0.1, 0.3]]

    found, own = made()
    stub = Stub(own.setup, "training", own.batch_size, True, own.feed, times=7)
    monkeypatch.setattr(levers, "keep_freed_memory", lambda: log.append("keep"))
    monkeypatch.setattr(levers, "return_freed_memory", lambda: log.append("return"))
    memory = Lever(name="memory", used="kept", other="returned")
    found.levers, found.trials = [memory], [Trial(memory, stub, found.memory_returned)]
    found.turn(0.1)
    found.turn(0.2)
    assert log == 2 * ["return", "steps: 1", "steps: 7", "keep", "steps: 1"]
    gain = found.results()[0].gain
    assert gain is not None and (gain.n, gain.median) == (2, pytest.approx(2.25))  # 0.3 s a step: 3 and 1.5 times
    with pytest.raises(KeyboardInterrupt), found.memory_returned(stub):
        raise KeyboardInterrupt
    assert log[-1] == "keep"
