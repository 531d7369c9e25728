from __future__ import annotations

import io
import re
from collections.abc import Callable

import ladder_samples
import pytest
from msgspec.structs import replace
from rich.console import Console

from rungs.report import metric
from rungs.study.ladder import tables, words
from rungs.study.ladder.record import LadderRecord


def printed(record: LadderRecord, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(tables.summary(record, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(name))


def test_a_wide_terminal_shows_all_in_words() -> None:
    text = printed(ladder_samples.diary(), 140)
    wider = row(text, "wider")
    for part in ("77.60 ± 0.51", "77.13 ± 0.44", "+2.74 real gain", "test 80.10 worse", "9,375", "0.0325"):
        assert part in wider
    assert "against what it builds on" in text
    assert re.search(r"real gain \(third-block\)", row(text, "cosine"))
    assert text.count("(third-block)") == 1
    assert "0.0200" in row(text, "first-net")
    assert "steps: until within 2 % of the smallest validation loss" in text
    assert "no room" not in text
    usual = ladder_samples.diary()
    text = printed(replace(usual, rungs=usual.rungs[:7]), 140)
    assert "against the rung before" in text
    assert "against the first rung" in printed(ladder_samples.sweep(4), 140)


def test_the_title_says_that_a_headline_is_a_claim() -> None:
    record = ladder_samples.diary()
    assert printed(record, 140).splitlines()[0].strip() == f"diary; claimed: {record.headline}"
    assert printed(replace(record, headline=""), 140).splitlines()[0].strip() == "diary"


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_a_mean_alone(seeds: int) -> None:
    text = printed(ladder_samples.diary(seeds), 140)
    assert "±" not in text
    assert f"n = {seeds} seed{'s' * (seeds > 1)}; intervals in the report" in text
    assert "77." in row(text, "wider")


def test_some_rungs_of_few_seeds() -> None:
    text = printed(ladder_samples.broken(), 140)
    half = "±: half of the 95 % interval of the mean over seeds (Student's t), with at least 3 seeds"
    assert f"n = 2 to 3 seeds; {half}" in text
    assert "±" not in row(text, "third-block")
    assert "diverged: wider (3 of 3 seeds), dropout (2 of 3 seeds)" in text


def test_what_has_no_comparison_is_said_and_claims_are_named_only_where_there_are_any() -> None:
    text = printed(ladder_samples.orphan(), 140)
    assert "no comparison: batch-norm was not trained" in text
    assert "rungs: 7 of 8." in text
    assert "comparable" not in text
    assert "comparable" not in tables.markdown(ladder_samples.orphan())
    assert "Claims are not comparable." in " ".join(printed(ladder_samples.three(), 140).split())
    assert "no comparison" not in printed(ladder_samples.diary(), 140)


def test_intervals_in_markdown_are_of_what_can_be() -> None:
    assert "(0.00 – 100.00 %), n = 2" in tables.markdown(ladder_samples.beyond())  # noqa: RUF001
    assert metric.bounds("validation_loss", -0.2, 0.3) == "0.0000 – 0.3000"  # noqa: RUF001
    assert metric.bounds("test_accuracy", -0.2, 1.3) == "0.00 – 100.00 %"  # noqa: RUF001


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "make", [ladder_samples.diary, ladder_samples.sweep, ladder_samples.broken, ladder_samples.three]
)
def test_a_usual_terminal_loses_no_number_and_says_what_it_left_out(
    make: Callable[[], LadderRecord], width: int
) -> None:
    record = make()
    text = printed(record, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for rung in record.rungs:
        estimate = rung.estimates.get("validation_accuracy")
        if estimate:
            line = row(text, rung.name[: tables.FOLDED])
            assert f"{100 * estimate.mean:.2f} ±"[: None if estimate.n >= tables.FEWEST_SEEDS else -2] in line
        if rung.difference:
            assert f"{100 * rung.difference.mean:+.2f}" in text
    left_out = re.search(r"no room for (.*)", text)
    shown = [head for head in ("s/step", "steps", "test, %") if re.search(rf"\b{head}", text.splitlines()[2])]
    assert len(shown) + (len(left_out[1].split(", ")) if left_out else 0) == 3


def test_signs_are_explained() -> None:
    text = " ".join(printed(ladder_samples.diary(), 100).split())
    assert "gain: points against what it builds on; ▲ real gain, ▼ real loss, = no difference, ? undecided" in text
    assert "claimed: ✓ within, ↑ better, ↓ worse, = equal" in text
    assert "val. 83.50 ✓" in text


def test_what_did_not_finish_and_what_is_reduced_is_said() -> None:
    assert "diverged" in row(printed(ladder_samples.broken(), 100), "wider")
    assert "failed in both seeds" in printed(ladder_samples.nothing(), 100)
    text = " ".join(printed(ladder_samples.three(), 100).split())
    assert "epochs: 5 of 24; rungs: 3 of 8" in text


def test_no_column_of_what_was_not_measured() -> None:
    text = printed(ladder_samples.diary(validated=False), 140)
    assert "validation" not in text
    text = printed(ladder_samples.sweep(4, seeds=1), 140)
    assert "claimed" not in text
    assert "n = 1 seed" in text


def test_names_are_text_and_not_markup() -> None:
    assert "[/b]" in printed(ladder_samples.hostile(), 140)


# --- Markdown -----------------------------------------------------------------------------------------


def cells(record: LadderRecord, name: str) -> list[str]:
    line = next(line for line in tables.markdown(record).splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_sets_claims_beside_measurements_line_by_line() -> None:
    _, claimed, measured, verdicts, difference, verdict = cells(ladder_samples.diary(), "flip-and-crop")
    assert claimed.split("<br>") == ["validation accuracy 83.50 %", "test accuracy 81.00 %", "parameters 2,191,146"]
    assert measured.startswith("validation accuracy 83.24 % (82.05 – 84.43 %), n = 3<br>test accuracy")  # noqa: RUF001
    within, better, equal = verdicts.split("<br>")
    assert within == "within 2 points (82.04 to 84.44 %)"
    assert better.startswith("better (") and equal == "equal"
    assert difference.startswith("+5.09 points (+4.49 to +5.69)")
    assert verdict == "real gain"


def test_markdown_names_an_unusual_parent_and_what_ended_badly() -> None:
    assert cells(ladder_samples.diary(), "cosine")[4].endswith("to third-block")
    assert cells(ladder_samples.broken(), "dropout")[2] == "2 diverged, 1 failed"
    assert "failed in both seeds" in tables.markdown(ladder_samples.nothing())


@pytest.mark.parametrize(
    "make", [ladder_samples.diary, ladder_samples.sweep, ladder_samples.broken, ladder_samples.hostile]
)
def test_every_row_of_markdown_has_all_columns_and_every_cell_its_lines(make: Callable[[], LadderRecord]) -> None:
    record = make()
    table = [line for line in tables.markdown(record).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(record.rungs)
    for line in table:
        parts = re.split(r"(?<!\\)\|", line)[1:-1]
        assert len(parts) == 6
        assert len({part.count("<br>") for part in parts[1:4]}) == 1


def test_markdown_has_no_live_html() -> None:
    text = tables.markdown(ladder_samples.hostile())
    assert "<script" not in text
    assert r"&lt;script&gt;alert(1)&lt;/script&gt;\|\$x" in text


# --- sentences ----------------------------------------------------------------------------------------


def test_the_headline_counts_what_is_real_and_what_was_claimed() -> None:
    record = ladder_samples.diary()
    assert words.headline(record) == (
        "Best on validation: cosine, 86.33 % (95 % interval 85.82 to 86.84 %, 3 seeds, sd pooled), "
        "+15.12 points against the first rung, first-net. third-block cannot be told apart from it. "
        "Differences: 5 real gains, 1 real loss, 1 undecided. "
        "Claims: 3 within 2 points, 1 better, 1 worse. Parameter counts: 1 equal."
    )
    assert words.headline(ladder_samples.nothing()) == "No cell of this ladder has finished."
    only = replace(record, rungs=record.rungs[:1])
    assert words.headline(only).startswith(
        "Best on validation: first-net, 71.21 % (95 % interval 70.15 to 72.28 %, 3 seeds, sd pooled)."
    )
    unvalidated = ladder_samples.diary(validated=False)
    assert words.headline(unvalidated).startswith("Best on test: ")


def test_findings_are_counted_over_seeds_warnings_first() -> None:
    found = words.found(ladder_samples.diary().rungs[7])
    assert [(finding.level, many) for finding, many in found] == [("warning", 1), ("note", 1), ("good", 2)]


def test_a_tolerance_is_told() -> None:
    answer = replace(ladder_samples.answer("test_accuracy", 0.8, 0.8), tolerance=0.005)
    assert words.claim_words(answer) == "80.00 ± 0.5 %"
