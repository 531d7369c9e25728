"""The pace of a climb: medians of measured epochs, and probes corrected by them."""

from __future__ import annotations

from pathlib import Path

import pytest
import samples
from climbed import begin, cell_of, end, plan_in
from command import rungs
from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import load
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow
from rungs.study.ladder import estimate
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.pace import Pace, Trained, measure, net_of, read
from rungs.training.device import World

CHIP = samples.ENVIRONMENT.device


def paces_of(plan: ClimbPlan, device: str = CHIP) -> dict[str, Pace]:
    """Return the measured paces by rung."""
    paces = measure([read(cell, plan.folder.path) for cell in plan.cells], device)
    return {cell.rung: paces[net] for cell in plan.cells if (net := net_of(cell.recipe, 1)) in paces}


def test_an_epoch_in_which_the_machine_slept_does_not_count(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    folder = begin(plan, cell_of(plan, "first"), 50.0, 9556.0)
    assert paces_of(plan)["first"].epoch_s == pytest.approx(50)  # of two epochs, too
    rows = folder.read_history()
    folder.write_history((replace(rows[0], train_s=300.0, warm_up_s=255.0), *rows[1:]))  # it compiled its net
    assert paces_of(plan)["first"].epoch_s == pytest.approx(50)
    begin(plan, cell_of(plan, "first", seed=1), 52.0, 54.0, 56.0)
    assert paces_of(plan)["first"].epoch_s == pytest.approx(54)  # of both cells: 50, 52, 54, 56 and the pause


def test_cells_of_a_net_share_its_pace_whatever_their_seed_and_length(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    end(plan, cell_of(plan, "first"), *[10.0] * 6, other_s=12.0)
    paces = paces_of(plan)
    assert set(paces) == {"first", "longer"}
    assert paces["longer"].left_s(cell_of(plan, "longer").recipe, 0) == pytest.approx(12 * 10 + 12)
    assert paces["longer"].left_s(cell_of(plan, "longer").recipe, 9) == pytest.approx(3 * 10 + 12)


def test_cells_of_another_machine_do_not_count(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    end(plan, cell_of(plan, "first"), *[10.0] * 6, device="another chip")
    end(plan, cell_of(plan, "first", 1), 10.0, status="interrupted", device="another chip")
    assert paces_of(plan) == {}
    assert set(paces_of(plan, "another chip")) == {"first", "longer"}
    begin(plan, cell_of(plan, "first", 2), 20.0)  # no record yet: taken to be of this machine
    assert paces_of(plan)["first"].epoch_s == pytest.approx(20)


def test_epochs_at_smaller_images_are_counted_by_their_pixels(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, overrides=("training.image_scales=[0.5, 1.0]",))
    cell = cell_of(plan, "first")
    rows = samples.history(6)
    rows = tuple(replace(row, train_s=25.0 if row.epoch <= 3 else 100.0, validation_s=0.0) for row in rows)
    (pace,) = measure([Trained(cell, rows[:2], None)], CHIP).values()
    assert pace.epoch_s == pytest.approx(100) and pace.mean_epoch_s(cell.recipe) == pytest.approx(62.5)
    assert measure([Trained(cell, rows, None)], CHIP) == {net_of(cell.recipe, 1): pace}


def test_a_packed_pace_is_that_of_packs_of_this_size(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    cell = cell_of(plan, "first")
    begin(plan, cell, 10.0, packed=3)
    paces = measure([read(cell, plan.folder.path)], CHIP)
    assert set(paces) == {net_of(cell.recipe, 3)} != {net_of(cell.recipe, 1)}


def test_damaged_files_count_as_absent(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    cell = cell_of(plan, "first")
    folder = begin(plan, cell, 10.0)
    folder.record.write_text("{")
    assert len(read(cell, plan.folder.path).rows) == 1 and not read(cell, plan.folder.path).ended
    folder.history.write_text('{"epoch": 1')
    assert read(cell, plan.folder.path) == Trained(cell, (), None)


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every probe find 0.1 s for a training image and nothing else; return the widths of the nets probed."""
    widths: list[str] = []

    def probe(recipe: Recipe, world: World, pack: int = 1) -> tuple[estimate.Speed, dict[str, int]]:
        widths.append(str(recipe.model.stages[0][0]))  # type: ignore[union-attr]
        return estimate.Speed(0.0, 0.1, 0.0), {"train": 300, "validation": 100}

    monkeypatch.setattr(estimate, "probe", probe)
    monkeypatch.setattr(estimate, "device_name", lambda device: CHIP)
    return widths


def estimates(plan: ClimbPlan) -> tuple[dict[str, float], float | None]:
    forecast = estimate.estimate(plan)
    assert [step.cell for step in forecast.steps] == list(plan.cells)
    return {f"{step.cell.rung} {step.cell.seed}": step.estimate_s for step in forecast.steps}, forecast.correction


def test_without_measured_epochs_every_net_is_probed_once(tmp_path: Path, probed: list[str]) -> None:
    times, correction = estimates(plan_in(tmp_path, jobs=1))
    assert correction is None and sorted(probed) == ["16", "8"]
    assert times["first 0"] == pytest.approx(6 * 30) and times["longer 2"] == pytest.approx(12 * 30)


def test_an_estimate_counts_the_features_that_a_head_is_first_trained_on() -> None:
    speed, images = estimate.Speed(1.0, 0.1, 0.01), {"train": 300, "validation": 100, "test": 50}
    fields = ["training.epochs=2", "training.image_scales=[]"]
    alone, first = (load("photos", [*fields, f"training.head_epochs={n}"]) for n in (0, 30))
    assert speed.estimate_s(first, images) - speed.estimate_s(alone, images) == pytest.approx(400 * 0.01)


def test_a_measured_net_is_not_probed_and_corrects_the_probes_of_others(tmp_path: Path, probed: list[str]) -> None:
    """Probes say 30 s an epoch; the measured net takes 12."""
    plan = plan_in(tmp_path, jobs=1)
    end(plan, cell_of(plan, "first"), *[12.0] * 6, other_s=6.0)
    begin(plan, cell_of(plan, "first", 1), 12.0, 9556.0, 12.0)
    times, correction = estimates(plan)
    assert correction == pytest.approx(0.4) and sorted(probed) == ["16", "8"]  # the measured one for the ratio alone
    assert (times["first 0"], times["first 1"]) == (0.0, pytest.approx(3 * 12 + 6))
    assert times["first 2"] == pytest.approx(78) and times["longer 0"] == pytest.approx(150)
    assert times["wider 0"] == pytest.approx(0.4 * 6 * 30)
    probed.clear()
    times, correction = estimates(plan_in(tmp_path, jobs=1, only=("first", "longer")))
    assert probed == [] and correction is None and times["longer 0"] == pytest.approx(150)


def test_one_measured_net_is_probed_where_none_of_those_left_is_measured(tmp_path: Path, probed: list[str]) -> None:
    for seed in range(3):
        end(plan_in(tmp_path), cell_of(plan_in(tmp_path), "first", seed), *[12.0] * 6)
    times, correction = estimates(plan_in(tmp_path, jobs=1, only=("wider",)))
    assert correction == pytest.approx(0.4) and sorted(probed) == ["16", "8"]
    assert times["wider 1"] == pytest.approx(0.4 * 6 * 30)


def test_a_net_that_cannot_run_is_named_beside_measured_ones(
    tmp_path: Path, probed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(recipe: Recipe, world: World, pack: int = 1) -> None:
        raise UserError("too deep")

    monkeypatch.setattr(estimate, "probe", refuse)
    plan = plan_in(tmp_path, jobs=1)
    begin(plan, cell_of(plan, "first"), 12.0)
    forecast = estimate.estimate(plan)
    states = {step.cell.rung: step.state for step in forecast.steps if step.cell.seed == 0}
    assert states == {"first": "started", "wider": "cannot run: too deep", "longer": "to do"}
    assert forecast.correction is None


def test_the_dry_run_says_what_its_estimates_rest_on(tmp_path: Path, probed: list[str]) -> None:
    plan = plan_in(tmp_path)
    words = ("climb", "ladder.toml", "--out", "climb", "--dry-run", "--jobs", "1")
    assert "estimates rest on short probes\n" in rungs(*words, cwd=tmp_path).stdout
    begin(plan, cell_of(plan, "first"), 12.0)
    measured = "estimates rest on the measured pace of this climb's trained cells"
    ratio = "short probes times 0.40, the ratio of measured pace to probe in this climb\n"
    assert f"{measured} (first, longer), else on {ratio}" in rungs(*words, cwd=tmp_path).stdout
    assert f"{measured}\n" in rungs(*words, "--only", "first", cwd=tmp_path).stdout
    assert f"estimates rest on {ratio}" in rungs(*words, "--only", "wider", cwd=tmp_path).stdout


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    assert folder.read_history() == ()
    rows: tuple[EpochRow, ...] = samples.history(3)
    folder.write_history(rows)
    assert folder.read_history() == rows


def test_later_epochs_at_larger_images_take_longer() -> None:
    training = replace(load("digits-quick").training, epochs=4, image_scales=(0.5, 1.0))
    recipe, pace = replace(load("digits-quick"), training=training), Pace(10.0, 1.0)
    assert pace.left_s(recipe, 0) == pytest.approx(2 * 2.5 + 2 * 10 + 1)
    assert pace.left_s(recipe, 2) == pytest.approx(2 * 10 + 1)  # and not half of all
    assert pace.left_s(recipe, 2, 0.5) == pytest.approx(1.5 * 10 + 1)
