from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from bank import Bank
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.report import run_page
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord

pytestmark = pytest.mark.drawn

MAKERS: dict[str, Callable[[], RunRecord]] = {
    "claimed": samples.claimed,
    "odd": samples.odd_names,
    "hundred": lambda: samples.sized(100, 1),
    "first": samples.first_epoch,
    "diverged": samples.diverged,
    "unvalidated": samples.without_validation,
}


def write(make: Callable[[], RunRecord], folder: Path) -> RunDir:
    record, run = make(), RunDir(folder)
    run.write_record(record)
    assert run_page.write(record, examine(record), run) == run.report
    return run


@pytest.fixture(scope="module")
def runs(bank: Bank) -> Callable[[str], RunDir]:
    """Give the run folder of one of the `MAKERS`, each written once."""

    def make(folder: Path) -> None:
        write(MAKERS[folder.name], folder)

    return lambda name: RunDir(bank.folder(f"run-pages/{name}", make))


def text(run: RunDir) -> str:
    return run.report.read_text(encoding="utf-8")


def test_the_record_alone_rebuilds_the_same_bytes(runs: Callable[[str], RunDir], tmp_path: Path) -> None:
    folder = RunDir(tmp_path)
    shutil.copy(runs("claimed").record, folder.record)
    again = folder.read_record()
    run_page.write(again, examine(again), folder)
    assert text(folder) == text(runs("claimed"))
    stems = ["learning-curves", "confusion-counts", "confusion-percent", "calibration", "layers"]
    stems += [f"finding-{finding.rule}" for finding in examine(again)]
    assert {path.name for path in folder.figures.iterdir()} == {f"{s}.{kind}" for s in stems for kind in ("svg", "png")}


def test_names_of_classes_that_blanks_begin_or_end_are_quoted(tmp_path: Path) -> None:
    page = text(write(lambda: samples.sized(3, 5, names=("cat", "cat ", "dog")), tmp_path))
    assert page.count('class="wide">&#39;cat &#39;</th>') == page.count('class="wide">cat</th>') == 2
    assert page.count('class="wide">dog</th>') == 2 and "cat </" not in page


def test_a_net_of_one_layer_is_counted_as_one(tmp_path: Path) -> None:
    record = samples.sized(3, 5)
    linear = replace(record.model, layers=record.model.layers[-1:])
    page = text(write(lambda: replace(record, model=linear), tmp_path))
    assert f"{linear.name}: 1 layer, " in page and f"The 1 layer of {linear.name} as a row" in page
    assert "1 layers" not in page


def test_the_page_says_the_verdict_and_the_claims(runs: Callable[[str], RunDir]) -> None:
    record, page = samples.claimed(), text(runs("claimed"))
    assert record.test is not None
    for part in (
        f"{100 * record.test.accuracy:.2f} %",
        "95 % interval",
        "82.94 %",
        "cannot tell with 1 seed",
        "the test set was opened once",
        "Overfitting",
        "dropout probability 0.5 (unstated)",
        record.data.hash,
        record.fingerprint,
        "the published data set, byte for byte",
        "stages = [",
        "[128, 128],",
    ):
        assert part in page
    assert page.count('class="tiny"') == 24


@pytest.mark.parametrize(
    ("name", "part"), [("diverged", "The training diverged: "), ("first", "no epoch was finished")]
)
def test_runs_that_ended_badly_say_so(name: str, part: str, runs: Callable[[str], RunDir]) -> None:
    page = text(runs(name))
    assert part in page or part in (runs(name).figures / "learning-curves.svg").read_text(encoding="utf-8")
    assert "The worst mistakes" not in page
    assert "has not been opened" in page


def test_the_header_says_which_images_whatever_the_recipe_speaks_of(runs: Callable[[str], RunDir]) -> None:
    head = text(runs("odd")).split("</header>")[0]
    assert "resnet18, trained on folder:photos: 1,200 images of 3 classes" in head
    assert "Recipe: The best network of a student" in head
    assert head.index("folder:photos") < head.index("Recipe: ")


