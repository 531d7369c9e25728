from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import ladder_samples
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from msgspec.structs import replace

from rungs.report.style import plain, save
from rungs.study.ladder import cost as ladder_cost
from rungs.study.ladder import curves
from rungs.study.ladder import words as ladder_words
from rungs.study.ladder.record import LadderRecord
from rungs.study.pareto import Point, front

pytestmark = pytest.mark.drawn

PARTS = ("validation_accuracy", "test_accuracy")
UNITS = {"GFLOP": 1e9, "MFLOP": 1e6, "kFLOP": 1e3, "seconds": 1.0, "minutes": 60.0, "hours": 3600.0}

SIZES: dict[str, Callable[[], LadderRecord]] = {
    "three": ladder_samples.three,
    "diary": ladder_samples.diary,
    "many": lambda: ladder_samples.sweep(45, seeds=2),
    "broken": ladder_samples.broken,
    "single": lambda: ladder_samples.diary(seeds=1),
    "unvalidated": lambda: ladder_samples.diary(validated=False),
    "long": lambda: long_names(),
    "on-test": ladder_samples.on_test,
    "orphan": ladder_samples.orphan,
    "beyond": ladder_samples.beyond,
    "nothing": ladder_samples.nothing,
}


def long_names() -> LadderRecord:
    record = ladder_samples.diary()
    rungs = tuple(replace(rung, name=f"{i}-" + "m" * 38, on=None) for i, rung in enumerate(record.rungs))
    return replace(record, rungs=rungs)


def texts(figure: Figure, tmp_path: Path) -> str:
    svg = save(figure, tmp_path / "figure")
    return " ".join("".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))


def marks(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """Return the places of all marks that were drawn with this id."""
    found = [line for line in axes.get_lines() if line.get_gid() == gid]
    return [
        (float(x), float(y))
        for line in found
        for x, y in zip(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=True)
    ]


def overlapping(figure: Figure, some: list[Text]) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    shown = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in some if text.get_text().strip()]
    return [(one, two) for (one, a), (two, b) in itertools.combinations(shown, 2) if a.overlaps(b)]


def everything(figure: Figure) -> list[Text]:
    """Return all texts that are drawn in the panels: titles, ticks within the view, labels, notes."""
    found: list[Text] = []
    for axes in figure.axes:
        title: Text = axes._left_title  # type: ignore[attr-defined]
        found += [*axes.texts, title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in found if text.get_visible()]


# --- staircase ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_the_staircase_names_every_rung_and_no_text_covers_another(name: str, tmp_path: Path) -> None:
    record = SIZES[name]()
    figure = curves.staircase(record)
    labels = [label.get_text().partition("\n")[0] for label in figure.axes[0].get_yticklabels()]
    assert labels == [rung.name for rung in record.rungs]
    assert overlapping(figure, everything(figure)) == []
    renderer_box, page = figure.axes[0].get_tightbbox(), figure.bbox
    assert renderer_box is not None
    assert page.x0 <= renderer_box.x0
    assert renderer_box.x1 <= page.x1 + 1
    assert "accuracy, %" in texts(figure, tmp_path)


def test_means_claims_steps_and_verdicts_are_drawn(tmp_path: Path) -> None:
    record = ladder_samples.diary()
    figure = curves.staircase(record)
    axes = figure.axes[0]
    means = marks(axes, "mean")
    for rung in record.rungs:
        for metric in ("validation_accuracy", "test_accuracy"):
            assert any(abs(x - rung.estimates[metric].mean) < 1e-9 for x, _ in means)
    claimed = [a.claimed for r in record.rungs for a in r.answers if a.metric.endswith("accuracy")]
    assert sorted(x for x, _ in marks(axes, "claim")) == sorted(claimed)
    assert all(line.get_markerfacecolor() == "none" for line in axes.get_lines() if line.get_gid() == "claim")
    steps = [line for line in axes.get_lines() if len(line.get_xdata()) == 3 and line.get_color() == "#8b949e"]
    assert len(steps) == 6  # the last rung builds on another than the one before
    found = texts(figure, tmp_path)
    for part in ("+3.64", "real gain", "real loss", "undecided", "▲", "▼", "(on third-block)", "one seed",
                 "n = 3 seeds; bars: 95 % interval of the mean over seeds", "highest test over the epochs",
                 "validation: claimed", "step from the rung it builds on", "against the rung before"):  # fmt: skip
        assert part in found


