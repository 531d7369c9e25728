from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ladder_samples
import pytest
from bank import Bank
from msgspec.structs import replace

from rungs.run.record import from_json, to_json
from rungs.study.ladder import page as ladder_page
from rungs.study.ladder.record import LadderDir, LadderRecord

pytestmark = pytest.mark.drawn

MAKERS: dict[str, Callable[[], LadderRecord]] = {
    "diary": ladder_samples.diary,
    "sweep": ladder_samples.sweep,
    "single": lambda: ladder_samples.diary(seeds=1),
    "broken": ladder_samples.broken,
    "unvalidated": lambda: ladder_samples.diary(validated=False),
    "three": ladder_samples.three,
    "hostile": ladder_samples.hostile,
    "nothing": ladder_samples.nothing,
    "on-test": ladder_samples.on_test,
    "orphan": ladder_samples.orphan,
    "beyond": ladder_samples.beyond,
}


@pytest.fixture(scope="module")
def reports(bank: Bank) -> Callable[[str], Path]:
    """Give the report of one of the `MAKERS`, each written once."""

    def make(folder: Path) -> None:
        ladder_page.write(MAKERS[folder.name](), LadderDir(folder))

    return lambda name: bank.folder(f"ladder-pages/{name}", make) / "report.html"


def text(report: Path) -> str:
    return report.read_text(encoding="utf-8")


def test_the_record_alone_rebuilds_the_same_bytes(reports: Callable[[str], Path], tmp_path: Path) -> None:
    again = from_json(to_json(ladder_samples.broken()), LadderRecord, "ladder.json")
    report = ladder_page.write(again, LadderDir(tmp_path))
    assert report == tmp_path / "report.html"
    assert text(report) == text(reports("broken"))
    stems = ("staircase", "cost", "learning-curves", "confusions")
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert drawn == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    for name in drawn:
        assert (tmp_path / "figures" / name).read_bytes() == (reports("broken").parent / "figures" / name).read_bytes()


def test_the_sections_stand_in_their_order(reports: Callable[[str], Path]) -> None:
    found = re.findall(r'<h2 id="([a-z]+)"', text(reports("broken")))
    assert found == ["staircase", "claims", "rungs", "cost", "curves", "diagnosis", "classes", "unfinished",
                     "assumptions", "method", "nets", "machine", "recipe"]  # fmt: skip


def test_the_page_says_what_was_measured(reports: Callable[[str], Path]) -> None:
    record, page = ladder_samples.diary(), text(reports("diary"))
    for part in (
        "Best on validation: cosine, 86.33 % (95 % interval 85.82 to 86.84 %, 3 seeds, sd pooled), +15.12 points",
        record.about,
        record.command,
        record.data.hash,
        "README, table 2",
        "compared with the interval in which such a result is expected from ours",
        "<code>model.step=3</code>",
        "± 0.48 sd",
        "82.05 – 84.43 %",  # noqa: RUF001
        "▲ gains 5.09 points (95 % interval 4.49 to 5.69; p = 0.0411 after Holm)</span></td>",
        "▼ loses 4.45 points (",
        "? undecided: +0.55 points (-0.05 to +1.15); next look: --seeds 5</span></td>",
        "<small>steps to converge</small>",
        "Steps to converge: until within 2 % of the smallest validation loss.",
        "Time per step is that of the fastest epoch, the one least disturbed by other load",
        "2,191,146",
        "150 MFLOP",
        "11,875",
        "the final rate is 0 (unstated)",
        "<small>against <b>third-block</b></small>",
        "margin ± 2.00 points",
        "below 0.01 after Holm&#39;s correction for all differences of the look",
        "judged at 3, 5, 8, 12 and 20 seeds",
        "maximum over epochs",
        "11 h 23 min, 24 cells in total",
        "stages = [",
        "features.conv1_1",
    ):
        assert part in page, part
    assert "Not the study of the ladder's file" not in page
    assert 'id="unfinished"' not in page


def test_verdicts_are_marked(reports: Callable[[str], Path]) -> None:
    page = text(reports("diary"))
    verdicts = re.findall(r'class="verdict-cell (\w*)">([a-z0-9 ]+)<', page)
    assert sorted(set(verdicts)) == [("no", "worse"), ("yes", "better"), ("yes", "equal"), ("yes", "within 2 points")]


def test_a_reduced_ladder_warns_before_anything_is_shown(reports: Callable[[str], Path]) -> None:
    page = text(reports("three"))
    box = page.index("Not the study of the ladder's file")
    assert box < page.index('id="staircase"')
    assert "<li>epochs: 5 of 24</li><li>rungs: 3 of 8</li>" in page
    assert re.findall(r'class="verdict-cell (\w*)">([a-z ]+)<', page) == [("", "not comparable")] * 2
    assert "so claims are not comparable:" in page
    assert "claims are not comparable" not in text(reports("orphan"))


def test_a_common_reason_is_told_once(reports: Callable[[str], Path], tmp_path: Path) -> None:
    page = text(reports("three"))
    assert page.count("5 of 24 epochs") == 1
    assert '<p class="quiet">Not comparable: 5 of 24 epochs.</p>' in page
    assert "<th>Why</th>" not in page
    record = ladder_samples.three()
    last = record.rungs[2]
    other = replace(last, answers=tuple(replace(one, why="not measured") for one in last.answers))
    page = text(ladder_page.write(replace(record, rungs=(*record.rungs[:2], other)), LadderDir(tmp_path)))
    assert '<td class="why">not measured</td>' in page
    assert '<td class="why">5 of 24 epochs</td>' in page


