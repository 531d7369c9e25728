"""The picture, the tables and the page of a bench: from the record alone, readable, the same twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_samples import LEVERS, bench
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from rich.console import Console

from rungs.report.style import save
from rungs.run.record import from_json, to_json
from rungs.study.bench import figures, tables
from rungs.study.bench import page as bench_page
from rungs.study.bench.advice import advise
from rungs.study.bench.record import BenchDir, BenchRecord, Lever


def test_a_record_comes_back_as_it_was() -> None:
    record = bench()
    assert from_json(to_json(record), BenchRecord, "bench.json") == record


@pytest.mark.drawn(png=True)
def test_the_picture_has_four_panels_with_what_was_measured(tmp_path: Path) -> None:
    record = bench()
    figure = figures.overview(record)
    time, batches, operations, roof = figure.axes
    bars = [patch.get_width() for patch in time.patches]
    assert sum(bars[:4]) == pytest.approx(100) and sum(bars[4:]) == pytest.approx(100)
    assert [patch.get_width() for patch in operations.patches][::-1] == pytest.approx([50, 30, 15, 5])
    curve = next(line for line in batches.lines if tuple(line.get_xdata()) == (32, 64, 128))
    assert list(curve.get_ydata()) == pytest.approx([48, 50, 51])
    line = next(line for line in roof.lines if len(line.get_xdata()) > 100)
    assert max(line.get_ydata()) == pytest.approx(record.ceilings.matmul.median / 1e9)
    svg = save(figure, tmp_path / "bench").decode()
    assert "training, batch of 64" in svg
    pixels = np.asarray(Image.open(tmp_path / "bench.png").convert("L"))
    assert pixels.shape[1] > 1200 and 0.02 < (pixels < 200).mean() < 0.5


def test_levers_are_a_panel_of_their_own() -> None:
    record = bench(levers=LEVERS)
    panel, *_ = figures.overview(record).axes
    assert len(figures.overview(record).axes) == 5
    bars = [(round(bar.get_x() + bar.get_width(), 2), bar.get_y() + bar.get_height() / 2) for bar in panel.patches]
    assert bars == [(0.8, 0), (1.01, 1), (1.6, 3)]  # from the bottom
    told = {text.get_position()[1]: text.get_text() for text in panel.texts if text.get_text()}
    assert told[2] == "not measured: this CPU has neither AMX nor AVX-512 bf16"
    assert {"1.60 x", "1.01 x", "0.80 x"} <= {text.get_text() for text in panel.texts}
    names = [label.get_text() for label in panel.get_yticklabels()]
    assert names[3] == "Winograd / direct convolution" and names[0] == "not compiled / compiled"
    clear = [bar.get_facecolor()[:3] for bar in panel.patches]
    assert len(set(clear)) == 3  # slower, unclear (0.99 to 1.03), faster
    low, high = panel.get_xlim()
    assert low < 0.78 and high > 1.64  # with quartiles


@pytest.mark.parametrize("levers", [(), LEVERS], ids=["four panels", "with levers"])
def test_texts_stay_inside_the_picture(levers: tuple[Lever, ...]) -> None:
    figure = figures.overview(bench(levers=levers))
    FigureCanvasAgg(figure).draw()
    page = figure.bbox
    for axes in figure.axes:
        for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= page.x1 and box.y0 >= 0 and box.y1 <= page.y1, text.get_text()


@pytest.mark.drawn
def test_the_page_is_one_file_and_the_same_twice(tmp_path: Path) -> None:
    record = bench(training=(0.3, 0.4, 0.6), levers=LEVERS)
    first, second = (BenchDir(tmp_path / name) for name in "ab")
    for folder in (first, second):
        bench_page.write(record, advise(record), folder)
    page = first.report.read_text()
    assert first.report.read_bytes() == second.report.read_bytes()
    assert "--set training.batch_size=128" in page and "about 4.1 s each" in page
    assert "Winograd / direct convolution" in page and "not measured: this CPU has neither" in page
    assert "http:" not in page.replace("http://www.w3.org", "") and 'src="data:' in page
    assert {path.suffix for path in first.figures.iterdir()} == {".svg", ".png"}


def test_the_terminal_says_shares_phases_and_advice() -> None:
    record = bench(training=(0.3, 0.4, 0.6), levers=LEVERS)
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(tables.summary(record, advise(record)))
    text = capture.get()
    assert "1.57 to 1.63, 5 rounds" in text and "try --set training.compile=yes" in text
    for part in ("90.0 GFLOP/s", "40 %", "optimiser", "64 (recipe)", "Larger batches train faster", "not measured"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 120
    assert "40 %" in tables.verdict(record)