def test_the_legend_explains_only_what_is_drawn(tmp_path: Path) -> None:
    found = texts(curves.staircase(ladder_samples.sweep(5)), tmp_path)
    assert "claimed" not in found
    assert "step from" not in found
    assert "mean of the first rung" in found
    found = texts(curves.staircase(ladder_samples.diary(seeds=1, validated=False)), tmp_path)
    assert "validation" not in found
    assert "n = 1 seed; bars: 95 % interval over the scored images (Wilson)" in found


def test_a_sweep_has_a_line_through_the_base() -> None:
    record = ladder_samples.sweep(5)
    lines = curves.staircase(record).axes[0].get_lines()
    base = record.rungs[0].estimates["validation_accuracy"].mean
    assert any(list(line.get_xdata()) == [base, base] and list(line.get_ydata()) == [0, 1] for line in lines)


def test_what_did_not_finish_is_said_in_its_row_and_what_is_far_out_is_cut(tmp_path: Path) -> None:
    figure = curves.staircase(ladder_samples.broken())
    found = texts(figure, tmp_path)
    for part in ("diverged in all 3 seeds", "2 diverged, 1 failed", "(2 of 3 seeds)", "◀ validation 9.72 %"):
        assert part in found
    assert figure.axes[0].get_xlim()[0] > 0.5
    assert not any(x < 0.5 for x, _ in marks(figure.axes[0], "mean"))


def test_a_wide_interval_of_two_seeds_does_not_squeeze_the_marks() -> None:
    record = ladder_samples.diary(seeds=2)
    low, high = curves.staircase(record).axes[0].get_xlim()
    assert high - low < 0.35


def test_a_difference_on_test_is_marked(tmp_path: Path) -> None:
    assert "no difference (test)" in texts(curves.staircase(ladder_samples.on_test()), tmp_path)
    assert "(test)" not in texts(curves.staircase(ladder_samples.diary()), tmp_path)
    assert "(test)" not in texts(curves.staircase(ladder_samples.diary(validated=False)), tmp_path)


def test_bars_end_where_accuracies_do() -> None:
    axes = curves.staircase(narrow(high=1.4)).axes[0]
    assert axes.get_xlim()[1] > 1
    drawn = [x for line in axes.get_lines() if line.get_zorder() == 3 for x in np.atleast_1d(line.get_xdata())]
    assert max(drawn) == 1.0


def narrow(high: float) -> LadderRecord:
    """A record of accuracies near 1, with intervals to `high`."""
    record = ladder_samples.diary()
    rungs = []
    for rung in record.rungs[:3]:
        near = {key: replace(rung.estimates[key], mean=0.99, low=0.985, high=high) for key in PARTS}
        cells = tuple(replace(cell, values={**cell.values, **dict.fromkeys(PARTS, 0.99)}) for cell in rung.cells)
        rungs.append(replace(rung, estimates={**rung.estimates, **near}, cells=cells, answers=()))
    return replace(record, rungs=tuple(rungs))


def test_another_study_is_said_below_the_axis_and_only_where_there_are_claims() -> None:
    axes = curves.staircase(ladder_samples.three()).axes[0]
    assert axes.get_xlabel().endswith("\ndiffers from the ladder's file: its claims are not comparable, and not drawn")
    assert axes.get_title(loc="left") == "three: accuracy of each rung"
    assert "claims" not in curves.staircase(ladder_samples.orphan()).axes[0].get_xlabel()


@pytest.mark.parametrize("make", [ladder_samples.diary, ladder_samples.beyond])
def test_a_claim_beyond_the_axis_is_an_arrow_that_covers_no_mark(make: Callable[[], LadderRecord]) -> None:
    for claimed in (82.0, -3.0):
        record = make()
        rungs = [
            replace(one, answers=(ladder_samples.answer("test_accuracy", claimed, 0.8, "worse"),))
            for one in record.rungs
        ]
        figure = curves.staircase(replace(record, rungs=tuple(rungs)))
        axes = figure.axes[0]
        figure.draw_without_rendering()
        words = [text for text in axes.texts if text.get_gid() == "outside"]
        told = {"test claimed 8200.00 % ▶" if claimed > 1 else "◀ test claimed -300.00 %"}
        assert {text.get_text() for text in words} == told
        assert len(words) == len(rungs)
        assert marks(axes, "claim") == []
        for x, y in axes.transData.transform(marks(axes, "mean")):
            assert not any(text.get_window_extent().padded(2).contains(x, y) for text in words)


