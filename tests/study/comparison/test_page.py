"""The page of a comparison: what it says, and that it stands by itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bank import Bank
from compare_runs import trainer

from rungs.cli.run import report
from rungs.study.comparison.compare import compare
from rungs.study.comparison.record import CompareDir

pytestmark = pytest.mark.drawn

PAGES = {
    "two": ("healthy", "crippled"),
    "seeds": ("healthy", "again"),
    "many": ("healthy", "again", "third", "crippled", "crippled-1", "crippled-2", "unvalidated", "diverged"),
    "digits": ("digits", "digits-1"),
    "closed": ("closed", "closed-crippled"),
}


@pytest.fixture(scope="module")
def page(bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], CompareDir]:
    """Give the folder of a comparison, made when first asked for."""
    trained = trainer(bank, tmp_path_factory.mktemp("compared"))

    def make(folder: Path) -> None:
        compare(*map(trained, PAGES[folder.name]), folder=folder)

    return lambda name: CompareDir(bank.folder(f"compare/pages/{name}", make))


def test_the_record_alone_rebuilds_the_same_page(page: Callable[[str], CompareDir], tmp_path: Path) -> None:
    there, again = page("two"), CompareDir(tmp_path / "again")
    again.path.mkdir()
    shutil.copy(there.record, again.record)
    report(again.path)
    assert again.report.read_bytes() == there.report.read_bytes()
    stems = ("differences", "curves", "pareto", "calibration", "classes-1")
    assert {path.name for path in again.figures.iterdir()} == {f"{s}.{kind}" for s in stems for kind in ("svg", "png")}


def test_the_page_says_the_verdict_first_and_what_it_is_worth(page: Callable[[str], CompareDir]) -> None:
    text = page("two").report.read_text(encoding="utf-8")
    assert text.index("crippled is worse than healthy: ") < text.index("This comparison uses test scores")
    for part in ("selecting on the test set", "McNemar's exact test", "Newly wrong", "optim.lr", "arXiv:2103.03098",
                 "Openings of the test set, from the runs' logs: healthy 1"):  # fmt: skip
        assert part in text.replace("&#39;", "'")
    assert "This comparison uses test scores" not in page("closed").report.read_text(encoding="utf-8")
    assert "Not comparable." in page("digits").report.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_refers_to_nothing_outside(name: str, page: Callable[[str], CompareDir]) -> None:
    text = page(name).report.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)
    assert not re.search(r"url\(|@import", text)
    assert "<script" not in text


@pytest.mark.parametrize("name", PAGES)
def test_in_a_browser(name: str, browser: Any, page: Callable[[str], CompareDir]) -> None:
    address = page(name).report.as_uri()
    tab = browser.new_page(viewport={"width": 360, "height": 740})
    asked: list[str] = []
    wrong: list[str] = []

    def gate(route: Any) -> None:
        asked.append(route.request.url)
        route.continue_() if route.request.url == address else route.abort()

    tab.route("**/*", gate)
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(address)
    tab.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    images = tab.eval_on_selector_all("img", "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(images) >= 4 and all(width > 0 for width in images)
    assert all(tab.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 0)"))
    assert tab.pdf(format="A4").startswith(b"%PDF")
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert wrong == []
    tab.close()