def test_a_comparison_on_test_or_without_its_parent_is_said(reports: Callable[[str], Path]) -> None:
    page = text(reports("on-test"))
    assert page.count("<small>on test</small>") == 1
    assert "Rungs with different validation images are compared on test." in page
    assert "compared on test" not in text(reports("diary"))
    assert "<small>on test</small>" not in text(reports("unvalidated"))
    assert "no comparison: batch-norm was not trained" in text(reports("orphan"))


def test_no_interval_is_beyond_what_can_be(reports: Callable[[str], Path]) -> None:
    page = text(reports("beyond"))
    assert "0.00 – 100.00 %" in page  # noqa: RUF001
    assert not re.search(r">-\d[\d.]* – ", page)  # noqa: RUF001
    assert "<small>0.0000 – " in page  # noqa: RUF001


def test_what_did_not_finish_is_named_with_its_ending(reports: Callable[[str], Path]) -> None:
    page = text(reports("broken"))
    section = page[page.index('id="unfinished"') : page.index('id="method"')]
    assert "7 of 24 cells did not finish." in section
    assert section.count("the training loss was not finite in epoch 4 (step 2412)") == 5
    for part in ("out of memory", "stopped by SIGINT after epoch 7", "cells/third-block-seed2-0123abcd", "failed"):
        assert part in section
    assert "Cells from 2 machines or versions of the code" in page


def test_what_the_curves_say_has_warnings_first(reports: Callable[[str], Path]) -> None:
    page = text(reports("diary"))
    section = page[page.index('id="diagnosis"') : page.index('id="classes"')]
    counts = re.findall(r'class="count(?: warning)?">(\d warning|no warning)', section)
    assert counts == sorted(counts, key=lambda count: count == "no warning")
    assert len(counts) == 8
    assert "Overfitting" in section
    assert "in 1 of 3 seeds" in section
    assert "Both losses fall together until epoch 23" in section


def test_a_ladder_without_validation_or_seeds_says_what_that_means(reports: Callable[[str], Path]) -> None:
    page = text(reports("unvalidated"))
    assert "There is no validation set: weights are those of the last epoch" in page
    assert "Best on test" in page
    page = text(reports("single"))
    assert "With one seed the interval of an accuracy accounts only for the number of images" in page


def test_names_are_text(reports: Callable[[str], Path]) -> None:
    page = text(reports("hostile"))
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 10


@pytest.mark.parametrize("name", MAKERS)
def test_the_page_refers_to_nothing_outside(name: str, reports: Callable[[str], Path]) -> None:
    page = text(reports(name))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


@pytest.mark.undrawn
def test_seeds_may_hold_other_images(tmp_path: Path) -> None:
    record = ladder_samples.diary()
    cells = tuple(replace(cell, data_hash=f"{cell.seed}f" * 32) for cell in record.rungs[0].cells)
    record = replace(record, rungs=(replace(record.rungs[0], cells=cells), *record.rungs[1:]))
    page = text(ladder_page.write(record, LadderDir(tmp_path)))
    assert "4 in all: the split depends on the seed" in page


@pytest.mark.parametrize("name", MAKERS)
def test_in_a_browser(name: str, browser: Any, reports: Callable[[str], Path]) -> None:
    address = reports(name).as_uri()
    page = browser.new_page(viewport={"width": 390, "height": 800})
    asked: list[str] = []
    wrong: list[str] = []

    def gate(route: Any) -> None:
        asked.append(route.request.url)
        route.continue_() if route.request.url == address else route.abort()

    page.route("**/*", gate)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("a dialog: a name was run as a script"))
    page.goto(address)
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    images = page.eval_on_selector_all("img", "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(images) == (1 if name == "nothing" else 4)
    assert all(wide > 0 for wide in images)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 0)"))
    table = "[...document.querySelectorAll('.rungs, .claims')].every(t => t.scrollWidth <= t.parentElement.clientWidth)"
    for width in (390, 1200, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(table), width
    if name == "hostile":
        assert "<script>alert(1)</script>" in page.inner_text("main")
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert wrong == []
    page.close()


@pytest.mark.parametrize("name", ["diary", "broken"])
def test_print_opens_what_is_folded_and_fits_the_paper(name: str, browser: Any, reports: Callable[[str], Path]) -> None:
    page = browser.new_page(viewport={"width": 688, "height": 1000})  # A4 less its margins
    page.goto(reports(name).as_uri())
    height = "document.querySelector('#diagnosis + details').getBoundingClientRect().height"
    folded = page.evaluate(height)
    page.emulate_media(media="print")
    assert page.evaluate(height) > folded + 60
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.getBoundingClientRect().width <= 690)")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()


def test_a_single_run_that_opened_the_test_set_again_is_one_run() -> None:
    record = ladder_samples.diary(seeds=1)
    unwatched = [
        replace(rung, estimates={name: e for name, e in rung.estimates.items() if name != "highest_test_accuracy"})
        for rung in record.rungs
    ]
    for runs, words in ((1, "opened 2 times by 1 run."), (2, "opened 4 times by 2 runs, more than once by some.")):
        again = [replace(rung, cells=(replace(rung.cells[0], test_openings=2),)) for rung in unwatched[:runs]]
        said = ladder_page._method(replace(record, rungs=(*again, *unwatched[runs:])))
        assert any(words in sentence for sentence in said)


def test_a_net_of_one_layer_is_counted_as_one(tmp_path: Path) -> None:
    record = ladder_samples.diary(seeds=1)
    linear = tuple(replace(rung, layers=rung.layers[-1:]) for rung in record.rungs)
    page = text(ladder_page.write(replace(record, rungs=linear), LadderDir(tmp_path)))
    assert "1 layer, " in page and "1 layers" not in page