@pytest.mark.undrawn
def test_only_what_falls_short_of_a_claim_is_marked_as_bad(tmp_path: Path) -> None:
    page = text(write(lambda: replace(samples.claimed(), test=samples.result(10, 10000, 0.95)), tmp_path))
    assert re.search(r'class="verdict-cell yes">better', page)
    assert re.search(r'class="verdict-cell ">cannot tell', page)
    page = text(write(lambda: replace(samples.claimed(), test=samples.result(10, 10000, 0.6)), tmp_path / "worse"))
    assert re.search(r'class="verdict-cell no">worse', page)


@pytest.mark.undrawn
def test_warming_up_is_told_where_there_was_some(tmp_path: Path) -> None:
    record = samples.healthy()
    assert "warming up" not in text(write(lambda: record, tmp_path / "plain"))
    first, *others = record.history
    record = replace(record, history=(replace(first, warm_up_s=1.26), *others))
    assert "1.3 s of the training: compiling the net, recording its steps" in text(
        write(lambda: record, tmp_path / "it")
    )


@pytest.mark.undrawn
def test_one_core_is_a_core(tmp_path: Path) -> None:
    record = samples.first_epoch()
    page = text(write(lambda: replace(record, environment=replace(record.environment, cores=1)), tmp_path))
    assert ", 1 core, 1 rank<" in page


def test_names_are_text(runs: Callable[[str], RunDir]) -> None:
    page = text(runs("odd"))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "photos/a &lt;b&gt;/x.jpg" in page


def test_the_page_refers_to_nothing_outside(runs: Callable[[str], RunDir]) -> None:
    page = text(runs("claimed"))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


@pytest.mark.parametrize("name", MAKERS)
def test_in_a_browser(name: str, browser: Any, runs: Callable[[str], RunDir]) -> None:
    address = runs(name).report.as_uri()
    page = browser.new_page(viewport={"width": 360, "height": 740})
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
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    images = page.eval_on_selector_all("img", "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(images) >= 1 + (name != "first")
    assert all(width > 0 for width in images)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 0)"))
    if name == "odd":
        assert "<script>alert(1)</script>" in page.inner_text("main")
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert wrong == []
    page.close()


def test_a_phone_shows_the_verdict_of_a_claim(browser: Any, runs: Callable[[str], RunDir]) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(runs("claimed").report.as_uri())
    for cell in page.query_selector_all(".verdict-cell"):
        box = cell.bounding_box()
        assert box["x"] + box["width"] <= 360
    assert page.evaluate("document.querySelector('.claims').scrollWidth") <= 360
    page.close()


def test_print_opens_what_is_folded(browser: Any, runs: Callable[[str], RunDir]) -> None:
    page = browser.new_page()
    page.goto(runs("claimed").report.as_uri())
    height = "document.querySelector('#model + details table').getBoundingClientRect().height"
    folded = page.evaluate("document.querySelector('#model + details').getBoundingClientRect().height")
    page.emulate_media(media="print")
    unfolded = page.evaluate("document.querySelector('#model + details').getBoundingClientRect().height")
    assert unfolded > folded + 200
    assert page.evaluate(height) > 100
    page.close()


@pytest.mark.parametrize("width", [1200, 400])
def test_a_findings_picture_stands_beside_its_text_or_below_it(
    width: int, browser: Any, runs: Callable[[str], RunDir]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(runs("claimed").report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for section in page.query_selector_all(".finding"):
        words, picture = (section.query_selector(part).bounding_box() for part in (".said", "img"))
        beside = picture["x"] >= words["x"] + words["width"]
        assert beside == (width == 1200)
        assert picture["width"] >= 250 and picture["x"] + picture["width"] <= width
        assert abs(picture["width"] / picture["height"] - 4 / 2.2) < 0.8
    page.close()
