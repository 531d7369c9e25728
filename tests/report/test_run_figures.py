from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import pytest
import samples
from matplotlib.figure import Figure
from msgspec.structs import replace

from rungs.report import layers, run_figures, style
from rungs.report.reliability import FAINT_ALPHA
from rungs.run.record import Scaled
from rungs.run.reliability import wilson

pytestmark = pytest.mark.drawn


def texts(figure: Figure, tmp_path: Path) -> str:
    svg = style.save(figure, tmp_path / "figure")
    return " ".join("".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("epochs", [1, 2, 20, 300])
def test_curves_of_any_length_mark_the_best_epoch(epochs: int, tmp_path: Path) -> None:
    found = texts(run_figures.learning_curves(samples.sized(10, epochs)), tmp_path)
    assert f"best: epoch {epochs}" in found
    assert "validation" in found


def test_curves_without_validation_or_epochs(tmp_path: Path) -> None:
    found = texts(run_figures.learning_curves(samples.without_validation()), tmp_path)
    assert "validation" not in found
    assert "last: epoch 20" in found
    assert "no epoch was finished" in texts(run_figures.learning_curves(samples.first_epoch()), tmp_path)


def test_curves_leave_gaps_where_validation_is_missing() -> None:
    record = samples.healthy()
    rows = tuple(replace(row, validation_loss=None) if row.epoch % 2 else row for row in record.history)
    lines = run_figures.learning_curves(replace(record, history=rows)).axes[0].get_lines()
    drawn = next(line for line in lines if line.get_label() == "validation").get_ydata()
    assert [value != value for value in drawn] == [row.epoch % 2 == 1 for row in rows]


def test_claims_are_drawn_and_named(tmp_path: Path) -> None:
    found = texts(run_figures.learning_curves(samples.claimed()), tmp_path)
    for part in ("train claimed", "95.12 %", "validation claimed", "83.30 %", "test claimed", "82.94 %"):
        assert part in found


def test_rate_axis_is_logarithmic_only_where_it_spans() -> None:
    record = samples.healthy()
    assert run_figures.learning_curves(record).axes[2].get_yscale() == "log"
    rows = tuple(replace(row, learning_rate=0.01) for row in record.history)
    assert run_figures.learning_curves(replace(record, history=rows)).axes[2].get_yscale() == "linear"


def test_a_cell_that_is_not_empty_is_not_zero(tmp_path: Path) -> None:
    result = replace(samples.result(2, 200, 0.9), confusion=((199, 1), (0, 200)))
    figure = run_figures.confusion(result, ("a", "b"), normalised=True)
    assert [text.get_text() for text in figure.axes[0].texts] == ["100", "1", "100"]


def test_the_legend_speaks_of_hatching_only_where_there_is_some(tmp_path: Path) -> None:
    assert "Hatched" not in texts(layers.layers(samples.plain_model(), 32), tmp_path)
    assert "Hatched" in texts(layers.layers(samples.resnet_model(), 32), tmp_path)


@pytest.mark.parametrize("classes", [2, 10, 20, 100])
@pytest.mark.parametrize("normalised", [False, True])
def test_confusion_has_numbers_where_they_fit(classes: int, normalised: bool) -> None:
    record = samples.sized(classes, 1)
    assert record.test is not None
    axes = run_figures.confusion(record.test, record.data.classes, normalised).axes
    table = record.test.confusion
    if classes <= style.NUMBERED_CLASSES:
        numbers = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes[0].texts}
        share = 100 / sum(table[0]) if normalised else 1
        assert numbers[(0, 0)] == f"{table[0][0] * share:.0f}"
        assert len(axes) == 1
    else:
        assert not axes[0].texts
        assert len(axes) == 2  # the colour bar


def test_class_names_are_not_mathematics(tmp_path: Path) -> None:
    record = samples.sized(2, 1, names=("$5$ note", "<b>\\alpha"))
    assert record.test is not None
    found = texts(run_figures.confusion(record.test, record.data.classes, False), tmp_path)
    assert "$5$ note" in found
    assert "<b>\\alpha" in found


