from __future__ import annotations

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from rungs.errors import UserError
from rungs.optim.schedule import factor, plateau_factor
from rungs.recipe import optimizers
from rungs.run.record import EpochRow

EACH = [
    optimizers.Constant(),
    optimizers.Step(milestones=(2, 3.5), gamma=0.2),
    optimizers.Cosine(final=0.01),
    optimizers.Linear(final=0.1),
    optimizers.OneCycle(),
    optimizers.Plateau(),
]


def factors(spec: optimizers.AnySchedule, steps_per_epoch: int, epochs: int) -> list[float]:
    return [factor(spec, step, steps_per_epoch, epochs) for step in range(steps_per_epoch * epochs)]


def torchs(make, steps: int) -> list[float]:
    """Return the rates of a torch scheduler for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def with_warmup(spec: optimizers.AnySchedule, warmup_epochs: float) -> optimizers.AnySchedule:
    import msgspec

    return msgspec.structs.replace(spec, warmup_epochs=warmup_epochs)


def test_constant() -> None:
    assert factors(optimizers.Constant(), 7, 3) == [1.0] * 21


def test_step_is_torchs_multi_step() -> None:
    ours = factors(optimizers.Step(milestones=(1, 2, 3.5), gamma=0.3), 10, 5)
    assert ours == pytest.approx(torchs(lambda o: lr_scheduler.MultiStepLR(o, [10, 20, 35], gamma=0.3), 50))


def test_milestones_fall_on_the_step_they_name() -> None:
    spec = optimizers.Step(milestones=(0.7,), gamma=0.5)  # 0.7 * 10 is 7.000000000000001 in binary
    assert factors(spec, 10, 1) == [1.0] * 7 + [0.5] * 3


def test_cosine_is_torchs_annealing_that_ends_on_the_last_step() -> None:
    ours = factors(optimizers.Cosine(final=0.05), 10, 3)
    reference = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=29, eta_min=0.05), 30)
    assert ours == pytest.approx(reference)
    assert ours[-1] == pytest.approx(0.05)


def test_linear_is_torchs() -> None:
    ours = factors(optimizers.Linear(final=0.1), 10, 2)
    assert ours == pytest.approx(torchs(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=19), 20))


@pytest.mark.parametrize(("rise", "start", "final"), [(0.3, 0.04, 0.0001), (0.5, 0.2, 0.01)])
def test_one_cycle_is_torchs(rise: float, start: float, final: float) -> None:
    n = 40
    ours = factors(optimizers.OneCycle(rise=rise, start=start, final=final), 10, 4)

    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.OneCycleLR:
        # torch peaks at pct_start * n - 1, ours at rise * (n - 1); its final rate is a part of the first one
        share, ratio = (rise * (n - 1) + 1) / n, start / final
        return lr_scheduler.OneCycleLR(optimizer, 1.0, n, pct_start=share, div_factor=1 / start, final_div_factor=ratio)

    assert ours == pytest.approx([*torchs(make, n - 1), final])


def test_one_cycle_peaks_at_its_rise() -> None:
    ours = factors(optimizers.OneCycle(rise=0.25), 101, 1)
    assert ours.index(max(ours)) == 25 and max(ours) == 1.0
    assert ours[0] == pytest.approx(0.04) and ours[-1] == pytest.approx(0.0001)


def test_warmup_climbs_in_equal_rungs_to_the_first_step_of_the_schedule() -> None:
    ours = factors(optimizers.Cosine(warmup_epochs=0.4), 10, 3)
    assert ours[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ours[4:] == pytest.approx(torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=25), 26))


def test_warmup_leaves_milestones_where_they_are() -> None:
    ours = factors(optimizers.Step(milestones=(2,), warmup_epochs=1), 4, 3)
    assert ours == pytest.approx([0.2, 0.4, 0.6, 0.8] + [1.0] * 4 + [0.1] * 4)


def test_warmup_of_a_one_cycle_leads_to_its_start() -> None:
    ours = factors(optimizers.OneCycle(warmup_epochs=1, start=0.5), 3, 4)
    assert ours[:4] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert ours[3:] == pytest.approx(factors(optimizers.OneCycle(start=0.5), 3, 3))


@given(
    spec=st.sampled_from(EACH),
    warmup_epochs=st.floats(0, 12),
    steps_per_epoch=st.integers(1, 40),
    epochs=st.integers(1, 10),
)
def test_factors_are_finite_and_positive_and_end_where_they_should(
    spec: optimizers.AnySchedule, warmup_epochs: float, steps_per_epoch: int, epochs: int
) -> None:
    spec = with_warmup(spec, warmup_epochs)
    ours = factors(spec, steps_per_epoch, epochs)
    assert all(math.isfinite(value) and 0 < value <= 1 for value in ours)
    warmup_steps = round(warmup_epochs * steps_per_epoch)
    if warmup_steps < len(ours) - 1 and isinstance(spec, optimizers.Cosine | optimizers.Linear | optimizers.OneCycle):
        assert ours[-1] == pytest.approx(spec.final)
    rise = ours[: warmup_steps + 1]
    if not isinstance(spec, optimizers.Step):
        assert rise == sorted(rise)


@pytest.mark.parametrize("spec", EACH, ids=repr)
def test_a_training_of_one_step_takes_it_with_a_usable_rate(spec: optimizers.AnySchedule) -> None:
    assert factor(spec, 0, 1, 1) == (0.04 if isinstance(spec, optimizers.OneCycle) else 1.0)


# --- plateau ------------------------------------------------------------------------------------------


def row(epoch: int, loss: float | None, accuracy: float | None = None) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        step=epoch,
        learning_rate=1.0,
        train_loss=1.0,
        train_accuracy=0.5,
        validation_loss=loss,
        validation_accuracy=accuracy,
        train_s=1.0,
        validation_s=1.0,
        images_per_s=1.0,
    )


values = st.lists(st.integers(0, 12).map(lambda n: n / 4), max_size=40)  # quarters: differences are exact


@given(values=values, factor=st.sampled_from([0.1, 0.5]), patience=st.integers(1, 4), quarters=st.integers(0, 3))
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_is_torchs(mode: str, values: list[float], factor: float, patience: int, quarters: int) -> None:
    spec = optimizers.Plateau(factor=factor, patience=patience, min_delta=quarters / 4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=factor,
        patience=patience,
        threshold=spec.min_delta,
        threshold_mode="abs",
        eps=0,
    )
    rows = []
    for epoch, value in enumerate(values, 1):
        scheduler.step(value)
        rows.append(row(epoch, value) if mode == "min" else row(epoch, 0.0, value))
        ours = plateau_factor(spec, rows, "validation_loss" if mode == "min" else "validation_accuracy")
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_before_the_first_epoch() -> None:
    assert plateau_factor(optimizers.Plateau(), [], "validation_loss") == 1.0


def test_plateau_counts_a_loss_that_is_no_number_as_no_gain() -> None:
    rows = [row(1, 1.0), row(2, math.nan), row(3, math.nan)]
    assert plateau_factor(optimizers.Plateau(patience=1), rows, "validation_loss") == 0.1


def test_plateau_needs_a_validation_set() -> None:
    with pytest.raises(UserError, match="needs a validation set"):
        plateau_factor(optimizers.Plateau(), [row(1, None)], "validation_accuracy")