# --- cost ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SIZES if name != "nothing"])
def test_cost_numbers_the_front_without_overlaps(name: str) -> None:
    record = SIZES[name]()
    figure = curves.cost(record)
    metric = ladder_words.judged_by(record)
    assert overlapping(figure, everything(figure)) == []
    for axes, cost in zip(figure.axes, ("flops", "train_s"), strict=True):
        assert axes.get_xscale() == "log"
        unit = next(size for word, size in UNITS.items() if word in axes.get_xlabel())
        points = {
            i: Point((rung.flops if cost == "flops" else rung.estimates[cost].mean) / unit, rung.estimates[metric].mean)
            for i, rung in enumerate(record.rungs, 1)
            if metric in rung.estimates
        }
        best = front(list(points.values()))
        assert set(best) == set(marks(axes, "front"))
        numbers = [int(text.get_text()) for text in axes.texts if text.get_gid() == "number"]
        assert {i for i, point in points.items() if point in best} <= set(numbers)
        if len(record.rungs) > ladder_cost.ALL_NUMBERED:
            assert len(numbers) == len(best)
        else:
            low = axes.get_ylim()[0]
            assert sorted(numbers) == [i for i, point in points.items() if point.accuracy > low]
        named = {text.get_text().split("  ")[0]: text.get_text() for text in figure.legends[-1].get_texts()}
        for i in numbers:
            assert named[str(i)] == f"{i}  {plain(record.rungs[i - 1].name, ladder_cost.NAME_WIDTH)}"


@pytest.mark.parametrize("spread", [1.0, 1.005, 1.05, 1.2, 1.5, 2.0, 2.9, 4.0])
def test_costs_that_are_nearly_equal_have_few_ticks_without_overlaps(spread: float) -> None:
    record = ladder_samples.diary()
    n = len(record.rungs) - 1
    rungs = []
    for i, rung in enumerate(record.rungs):
        time = replace(rung.estimates["train_s"], mean=17.0 * spread ** (i / n))
        rungs.append(replace(rung, flops=int(1.7e6 * spread ** (i / n)), estimates={**rung.estimates, "train_s": time}))
    figure = curves.cost(replace(record, rungs=tuple(rungs)))
    assert overlapping(figure, everything(figure)) == []
    for axes, smallest in zip(figure.axes, (1.7, 17.0), strict=True):
        low, high = axes.get_xlim()
        ticks = [x for x in axes.get_xticks() if low <= x <= high]
        if spread < ladder_cost.SAME:
            assert ticks == [smallest]
        else:
            assert 2 <= len(ticks) <= 6


def test_a_rung_at_chance_is_named_below_the_axis_of_costs(tmp_path: Path) -> None:
    figure = curves.cost(ladder_samples.broken())
    assert figure.axes[0].get_ylim()[0] > 0.5
    assert "▼ 7 sigmoid-in-place-of-relu 9.72 %" in texts(figure, tmp_path)


# --- curves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_curves_of_every_rung_are_drawn(name: str, tmp_path: Path) -> None:
    record = SIZES[name]()
    figure = curves.curves(record)
    if name == "nothing":
        assert "no epoch was finished" in texts(figure, tmp_path)
        return
    train = figure.axes[-1]
    ringed = [line for line in train.get_lines() if line.get_gid() == "ring"]
    drawn = [line for line in train.get_lines() if len(line.get_xdata()) > 1]
    assert len(drawn) == sum(any(cell.curves for cell in rung.cells) for rung in record.rungs)
    assert len(ringed) == 1
    best = ladder_words.best(record)
    assert best is not None
    assert ringed[0].get_xdata()[0] in {cell.best_epoch for cell in best.cells}
    assert overlapping(figure, everything(figure)) == []


