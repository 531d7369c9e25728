"""The figures of a search show what its record says, and no label covers another, however odd the search."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import search_samples
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from msgspec.structs import replace
from search_samples import BATCH, DECAY, LR, MAKERS

from rungs.report.style import save
from rungs.study.search import axes as search_axes
from rungs.study.search import finalists as search_finalists
from rungs.study.search import history, parallel, slices
from rungs.study.search import words as search_words
from rungs.study.search.record import SearchRecord
from rungs.study.search.space import Field

pytestmark = pytest.mark.drawn

FIGURES: dict[str, Callable[[SearchRecord], Figure]] = {
    "history": history.history,
    "curves": history.learning_curves,
    "importance": history.importance,
    "finalists": search_finalists.finalists,
    "slices": slices.slices,
    "pairs": slices.over_pairs,
    "parallel": parallel.parallel,
}

make = cache(lambda name: MAKERS[name]())


def marks(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """Return the places of all marks that were drawn with this id."""
    found = [line for line in axes.get_lines() if line.get_gid() == gid]
    return [
        (float(x), float(y))
        for line in found
        for x, y in zip(np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=True)
    ]


def texts(figure: Figure, tmp_path: Path) -> str:
    svg = save(figure, tmp_path / "figure")
    return "\n".join("".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))


def everything(figure: Figure) -> list[Text]:
    """Return all texts that are drawn: titles, ticks within the view, labels, notes, legends."""
    found: list[Text] = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        title: Text = axes._left_title  # type: ignore[attr-defined]
        found += axes.texts
        if not axes.axison:
            continue
        found += [title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    found += [figure._supxlabel] if getattr(figure, "_supxlabel", None) else []
    return [text for text in found if text.get_visible()]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    figure.draw_without_rendering()
    shown = [
        (text.get_text(), Text.get_window_extent(text).padded(-0.5))  # of an annotation, without its arrow
        for text in everything(figure)
        if text.get_text().strip()
    ]
    return [(one, two) for (one, a), (two, b) in itertools.combinations(shown, 2) if a.overlaps(b)]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("name", ["six", "one-field", "three-trials", "long-names", "hostile", "level", "nothing-yet"])
def test_no_text_covers_another_or_leaves_the_picture(name: str, figure: str) -> None:
    drawn = FIGURES[figure](make(name))
    assert overlapping(drawn) == []
    page = drawn.bbox
    for text in everything(drawn):
        box = Text.get_window_extent(text)
        assert not text.get_text() or (page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1), text.get_text()
        assert not text.get_text() or (page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1), text.get_text()


# --- history and curves -------------------------------------------------------------------------------


def test_history_has_each_trial_once_and_the_best_so_far() -> None:
    record = make("usual")
    axes = history.history(record).axes[0]
    low, high = axes.get_ylim()
    drawn = marks(axes, "complete") + marks(axes, "pruned")
    beyond = [x for x, _ in marks(axes, "beyond")]
    valued = {t.number: t.value for t in record.trials if t.state in ("complete", "pruned") and t.value is not None}
    assert sorted([x for x, _ in drawn] + beyond) == sorted(valued)
    assert all(valued[int(x)] == y for x, y in drawn)
    assert all(not low <= valued[int(x)] <= high for x in beyond) and 0 < len(beyond) < 6
    steps = marks(axes, "best-so-far")
    complete = {t.number: t.value for t in record.trials if t.state == "complete" and t.value is not None}
    for number, best in steps:
        assert best == max(value for n, value in complete.items() if n <= number)
    assert {x for x, _ in marks(axes, "taken-up")} == {7}
    assert {x for x, _ in marks(axes, "failed")} == {3}
    assert {x for x, _ in marks(axes, "finalist")} == {one.trial for one in record.finalists if one.trial is not None}


def test_of_a_loss_the_best_so_far_falls() -> None:
    steps = [y for _, y in marks(history.history(make("six")).axes[0], "best-so-far")]
    assert steps == sorted(steps, reverse=True) and steps[0] > steps[-1]
    assert steps[-1] == min(t.value for t in make("six").trials if t.state == "complete" and t.value is not None)


def test_what_learnt_nothing_does_not_squeeze_the_others(tmp_path: Path) -> None:
    record = make("long-names")  # one trial diverged to a loss of 812
    figure = history.history(record)
    assert figure.axes[0].get_ylim()[1] < 3
    assert 5 in [x for x, _ in marks(figure.axes[0], "beyond")]
    assert "beyond the axis: 13 marks" in texts(figure, tmp_path)
    assert history.learning_curves(record).axes[0].get_ylim()[1] < 5


def test_limits_keep_what_is_near_and_the_good_end_always() -> None:
    assert search_words.limits("validation_accuracy", [0.1, 0.8, 0.81, 0.82, 0.83])[0] > 0.7
    assert search_words.limits("validation_accuracy", [0.1, 0.1, 0.1, 0.5, 0.83])[0] < 0.1
    low, high = search_words.limits("validation_loss", [0.3, 0.31, 0.32, 0.33, 40.0])
    assert low < 0.3 and high < 1
    low, high = search_words.limits("validation_accuracy", [0.5, 0.5])
    assert low < 0.5 < high


def test_curves_are_all_drawn_pruned_ones_with_a_cross_at_their_end(tmp_path: Path) -> None:
    record = make("usual")
    figure = history.learning_curves(record)
    whole = figure.axes[0]
    gids = [line.get_gid() for line in whole.get_lines()]
    finalists = [one for one in record.finalists if one.trial is not None]
    done = sum(trial.state == "complete" for trial in record.trials)
    assert gids.count("finalist") == len(finalists)
    assert gids.count("complete") == done - len(finalists)
    assert gids.count("pruned") == len(record.trials) - done
    cut = next(trial for trial in record.trials if trial.state == "pruned")
    assert (len(cut.curve), cut.curve[-1]) in marks(whole, "end")
    assert f"trial {finalists[0].trial}, a finalist" in texts(figure, tmp_path)


# --- importance and finalists -------------------------------------------------------------------------


def test_importance_has_a_bar_for_each_field_the_largest_on_top(tmp_path: Path) -> None:
    record = make("six")
    figure = history.importance(record)
    axes = figure.axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == sorted(widths) and sum(widths) == pytest.approx(100)
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == max(
        record.importance, key=record.importance.get
    )  # type: ignore[arg-type]
    assert "67 %" in texts(figure, tmp_path)


def test_the_finalists_show_searched_rerun_and_seeds(tmp_path: Path) -> None:
    record = make("usual")
    figure = search_finalists.finalists(record)
    axes = figure.axes[0]
    assert [x for x, _ in marks(axes, "rerun")] == [one.rerun.mean for one in record.finalists]
    assert [x for x, _ in marks(axes, "searched")] == [
        one.searched for one in record.finalists if one.searched is not None
    ]
    assert len(marks(axes, "seed")) == 3 * len(record.finalists)
    found = texts(figure, tmp_path)
    for one in record.finalists:
        assert one.name in found
        optimism = search_words.optimism(record, one)
        assert optimism is None or f"{100 * optimism.mean:+.2f}" in found
    assert "(winner)" in found
    assert record.corrected is not None and [x for x, _ in marks(axes, "corrected")] == [record.corrected.mean]
    lines = [line for line in axes.get_lines() if line.get_gid() == "optimism"]
    assert [x for x, _ in lines[0].get_xydata()] == [record.finalists[0].searched, record.corrected.mean]


def test_an_interval_of_two_seeds_is_cut_with_an_arrow() -> None:
    record = replace(make("one-field"), corrected=None)  # its corrected value has a narrower one
    axes = search_finalists.finalists(record).axes[0]
    high = max(one.rerun.high for one in record.finalists if one.rerun.high is not None)
    assert axes.get_xlim()[1] < high
    assert any(line.get_marker() == 5 for line in axes.get_lines())


# --- slices and pairs ---------------------------------------------------------------------------------


def test_slices_have_a_panel_for_each_field_on_its_own_axis() -> None:
    record = make("six")
    figure = slices.slices(record)
    labels = [axes.get_xlabel().replace("\n", "") for axes in figure.axes]
    assert labels == sorted(record.importance, key=lambda name: -record.importance[name])
    by_field = dict(zip(labels, figure.axes, strict=True))
    assert {name for name, axes in by_field.items() if axes.get_xscale() == "log"} == {LR.field, DECAY.field}
    lr = by_field[LR.field]
    drawn = {round(x, 12) for gid in ("complete", "pruned", "beyond") for x, _ in marks(lr, gid)}
    assert drawn == {round(float(t.params[LR.field]), 12) for t in record.trials if t.value is not None}
    batch = by_field[BATCH.field]
    assert [label.get_text() for label in batch.get_xticklabels()] == ["16", "32", "64", "128", "256"]


def test_marks_of_a_choice_stand_side_by_side_and_always_the_same() -> None:
    record = make("six")
    axes = next(a for a in slices.slices(record).axes if a.get_xlabel() == BATCH.field)
    again = next(a for a in slices.slices(record).axes if a.get_xlabel() == BATCH.field)
    places = marks(axes, "complete")
    assert places == marks(again, "complete")
    assert all(abs(x - round(x)) <= 0.43 for x, _ in places)
    assert len({(round(x, 3), round(y, 4)) for x, y in places}) == len(places)


def test_long_choices_become_letters_that_the_figure_explains() -> None:
    words = search_axes.legend_of_choices(make("six"), 10.4)
    assert words.startswith('augment.train:  A = []  B = [{"name": "flip", "p": 0.5}]  C = [')
    assert max(map(len, words.split("\n"))) <= 10.4 / search_axes.INCH_A_SMALL_CHARACTER
    assert all(f"  {letter} = " in words for letter in "ABCD")
    figure = slices.slices(make("six"))
    assert figure._supxlabel.get_text() == words  # type: ignore[attr-defined]
    axes = next(axes for axes in figure.axes if axes.get_xlabel() == "augment.train")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["A", "B", "C", "D"]


def test_ordered_pairs_are_dots_at_their_values() -> None:
    figure = slices.over_pairs(make("grid"))
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_yscale() == "linear"
    params = [(t.params["optim.lr"], t.params["training.label_smoothing"]) for t in make("grid").trials]
    assert np.allclose(sorted(marks(axes, "point")), sorted(params))


@pytest.mark.parametrize("name", ["collinear", "few"])
def test_points_on_a_line_or_few_are_drawn_all_the_same(name: str) -> None:
    record = search_samples.search((LR, DECAY), 5, importance={}) if name == "few" else make("collinear")
    axes = slices.over_pairs(record).axes[0]
    complete = [trial for trial in record.trials if trial.state == "complete"]
    assert len(marks(axes, "point")) == len(complete) > 3


def test_beside_a_choice_each_cell_has_the_median_and_its_number() -> None:
    record = make("usual")
    figure = slices.over_pairs(record)
    cells = {text.get_text() for text in figure.axes[0].texts if text.get_gid() == "cell"}
    counts = [int(cell.partition("n=")[2]) for cell in cells]
    edges = [0.0001 * 3000 ** (i / 5) for i in range(6)]
    best = [
        trial.value
        for trial in record.trials
        if trial.state == "complete" and trial.params[BATCH.field] == 128
        and edges[3] <= float(trial.params[LR.field]) < edges[4]
    ]  # fmt: skip
    assert f"{100 * float(np.median(best)):.1f}\nn={len(best)}" in cells
    all_counts = [int(t.get_text().partition("n=")[2]) for t in figure.axes[0].texts if t.get_gid() == "cell"]
    assert sum(all_counts) == sum(t.state == "complete" for t in record.trials)
    assert max(counts) > 1


def test_darker_is_better_for_both_metrics() -> None:
    for name, good, bad in (("usual", 0.85, 0.75), ("six", 0.37, 0.6)):
        record = make(name)
        colour = slices.colours(record, [t.value for t in record.trials if t.value is not None])
        assert sum(colour(good)[:3]) < sum(colour(bad)[:3])
        assert colour.dark(good) and not colour.dark(bad)


# --- parallel coordinates -----------------------------------------------------------------------------


def test_parallel_lines_run_through_the_values_of_their_trial() -> None:
    record = make("usual")
    axes = parallel.parallel(record).axes[0]
    low, high = search_words.limits(record.metric, [t.value for t in record.trials if t.value is not None])
    lines = [line for line in axes.get_lines() if line.get_gid() == "finalist"]
    wanted = []
    for trial in record.trials:
        if trial.number in search_words.finalist_trials(record):
            assert trial.value is not None
            lr = np.log(float(trial.params[LR.field]) / 0.0001) / np.log(3000)
            batch = BATCH.choices.index(trial.params[BATCH.field]) / 4
            wanted.append([lr, batch, (trial.value - low) / (high - low)])
    assert np.allclose(sorted(np.asarray(line.get_ydata()).tolist() for line in lines), sorted(wanted))
    thin = [line.get_linewidth() for line in axes.get_lines() if line.get_gid() == "complete"]
    assert min(line.get_linewidth() for line in lines) > max(thin)
    ticks = [text.get_text() for text in axes.texts if text.get_gid() == "tick"]
    assert {"0.0001", "0.01", "64", "256"} <= set(ticks)
    assert len([line for line in axes.get_lines() if line.get_gid() == "axis"]) == 3


# --- axes ---------------------------------------------------------------------------------------------


def one_scale(field: Field, *values: object) -> search_axes.Scale:
    made = [
        replace(search_samples.trial(i, (LR,), (0.5,), False), params={field.field: value})
        for i, value in enumerate(values)
    ]
    return search_axes.scales(
        search_samples.search(
            (field,), trials=made or [search_samples.failed(search_samples.trial(0, (LR,), (0.5,), False))]
        )
    )[0]


def test_a_choice_is_found_however_it_was_written() -> None:
    scale = one_scale(Field(field="a", choices=([1, {"b": 2}], 1, True, "adam")), '[1,{"b":2}]', 1.0, True, "adam")
    assert [search_axes.place(scale, value) for value in ('[1, {"b":2}]', 1, True, "adam")] == [0, 1, 2, 3]
    assert search_axes.place(scale, None) is None
    assert scale.texts == ('[1, {"b": 2}]', "1", "yes", "adam")


def test_values_beyond_the_space_still_have_a_place() -> None:
    """A search may begin with the recipe as it was, which need not lie in the space."""
    scale = one_scale(Field(field="a", low=0.1, high=1.0, log=True), 0.01)
    assert scale.kind == "log" and scale.low == 0.01 and search_axes.ends(scale)[0] < 0.01
    scale = one_scale(Field(field="a", choices=(1, 2)), 3)
    assert scale.labels == ("1", "2", "3")


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(1e-6, 1e-2, True), (0.02, 0.07, True), (16, 4096, True), (1e-12, 1e12, True), (0.9871, 0.9989, False),
     (0, 5, False), (0, 1, False), (-3.5, 12.25, False), (1, 1, False), (100_000, 3_000_000, False)],
)  # fmt: skip
def test_ticks_are_round_inside_and_say_what_they_are(low: float, high: float, log: bool) -> None:
    scale = one_scale(Field(field="a", low=low, high=high, log=log))
    for most in (3, 5, 9):
        ticks = search_axes.ticks(scale, most)
        assert (2 if low < high else 1) <= len(ticks) <= most
        assert all(low * (1 - 1e-9) <= at <= high * (1 + 1e-9) for at, _ in ticks) or low < 0
        gap = min((b - a for (a, _), (b, _) in itertools.pairwise(ticks)), default=1.0)
        assert all(abs(float(text) - at) <= 0.01 * gap for at, text in ticks)


def test_numbers_are_short() -> None:
    assert [search_axes.number(v) for v in (4096.0, 0.0003, 1e-6, 1e12, 0.25)] == [
        "4096",
        "0.0003",
        "1e-6",
        "1e12",
        "0.25",
    ]
    assert [search_axes.letters(i) for i in (0, 25, 26)] == ["A", "Z", "A2"]
    assert search_axes.wrapped("training.batch_size", 12) == "training.\nbatch_size"
