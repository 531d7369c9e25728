"""The small pictures beside findings, and what a page says of the looks at the test set."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.report import evidence, run_page, style
from rungs.report.reliability import FAINT_ALPHA
from rungs.run.folder import RunDir
from rungs.run.looks import Look
from rungs.run.record import Evidence, RunRecord, Series

OVERFIT = next(finding.evidence for finding in examine(samples.overfitting()) if finding.rule == "overfitting")


def look(kind: str, minute: int = 0) -> Look:
    when = f"2026-01-02T10:{minute:02d}:00+00:00"
    return Look(when=when, who="ana: rungs train x", kind=kind, purpose=f"look {minute}", images=9, test_hash="")  # type: ignore[arg-type]


def watched(record: RunRecord) -> RunRecord:
    """Let a test set be watched that is best in epoch 3, with 99 %."""
    rows = tuple(replace(row, test_loss=1.0, test_accuracy=0.99 if row.epoch == 3 else 0.5) for row in record.history)
    return replace(record, history=rows)


@pytest.mark.drawn
def test_a_picture_is_small_and_shows_its_curves_threshold_and_place(tmp_path: Path) -> None:
    assert OVERFIT is not None
    figure = evidence.draw(OVERFIT)
    assert tuple(figure.get_size_inches()) == evidence.SIZE
    svg = style.save(figure, tmp_path / "it").decode()
    assert all(word in svg for word in ("train", "validation", "threshold", "smallest", "epoch", "loss"))
    assert svg == style.save(evidence.draw(OVERFIT), tmp_path / "again").decode()
    said = evidence.alt(OVERFIT)
    assert said.startswith("loss (train, validation) over epoch; threshold: ")


@pytest.mark.drawn
def test_bars_have_names_and_values_and_room_for_all(tmp_path: Path) -> None:
    many = Evidence(
        x_label="", y_label="mistakes", x=tuple(f"class {i} and a long name" for i in range(12)),
        series=(Series(name="mistakes", y=tuple(float(i) for i in range(12))),), level=5.0, level_name="threshold",
    )  # fmt: skip
    figure = evidence.draw(many)
    assert figure.get_size_inches()[1] > evidence.SIZE[1]
    svg = style.save(figure, tmp_path / "it").decode()
    assert "class 11 and a long…" in svg and ">11<" in svg


@pytest.mark.drawn
def test_points_with_intervals_are_not_joined_and_faint_where_few(tmp_path: Path) -> None:
    found = next(finding for finding in examine(samples.overfitting()) if finding.rule == "calibration")
    assert found.evidence is not None
    ideal, measured = found.evidence.series
    assert ideal.y == found.evidence.x and not ideal.images
    assert all(low <= y <= high for low, y, high in zip(measured.low, measured.y, measured.high, strict=True))  # type: ignore[operator]
    (axes,) = evidence.draw(replace(found.evidence, series=(ideal, replace(measured, images=(9,) * len(ideal.y))))).axes
    assert [line.get_alpha() for line in axes.containers[-1].lines[:1]] == [FAINT_ALPHA]
    assert axes.containers[-1].lines[0].get_linestyle() == "None"
    assert "95 % interval" in style.save(evidence.draw(found.evidence), tmp_path / "it").decode()


@pytest.mark.drawn
def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    nothing = Evidence(x_label="epoch", y_label="loss", x=(1.0,), series=(Series(name="train", y=(None,)),))
    assert "nothing was measured" in style.save(evidence.draw(nothing), tmp_path / "it").decode()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1e30)), min_size=1, max_size=6), st.floats(0, 1e6))
def test_any_curve_can_be_drawn(values: list[float | None], level: float) -> None:
    x = tuple(float(i) for i in range(len(values)))
    one = Evidence(x_label="x", y_label="y", x=x, series=(Series(name="train", y=tuple(values)),), level=level, at=0.0)
    drawn = io.BytesIO()
    evidence.draw(one).savefig(drawn, format="svg")
    nothing = all(value is None for value in values)
    assert (b"nothing was measured" in drawn.getvalue()) == nothing


def page(record: RunRecord, folder: Path, *looks: Look) -> str:
    run = RunDir(folder)
    run_page.write(record, examine(record, looks), run, looks=looks)
    return run.report.read_text(encoding="utf-8")


def test_the_page_shows_beside_each_finding_its_picture_threshold_source_and_whole_command(tmp_path: Path) -> None:
    text = page(samples.claimed(), tmp_path)
    shown = text[text.index('id="findings"') : text.index('id="curves"')]
    assert shown.count("Applies when ") == shown.count("Source: ") == shown.count('<section class="finding') >= 4
    assert "rungs train lab-003 --set augment.train=" in text
    assert 'alt="Overfitting: loss (train, validation) over epoch' in text
    assert (tmp_path / "figures" / "finding-overfitting.png").is_file()
    changed = replace(samples.claimed(), changed=("optim.lr",))
    assert "rungs train RUN/recipe.toml --set augment.train=" in page(changed, tmp_path / "changed")
    page(samples.healthy(), tmp_path)  # a finding that is none any more leaves no picture
    assert not (tmp_path / "figures" / "finding-overfitting.png").exists()


def test_the_page_says_how_often_the_test_set_was_opened(tmp_path: Path) -> None:
    record = samples.healthy()
    once = page(record, tmp_path / "once", look("scored"))
    assert "the test set was opened once, after that" in once and 'id="looks"' not in once
    thrice = page(record, tmp_path / "thrice", look("scored"), look("evaluated", 1), look("evaluated", 2))
    assert "The test set was opened 3 times: once for the final score, twice to evaluate the net again." in thrice
    table = thrice[thrice.index('id="looks"') :]
    assert "look 1 … look 2" in table and "2026-01-02 10:01 to 2026-01-02 10:02" in table
    assert "was looked at more than once" in thrice


def test_the_page_says_how_much_the_best_epoch_on_test_would_have_flattered(tmp_path: Path) -> None:
    text = page(watched(samples.healthy()), tmp_path)
    assert "The best epoch on test is 3 with 99.00 %, the kept one has 50.00 %" in text
    assert "would have been optimistic by 49.00 points" in re.sub(r"\s+", " ", text)


def test_a_best_epoch_on_test_that_was_kept_gains_nothing() -> None:
    record = watched(samples.healthy())
    looks = (look("watched"), look("scored"))
    for epoch, words in ((3, "choosing by test would gain nothing"), (4, "optimistic by that much")):
        said = next(f.text for f in examine(replace(record, best_epoch=epoch), looks) if f.rule == "test-selection")
        assert words in said and " 0.00 points" not in said


@pytest.mark.parametrize("kinds", [(), ("scored",)])
def test_one_look_and_a_validation_set_are_the_protocol(kinds: tuple[str, ...]) -> None:
    assert "test-selection" not in {f.rule for f in examine(samples.healthy(), tuple(map(look, kinds)))}


@pytest.mark.parametrize("kinds", [("scored", "evaluated"), ("watched", "scored"), ("scored", "compared")])
def test_more_looks_are_noted_and_without_validation_warned_of(kinds: tuple[str, ...]) -> None:
    looks = tuple(map(look, kinds))
    found = {f.rule: f.level for f in examine(samples.healthy(), looks)}
    assert found["test-selection"] == "note"
    blind = {f.rule: f.level for f in examine(samples.without_validation(), looks)}
    assert blind["test-selection"] == "warning" and "no-validation" not in blind