def test_few_curves_are_told_apart_and_many_have_the_best_and_the_first(tmp_path: Path) -> None:
    record = ladder_samples.diary()
    figure = curves.curves(record)
    assert {line.get_color() for line in figure.axes[0].get_lines()} >= {colour for colour, _ in curves.LINES}
    found = texts(figure, tmp_path)
    assert all(rung.name in found for rung in record.rungs)
    assert "cosine (best)" in found
    sweep = ladder_samples.sweep()
    found = texts(curves.curves(sweep), tmp_path)
    best = ladder_words.best(sweep)
    assert best is not None
    for part in (f"best: {best.name}", "first: base", "the 38 others", "Validation loss", "Train loss"):
        assert part in found


def test_a_mean_curve_is_of_the_seeds_that_trained_so_long() -> None:
    record = ladder_samples.diary()
    cells = [
        replace(cell, curves={"train_loss": (2.0,) * n})
        for cell, n in zip(record.rungs[0].cells, (2, 3, 4), strict=True)
    ]
    cells[2] = replace(cells[2], curves={"train_loss": (5.0,) * 4})
    rung = replace(record.rungs[0], cells=tuple(cells))
    assert curves.mean_curve(rung, "train_loss") == [3.0, 3.0, 3.5, 5.0]


def test_losses_that_span_much_are_logarithmic_and_a_divergence_squeezes_nothing() -> None:
    record = ladder_samples.diary()
    assert curves.curves(record).axes[1].get_yscale() == "linear"
    cells = tuple(
        replace(cell, curves={**cell.curves, "validation_loss": (2.0, 0.5, 0.01)}) for cell in record.rungs[0].cells
    )
    wide = replace(record, rungs=(replace(record.rungs[0], cells=cells), *record.rungs[1:]))
    assert curves.curves(wide).axes[1].get_yscale() == "log"
    assert curves.curves(ladder_samples.broken()).axes[2].get_ylim()[1] < 4


# --- confusion matrices -------------------------------------------------------------------------------


def test_all_matrices_share_a_scale_and_names_stand_outside(tmp_path: Path) -> None:
    record = ladder_samples.diary()
    figure = curves.confusions(record)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 8
    assert {axes.images[0].norm.vmax for axes in shown} == {100}
    assert [bool(axes.get_yticks().size) for axes in shown] == [True, False, False, False] * 2
    assert [bool(axes.get_xticks().size) for axes in shown] == [False] * 4 + [True] * 4
    table = np.array(record.rungs[0].confusion)
    assert np.allclose(shown[0].images[0].get_array(), 100 * table / table.sum(1, keepdims=True))
    found = texts(figure, tmp_path)
    assert f"{100 * np.trace(table) / table.sum():.2f} %" in found
    assert "airplane" in found
    assert "rungs:" not in curves.confusions_words(record)


def test_of_many_matrices_the_telling_ones_are_shown_and_the_caption_says_so() -> None:
    record = ladder_samples.sweep()
    shown = [rung.name for rung in curves.confused(record)]
    best = ladder_words.best(record)
    assert best is not None
    assert len(shown) == curves.MATRICES
    assert {"base", best.name} <= set(shown)
    assert shown == [rung.name for rung in record.rungs if rung.name in shown]
    assert "12 of 40 rungs: the first, the best" in curves.confusions_words(record)


def test_many_classes_have_no_names() -> None:
    record = ladder_samples.diary()
    names = tuple(f"class-{i}" for i in range(30))
    big = tuple(tuple(int(i == j) for j in range(30)) for i in range(30))
    rungs = tuple(replace(rung, confusion=big) for rung in record.rungs)
    figure = curves.confusions(replace(record, data=replace(record.data, classes=names), rungs=rungs))
    assert not any(axes.get_xticks().size for axes in figure.axes if axes.images)


# --- all ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["staircase", "cost", "curves", "confusions"])
def test_the_same_record_gives_the_same_bytes(draw: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(getattr(curves, draw)(ladder_samples.broken()), tmp_path / name)
    for kind in ("svg", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("draw", ["staircase", "cost", "curves", "confusions"])
def test_names_are_not_mathematics(draw: str, tmp_path: Path) -> None:
    assert "<script>" in texts(getattr(curves, draw)(ladder_samples.hostile()), tmp_path)