def test_layers_merge_followers_and_name_blocks(tmp_path: Path) -> None:
    steps = layers.steps(samples.plain_model())
    assert [step.kind for step in steps] == ["conv", "conv", "pool"] * 3 + ["linear"] * 3
    assert sum(step.parameters for step in steps) == samples.plain_model().parameters
    residual = samples.resnet_model(100, 224)
    assert len(residual.layers) > 40
    assert len(layers.steps(residual)) == 22
    found = texts(layers.layers(residual, 224), tmp_path)
    for part in ("layer4.1", "shortcut 1x1 /2", "average pool", "512 × 28 × 28"):  # noqa: RUF001
        assert part in found


@pytest.mark.drawn(png=True)
def test_saved_twice_gives_the_same_bytes_and_leaves_the_style_of_others_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("a", "b"):
        style.save(run_figures.learning_curves(samples.claimed()), tmp_path / name)
    for kind in ("svg", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_the_reading_room_never_loads_torch() -> None:
    loaded = "[name in sys.modules for name in ('torch', 'matplotlib.pyplot')]"
    code = f"import sys, rungs.report.run_page, rungs.diagnose; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_bin_of_few_images_is_faint_and_an_empty_one_is_nothing(tmp_path: Path) -> None:
    bins = ((0.0, 0.0, 0), (0.4, 0.5, 4), (0.0, 0.0, 0), (0.9, 0.8, 4000))
    result = replace(samples.result(10, 4004, 0.8), calibration=bins)
    upper, lower = run_figures.calibration(result).axes
    points = [container.lines[0] for container in upper.containers]
    drawn = {float(line.get_xdata()[0]): line.get_alpha() for line in points}
    assert drawn == {90.0: 1.0, 40.0: FAINT_ALPHA}
    assert all(line.get_linestyle() == "None" for line in points)  # nothing leads through the empty bins
    assert [text.get_text() for text in lower.texts] == ["", "4", "", "4,000"]
    assert [round(bar.get_height()) for bar in lower.patches] == [0, 4, 0, 4000]
    low, high = (100 * end for end in wilson(2, 4))
    (faint,) = (one for one in upper.containers if one.lines[0].get_alpha() == FAINT_ALPHA)
    (segment,) = faint.lines[2][0].get_segments()
    assert sorted(y for _, y in segment) == pytest.approx([low, high])


def test_a_temperature_is_drawn_beside_the_net_as_trained(tmp_path: Path) -> None:
    result = samples.result(10, 4000, 0.8, sure=0.1)
    assert "temperature" not in texts(run_figures.calibration(result), tmp_path)
    after = Scaled(temperature=1.5, loss=0.5, calibration_error=0.012, calibration=result.calibration)
    found = texts(run_figures.calibration(replace(result, scaled=after)), tmp_path)
    assert "as trained: error 10.0 %" in found and "with temperature 1.50: error 1.2 %" in found


@pytest.mark.parametrize("bins", [((0.4, 1.0, 1),), ((0.0, 0.0, 0),) * 15])
def test_one_image_and_none_can_be_drawn(bins: tuple[tuple[float, float, int], ...]) -> None:
    run_figures.calibration(replace(samples.result(10, 100, 0.8), n=1, calibration=bins))


def test_a_watched_test_set_is_a_curve_of_its_own() -> None:
    record = samples.healthy()
    rows = tuple(replace(row, test_loss=0.7, test_accuracy=0.8) for row in record.history)
    for axes in run_figures.learning_curves(replace(record, history=rows)).axes[:2]:
        assert [line.get_label() for line in axes.get_lines()][:3] == ["train", "validation", "test"]
    assert all(line.get_label() != "test" for line in run_figures.learning_curves(record).axes[0].get_lines())


def test_the_floor_of_two_softmaxes_is_drawn(tmp_path: Path) -> None:
    record = samples.healthy()
    training = replace(record.recipe.training, loss="softmax-cross-entropy")
    literal = replace(record, recipe=replace(record.recipe, training=training))
    assert "floor of two softmaxes: 1.461" in texts(run_figures.learning_curves(literal), tmp_path)
    assert "floor" not in texts(run_figures.learning_curves(record), tmp_path)
