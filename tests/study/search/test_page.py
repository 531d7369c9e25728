"""The page of a search says what its record says, needs no network, and fits phones and paper."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import search_samples
from bank import Bank
from command import rungs
from msgspec.structs import replace
from rich.console import Console

from rungs.report.page import render
from rungs.run.record import to_json
from rungs.study.search import page as search_page
from rungs.study.search import tables
from rungs.study.search import words as search_words
from rungs.study.search.record import SearchDir, SearchRecord

pytestmark = pytest.mark.drawn

NAMES = ("usual", "long-names", "hostile", "all-pruned")
STEMS = {"finalists", "history", "learning-curves", "importance", "slices", "pairs", "parallel"}

make = cache(lambda name: search_samples.MAKERS[name]())


@pytest.fixture(scope="module")
def reports(bank: Bank) -> Callable[[str], Path]:
    """Give the report of one of the samples, each written once."""

    def write(folder: Path) -> None:
        search_page.write(make(folder.name), SearchDir(folder))

    return lambda name: bank.folder(f"search-pages/{name}", write) / "report.html"


def text(report: Path) -> str:
    return report.read_text(encoding="utf-8")


def without_pictures(name: str) -> str:
    """Return the page of a sample without its pictures, which take most of the time."""
    return render("rungs.study.search/page.html", {"pictures": {}, **search_page._facts(make(name))})


def words(report: Path | str) -> str:
    """Return the page as it is read: tags and entities resolved, styles left out."""
    page = report if isinstance(report, str) else text(report)
    bare = re.sub(r"<style>.*?</style>|<pre.*?</pre>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", bare)))


def section(report: Path | str, name: str) -> str:
    page = report if isinstance(report, str) else text(report)
    start = page.index(f'<h2 id="{name}"')
    end = page.find("<h2 ", start + 1)
    return page[start : end if end > 0 else len(page)]


def test_the_record_alone_rebuilds_the_same_bytes(reports: Callable[[str], Path], tmp_path: Path) -> None:
    folder = SearchDir(tmp_path)
    folder.record.write_bytes(to_json(make("usual")))
    done = rungs("report", tmp_path)
    assert done.stdout.strip() == f"report: {folder.report}", done.stderr
    assert folder.report.read_bytes() == reports("usual").read_bytes()
    drawn = {path.name for path in folder.figures.iterdir()}
    assert drawn == {f"{stem}.{kind}" for stem in STEMS for kind in ("svg", "png")}
    for name in drawn:
        assert (folder.figures / name).read_bytes() == (reports("usual").parent / "figures" / name).read_bytes()


def test_a_folder_without_any_record_says_what_was_looked_for(tmp_path: Path) -> None:
    done = rungs("report", tmp_path, code=2)
    assert "nor search.json nor" in done.stderr and "a climb, a search, a comparison" in done.stderr


def test_the_sections_stand_in_their_order(reports: Callable[[str], Path]) -> None:
    found = re.findall(r'<h2 id="([a-z]+)"', text(reports("usual")))
    assert found == ["finals", "next", "history", "curves", "fields", "trials", "search", "method", "machine", "recipe"]


def test_the_verdict_stands_first_and_the_merits_below_it(reports: Callable[[str], Path]) -> None:
    record, page = make("usual"), words(reports("usual"))
    assert page.index(record.verdict) < page.index("trials complete") < page.index("The finalists, retrained")
    assert record.verdict.startswith("On the test set the winner, ") and page.index("test accuracy") < page.index(
        "winner, retrained"
    )
    named, corrected = search_words.winner(record), record.corrected
    assert named is not None and record.optimism is not None and record.test is not None
    assert corrected is not None and corrected.low is not None
    mean = f"{100 * named.rerun.mean:.2f} %"
    for part in (
        "27 2 pruned, 1 failed",
        f"{100 * corrected.mean:.2f} % {named.name}, mean of 3 fresh seeds {mean}, corrected for having been chosen as "
        f"the best of 4; 95 % interval {100 * corrected.low:.2f} ",
        f"{100 * record.optimism.mean:+.2f} points of the best trial's value",
        f"{100 * record.test.mean:.2f} % the test set was opened once, after the winner was named",
        "optimism",
    ):
        assert part in page, part


def test_the_re_run_table_has_the_records_numbers(reports: Callable[[str], Path]) -> None:
    record = make("usual")
    rows = re.findall(r"<tr.*?</tr>", section(reports("usual"), "finals"), flags=re.DOTALL)[1:]
    assert len(rows) == len(record.finalists)
    for one, row in zip(record.finalists, rows, strict=True):
        assert f"<b>{one.name}</b>" in row
        assert f"<b>{100 * one.rerun.mean:.2f} %</b>" in row
        assert one.rerun.sd is not None and f"± {100 * one.rerun.sd:.2f} sd" in row
        assert all(f"<code>{change}</code>" in row for change in one.overrides)
        assert ("winner" in row) == (one.name == record.winner)
        if one.trial is None:
            assert "the unchanged recipe" in row
            continue
        assert one.searched is not None and f"{100 * one.searched:.2f} %" in row
        difference = search_words.against_recipe(record, one.name)
        assert difference is not None and f"▲ {difference.words}" in row
        optimism = search_words.optimism(record, one)
        assert optimism is not None and f"{100 * optimism.mean:+.2f} points" in row
        assert (optimism == one.optimism) == (one.name != record.winner)
        if one.name == record.winner:
            assert record.corrected is not None and f"<b>{100 * record.corrected.mean:.2f} %</b>" in row
            assert search_words.estimate_bounds(record, record.corrected) in row
            assert search_words.estimate_bounds(record, one.rerun) not in row


def test_all_trials_stand_in_the_table_best_first() -> None:
    record = make("six")
    rows = re.findall(r"<tr.*?</tr>", section(without_pictures("six"), "trials"), flags=re.DOTALL)[1:]
    assert len(rows) == 300
    numbers = [int(re.search(r'class="number">(\d+)</th>', row)[1]) for row in rows]  # type: ignore[index]
    by_number = {trial.number: trial for trial in record.trials}
    states = [by_number[number].state for number in numbers]
    assert states == sorted(states, key=search_words.STATES.index)
    values = [by_number[n].value for n in numbers if by_number[n].state == "complete"]
    assert values == sorted(values)  # a loss
    for number, row in list(zip(numbers, rows, strict=True))[:5]:
        trial = by_number[number]
        assert f"<b>{trial.value:.4f}</b>" in row
        assert f">{trial.params['optim.lr']:.3g}<" in row
        assert f">{trial.params['training.batch_size']}<" in row
    page = words(without_pictures("six"))
    assert "resumes trial 3, whose worker stopped or died" in page
    assert "pruned after epoch 3: worse than the median" in page


def test_the_next_commands_can_be_pasted() -> None:
    record = make("six")
    named = search_words.winner(record)
    assert named is not None
    commands = [
        html.unescape(found) for found in re.findall(r"<pre[^>]*>(.*?)</pre>", section(without_pictures("six"), "next"))
    ]
    train = ["rungs", "train", "lab-003", "--data", "cifar10", "--set", "optim.momentum=0.8"]
    assert shlex.split(commands[0]) == train + [word for change in named.overrides for word in ("--set", change)]
    assert commands[1:] == [record.command, record.dashboard]


def test_where_the_recipe_wins_it_is_what_to_train() -> None:
    assert (
        search_words.train_command(make("recipe-wins")) == "rungs train lab-003 --data cifar10 --set optim.momentum=0.8"
    )
    assert "Train the unchanged recipe, which no trial beat" in words(without_pictures("recipe-wins"))
    assert search_words.train_command(make("no-finals")) == ""
    odd = replace(make("usual"), command="not 'a command")
    assert search_words.train_command(odd).startswith("rungs train lab-003 --set optim.lr=")


def test_without_finals_nothing_is_called_a_winner(reports: Callable[[str], Path]) -> None:
    page = words(without_pictures("no-finals"))
    best = max(t.value for t in make("no-finals").trials if t.state == "complete" and t.value is not None)
    assert f"{100 * best:.2f} % on validation. It is not the winner yet" in page
    assert "None yet: the best trials have not been retrained with fresh seeds" in page
    assert "the test set is closed" in page
    assert "rungs train" not in without_pictures("no-finals")
    page = words(reports("all-pruned"))
    assert "No trial of this search is complete (9 pruned, 1 running, 1 waiting, 1 failed)" in page
    assert "Importance was not estimated: too few trials are complete." in page
    assert "the training loss was not finite in epoch 2 (step 41)" in page
    drawn = {path.stem for path in (reports("all-pruned").parent / "figures").iterdir()}
    assert drawn == {"history", "learning-curves", "slices", "parallel"}
    assert list(search_page._drawn(make("nothing-yet"))) == []
    assert "No trial of this search is complete (1 waiting)" in words(without_pictures("nothing-yet"))


def test_what_the_search_was_and_how_it_was_measured() -> None:
    page = words(without_pictures("six"))
    for part in (
        "0.0001 to 0.3, logarithmic",
        "0 to 0.2, in steps of 0.05",
        "0 to 5, whole numbers",
        "12 of 20 epochs; a quarter of the training images",
        "arXiv:1907.10902",
        "Bergstra, Bardenet, Bengio and Kégl 2011",
        "doi:10.1145/3097983.3098043",
        "Hutter, Hoos and Leyton-Brown 2014",
        "JMLR 11:2079",
        "fANOVA over 26 complete trials",
        "the epoch with the best validation",
        "The winner is the best of a few re-run means",
        "doi:10.1186/1471-2105-7-91",
        "arXiv:1906.00505",
        "The test score is an honest score of the winner's trained nets",
        "the test set was opened once, after the winner was named",
    ):
        assert part in page, part
    assert "arXiv:1603.06560" not in page
    other = replace(make("usual"), sampler="random", pruner="hyperband (3 brackets)", importance_by="PED-ANOVA")
    said = " ".join(search_page._method(other))
    assert "arXiv:1603.06560" in said and "JMLR 13:281" in said and "Kégl" not in said


def test_the_log_of_looks_says_how_often_the_test_set_was_opened() -> None:
    record = make("usual")
    assert "the test set was opened once" in search_page.test_words(record, 1)
    assert "opened 3 times in this search: its score is no longer fresh" in search_page.test_words(record, 3)
    page = words(render("rungs.study.search/page.html", {"pictures": {}, **search_page._facts(record, 3)}))
    assert page.count("opened 3 times") == 2 and "opened once" not in page
    assert search_page.test_words(make("no-finals"), 0) == "the test set is closed"


def test_letters_are_explained() -> None:
    page = words(without_pictures("six"))
    assert "Key to the letters" in page
    assert 'C [{"name": "flip", "p": 0.5}, {"name": "crop", "padding": 4}]' in page
    assert "Key to the letters" not in words(without_pictures("usual"))


def test_captions_say_what_not_to_read_off(reports: Callable[[str], Path]) -> None:
    page = words(reports("long-names"))
    for part in (
        "This holds for this space only",
        "each dot is a complete trial",
        "with n = 1 it is a single trial",
        "the best of more tries is better by chance alone",
    ):
        assert part in page, part
    assert "each dot" not in words(reports("usual"))  # its one pair has a choice


def test_names_are_text(reports: Callable[[str], Path]) -> None:
    page = text(reports("hostile"))
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 10
    assert "$x^$" in page


@pytest.mark.parametrize("name", NAMES)
def test_the_page_refers_to_nothing_outside(name: str, reports: Callable[[str], Path]) -> None:
    page = text(reports(name))
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page


# --- the terminal -------------------------------------------------------------------------------------


def printed(record: SearchRecord, width: int = 120) -> str:
    console = Console(width=width, file=None)
    with console.capture() as capture:
        console.print(tables.summary(record))
    return capture.get()


@pytest.mark.parametrize("name", search_samples.MAKERS)
def test_the_summary_names_finalists_or_the_best_trials(name: str) -> None:
    record = make(name)
    said = printed(record)
    assert max(map(len, said.splitlines())) <= 120
    assert all(one.name in said for one in record.finalists)
    if record.winner:
        assert f"{record.winner} (winner)" in said
        assert "opened once" in said and "Next: rungs train" in said
    top = search_words.best(record)
    if not record.finalists and top is not None:
        assert search_words.value(record, top.value) in said and "not the winner yet" in " ".join(said.split())


def test_the_summary_has_the_numbers() -> None:
    record = make("usual")
    named, said = search_words.winner(record), printed(record)
    assert named is not None and named.searched is not None and record.optimism is not None and record.corrected
    bounds = search_words.estimate_bounds(record, record.corrected)
    for part in (f"{100 * named.searched:.2f} %", f"{100 * named.rerun.mean:.2f} %", "▲ real gain", "optim.lr=0.0163",
                 f"corrected {100 * record.corrected.mean:.2f} %", bounds,
                 f"{100 * record.optimism.mean:+.2f} points"):  # fmt: skip
        assert part in said, part
    assert record.verdict in " ".join(said.split())


def test_the_summary_says_how_often_the_test_set_was_opened() -> None:
    console = Console(width=120, file=None)
    with console.capture() as capture:
        console.print(tables.summary(make("usual"), 3))
    assert "opened 3 times, so no longer fresh" in capture.get() and "opened once" not in capture.get()


def test_a_trial_that_diverged_is_not_called_the_best() -> None:
    record = make("usual")
    top = search_words.best(record)
    assert top is not None and search_words.ranked(record)[0] == top
    lost = replace(top, diverged=True, ending="diverged: the loss is not finite")
    record = replace(record, trials=tuple(lost if one == top else one for one in record.trials))
    other = search_words.best(record)
    assert other is not None and other.number != top.number and search_words.ranked(record)[0] == other
    assert top.value not in search_words.best_so_far(record)[1]
    assert lost.ending in words(render("rungs.study.search/page.html", {"pictures": {}, **search_page._facts(record)}))


def test_the_dashboard_says_what_it_needs() -> None:
    record = make("usual")
    assert search_words.dashboard_needs(record) == "it needs: pip install optuna-dashboard"
    assert "It needs: pip install optuna-dashboard." in words(without_pictures("usual"))
    record = replace(record, dashboard="optuna-dashboard 'mysql://me:***@h/db'")
    assert search_words.dashboard_needs(record).endswith("replace *** with the password")


def test_a_trial_is_a_line() -> None:
    record = make("usual")
    line = tables.trial_line(record.trials[23], record.space)
    assert line == "trial 23  85.94 %  complete  12 epochs  26 s  optim.lr=0.0163  training.batch_size=128"
    assert tables.trial_line(record.trials[3], record.space).endswith("  its worker died")
    assert tables.trial_line(record.trials[7], record.space).endswith("  resumes trial 3")
    six = make("six")
    assert f"  {six.trials[1].value:.4f}  " in tables.trial_line(six.trials[1], six.space, six.metric)


# --- in a browser -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["usual", "long-names", "hostile", "all-pruned"])
def test_in_a_browser(name: str, browser: Any, reports: Callable[[str], Path]) -> None:
    address = reports(name).as_uri()
    page = browser.new_page(viewport={"width": 400, "height": 800})
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
    assert len(images) == (4 if name == "all-pruned" else 7)
    assert all(wide > 0 for wide in images)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 0)"))
    table = "[...document.querySelectorAll('.finals')].every(t => t.scrollWidth <= t.parentElement.clientWidth)"
    for width in (400, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(table), width
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert wrong == []
    page.close()


@pytest.mark.parametrize("name", ["usual", "long-names"])
def test_print_fits_the_paper(name: str, browser: Any, reports: Callable[[str], Path]) -> None:
    page = browser.new_page(viewport={"width": 688, "height": 1000})  # A4 less its margins
    page.goto(reports(name).as_uri())
    page.emulate_media(media="print")
    wide = "[...document.querySelectorAll('table')].map(t => Math.round(t.getBoundingClientRect().width))"
    assert max(page.evaluate(wide)) <= 690
    assert page.evaluate("document.querySelector('.trials').getBoundingClientRect().height") > 400
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
