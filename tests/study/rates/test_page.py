"""The words, the table, the picture and the page of a range test: from the record alone, readable, the same twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from msgspec.structs import replace
from PIL import Image
from rate_samples import asleep, rates
from rich.console import Console

from rungs.report.style import save
from rungs.run.record import from_json, to_json
from rungs.study.rates import figures, tables, words
from rungs.study.rates import page as rates_page
from rungs.study.rates.record import RateDir, RateRecord


def said(record: RateRecord) -> str:
    return " ".join([words.verdict(record), *words.words(record)])


def test_a_record_comes_back_as_it_was() -> None:
    record = rates()
    assert from_json(to_json(record), RateRecord, "rates.json") == record


def test_the_words_say_what_is_distinguishable_and_whether_the_guess_held() -> None:
    text = said(rates())
    assert "Of the 5 rates checked, 0.018 has the lowest validation loss, 0.2600" in text
    assert "cannot be distinguished from 0.006." in text
    assert "The recipe's own rate, 0.001, raises the loss by 0.0500" in text
    assert "estimate, 0.006, was confirmed, within seed-to-seed variation" in text
    assert "Runs diverged at 0.16." in text and "rate checked: a" not in text
    assert rates().next_command == "rungs train lab-003 --set optim.lr=0.018"


def test_a_guess_that_was_worse_did_not_hold_up() -> None:
    record = rates()
    own, guess, *others = record.checks
    assert own.difference and guess.difference
    worse = replace(guess, difference=own.difference)
    assert "estimate, 0.006, was not confirmed: it raises the loss" in said(
        replace(record, checks=(own, worse, *others))
    )
    lost = replace(guess, loss=None, difference=None)
    assert "was not confirmed: it diverged" in said(replace(record, checks=(own, lost, *others)))
    best = said(replace(record, suggestion=guess.rate))
    assert "was confirmed: it is the best" in best


def test_the_recipes_own_rate_is_not_changed_for_nothing() -> None:
    record = rates()
    own, guess, *others = record.checks
    same = replace(own, difference=guess.difference)
    untold = replace(record, checks=(same, guess, *others))
    assert "there is no evidence that changing it helps" in said(untold)
    assert untold.suggestion == 0.018 and untold.next_command == "rungs train lab-003"
    lost = replace(own, loss=None, difference=None)
    assert replace(record, checks=(lost, guess, *others)).next_command == "rungs train lab-003 --set optim.lr=0.018"
    kept = replace(record, suggestion=own.rate)
    assert "there is nothing to change" in said(kept) and "It is the smallest rate checked" in said(kept)
    assert kept.next_command == "rungs train lab-003"


def test_without_learning_there_is_no_suggestion_but_a_longer_check() -> None:
    record = asleep()
    text = said(record)
    assert "No rate can be suggested: in 133 steps" in text and "guessing among 10 classes gives 2.3026" in text
    assert "no estimate: its loss never fell clearly" in text
    assert record.next_command == "rungs lr-find lab-003 --steps 480"
    lost = [replace(check, loss=None, accuracy=None, losses=(None,) * 3) for check in record.checks]
    assert "every checked rate diverged" in said(replace(record, checks=tuple(lost)))


@pytest.mark.drawn(png=True)
def test_the_picture_draws_what_was_measured(tmp_path: Path) -> None:
    record = rates()
    figure = figures.overview(record)
    sweep, loss, accuracy = figure.axes
    assert sweep.get_xscale() == "log"
    curve = next(line for line in sweep.lines if str(line.get_label()).startswith("smoothed, median of 3"))
    assert tuple(curve.get_ydata()) == record.median and tuple(curve.get_xdata()) == record.rates[: len(record.median)]
    faint = [line for line in sweep.lines if tuple(line.get_ydata()) == record.sweeps[1].losses]
    assert len(faint) == 1
    marks = {str(line.get_label()): line.get_xdata()[0] for line in sweep.lines if ":" in str(line.get_label())}
    assert marks["steepest fall: 0.0061"] == record.steepest and marks["suggested: 0.018"] == 0.018
    assert record.diverged_at in marks.values() and marks["the recipe's own: 0.001"] == 0.001
    assert [text.get_text() for text in loss.get_xticklabels()] == ["0.001", "0.006", "0.018", "0.054", "0.16"]
    assert [text.get_text() for text in loss.texts] == ["diverged"]
    bars = [segment for container in loss.collections for segment in container.get_segments()]
    assert sorted(float(bar[0][1]) for bar in bars) == pytest.approx([0.21, 0.2233333, 0.26, 0.37])
    assert accuracy.get_ylim()[1] <= 105
    svg = save(figure, tmp_path / "rates").decode()
    assert "steepest fall: 0.0061" in svg
    pixels = np.asarray(Image.open(tmp_path / "rates.png").convert("L"))
    assert pixels.shape[1] > 1500 and 0.02 < (pixels < 200).mean() < 0.5


def test_a_loss_far_above_guessing_does_not_flatten_the_others() -> None:
    record = rates()
    own, guess, *others = record.checks
    assert own.loss is not None
    wild = replace(own, losses=(40.0, 41.0, 43.0), loss=replace(own.loss, mean=41.3, low=30.0, high=50.0))
    _, loss, _ = figures.overview(replace(record, checks=(wild, guess, *others))).axes
    assert loss.get_ylim()[1] == pytest.approx(1.5 * np.log(10))
    assert [text.get_text() for text in loss.texts] == ["diverged", "↑ 41.3"]


@pytest.mark.parametrize("record", [rates(), asleep()])
def test_texts_stay_inside_the_picture_and_apart(record: RateRecord) -> None:
    figure: Figure = figures.overview(record)
    FigureCanvasAgg(figure).draw()
    page = figure.bbox
    for axes in figure.axes:
        legend = axes.get_legend()
        texts = [axes._left_title, axes.xaxis.label, axes.yaxis.label, *([] if legend is None else legend.get_texts())]
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1, text.get_text()
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
        assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))


@pytest.mark.drawn
def test_the_page_is_one_file_and_the_same_twice(tmp_path: Path) -> None:
    record = rates()
    first, second = (RateDir(tmp_path / name) for name in "ab")
    for folder in (first, second):
        assert rates_page.write(record, folder) == folder.report
    page = first.report.read_text()
    assert first.report.read_bytes() == second.report.read_bytes()
    for part in (
        "rungs train lab-003 --set optim.lr=0.018",
        "2 of 3 diverged",
        "arXiv:1506.01186",
        "indistinguishable",
    ):
        assert part in page
    assert "http:" not in page.replace("http://www.w3.org", "") and 'src="data:' in page
    assert {path.name for path in first.figures.iterdir()} == {"rates.svg", "rates.png"}


def test_the_terminal_shows_a_row_a_rate() -> None:
    console = Console(width=120, record=True)
    with console.capture() as capture:
        console.print(tables.summary(rates()))
    text = capture.get()
    for part in ("the estimate × 3", "suggested", "2 of 3 diverged", "+0.0120", "worse"):  # noqa: RUF001
        assert part in text
    assert max(map(len, text.splitlines())) <= 120
