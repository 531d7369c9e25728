"""A ladder as tables: for the terminal, and as Markdown for a pull request or a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rungs.recipe.shorten import deviations
from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.run.record import Estimate
from rungs.study.ladder import origins as provenance
from rungs.study.ladder import words as ladder_words
from rungs.study.ladder.record import Answer, LadderRecord, RungRecord

PARTS = ("validation_accuracy", "test_accuracy", "test_tta_accuracy")

SHORT = {
    "validation_accuracy": "val.",
    "test_accuracy": "test",
    "test_tta_accuracy": "test TTA",
    "train_accuracy": "train",
    "highest_test_accuracy": "max test",
    "highest_train_accuracy": "max train",
    "validation_loss": "val. loss",
    "parameters": "params",
}
"""Short names of metrics, for narrow columns."""

CLAIM_SIGNS = {
    "within": "✓", "better": "↑", "worse": "↓", "cannot tell": "?", "not comparable": "·", "equal": "=",
    "different": "≠", "reproduced": "✓",
}  # fmt: skip

FOLDED = 18
"""Width to which rung names are folded before columns other than times are dropped."""

FEWEST_SEEDS = 3
"""With fewer, half of an interval says little: Wilson's for one seed is asymmetric, Student's t for two very wide."""

Column = dict[str, list[str]]


def summary(record: LadderRecord, width: int = 100) -> Table:
    """Return the table printed after a climb: a row for each rung, at most `width` characters wide where possible.

    A narrow terminal gets signs instead of verdicts, then fewer columns; the caption explains them.
    """
    columns, signs = _columns(record, words=True), False
    if not _fits(columns, width):
        columns, signs = _columns(record, words=False), True
    dropped = []
    for name, folded in (("s/step", False), ("steps", False), ("test, %", True)):
        if not _fits(columns, width, folded) and len(columns) > 2 and name in columns:
            del columns[name]
            dropped.append(name.removesuffix(", %"))
    table = _table(columns)
    table.title = Text(f"{record.name}; claimed: {record.headline}" if record.headline else record.name)
    table.caption = _caption(record, signs, dropped, tuple(columns))
    table.min_width = min(width, 78)
    return table


def _table(columns: Column) -> Table:
    """Return the columns as a table in which only the names of the rungs may be folded."""
    table = Table(title_justify="left", caption_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        left = name in ("rung", "claimed", "ended") or name.startswith("against")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "rung", overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def _fits(columns: Column, width: int, folded: bool = False) -> bool:
    """Return whether a table of these columns is no wider than `width`, perhaps with folded names."""
    table = _table(columns)
    if folded:
        table.columns[0].max_width = FOLDED
    return Console(width=10 * width).measure(table).maximum <= width


def _columns(record: LadderRecord, *, words: bool) -> Column:
    """Return the cells of every column that is not empty, by its head."""
    heads: dict[str, Callable[[RungRecord], str]] = {"rung": lambda rung: rung.name}
    for metric in PARTS:
        head = f"{metric.removesuffix('_accuracy').replace('_tta', ' TTA')}, %"
        heads[head] = lambda rung, metric=metric: _mean(rung.estimates.get(metric))  # type: ignore[misc]
    heads["against"] = lambda rung: _difference(record, rung, words=words)
    heads["claimed"] = lambda rung: "\n".join(_short_claim(answer, words=words) for answer in rung.answers)
    heads["steps"] = lambda rung: _steps(rung)
    heads["s/step"] = lambda rung: _number(ladder_words.mean(rung, "step_s"))
    columns = {head: [make(rung) for rung in record.rungs] for head, make in heads.items()}
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    if not any(ladder_words.finished(rung) for rung in record.rungs):
        columns["ended"] = [ladder_words.how_ended(rung, ladder_words.unit(record)) for rung in record.rungs]
        return columns
    measured = next(head for head in ("validation, %", "test, %", "rung") if head in columns)
    cells = zip(columns[measured], record.rungs, strict=True)
    columns[measured] = [cell or _short_ending(rung) for cell, rung in cells]
    if "against" in columns:
        name = f"against {ladder_words.compared_with(record)}" if words else "gain"
        columns = {name if head == "against" else head: column for head, column in columns.items()}
    return columns


def _short_ending(rung: RungRecord) -> str:
    statuses = {cell.status for cell in rung.cells}
    return statuses.pop() if len(statuses) == 1 else "not finished"


def _caption(record: LadderRecord, signs: bool, dropped: list[str], shown: tuple[str, ...]) -> Text:
    lines = [_seeds(record), *(["test: the images that each fold leaves out; they judge"] * bool(record.folds))]
    if missing := provenance.missing_words(record):
        lines.append(f"missing: {missing}")
    lines += _origins(record)
    if differs := deviations(record.reduced):
        claims = " Claims are not comparable." if ladder_words.claims(record) else ""
        lines.append(f"Differs from the ladder's file: {'; '.join(differs)}.{claims}")
    lines += dict.fromkeys(filter(None, (ladder_words.no_comparison(record, rung) for rung in record.rungs)))
    if diverged := _diverged(record):
        lines.append(f"diverged: {diverged}")
    if any(rung.difference and ladder_words.on_test(record, rung.difference) for rung in record.rungs):
        lines.append("*: on test, because the rung has different validation images")
    if signs and any(rung.difference for rung in record.rungs):
        meaning = ", ".join(f"{sign} {verdict}" for verdict, sign in ladder_words.SIGNS.items())
        lines.append(f"gain: points against {ladder_words.compared_with(record)}; {meaning}")
    claimed = {answer.verdict for rung in record.rungs for answer in rung.answers}
    if signs and claimed:
        lines.append("claimed: " + ", ".join(f"{sign} {one}" for one, sign in CLAIM_SIGNS.items() if one in claimed))
    later = sorted({d.next_look for rung in record.rungs if (d := rung.difference) and d.next_look is not None})
    if later:
        lines.append(f"undecided: look again with --seeds {' or '.join(map(str, later))}")
    if "steps" in shown:
        lines.append(f"steps: until within 2 % of the smallest {ladder_words.convergence_loss(record)}")
    if dropped:
        lines.append(f"no room for {', '.join(dropped)}")
    return Text("\n".join(lines))


def _origins(record: LadderRecord) -> list[str]:
    """Return where the cells were trained, and the differences across origins, where there are several."""
    lines = list(provenance.places(record))
    if len(lines) < 2:
        return []
    across = {rung.name: provenance.across(record, rung) for rung in record.rungs}
    named = [f"{name} ({marks})" for name, marks in across.items() if marks]
    return [*lines, *([f"compared across these: {', '.join(named)}"] if named else [])]


def _seeds(record: LadderRecord) -> str:
    """Return the number of seeds, and what ± means where it is shown."""
    n, bars, _ = ladder_words.seeds_note(record).partition("; bars: ")
    if not bars:
        return n
    counts = [e.n for rung in record.rungs for key, e in rung.estimates.items() if key in PARTS]
    if max(counts) < FEWEST_SEEDS:
        return f"{n}; intervals in the report"
    units = f"{ladder_words.unit(record)}s"
    some = "" if min(counts) >= FEWEST_SEEDS else f", with at least {FEWEST_SEEDS} {units}"
    t = "Student's t, corrected for shared training images" if record.folds else "Student's t"
    return f"{n}; ±: half of the 95 % interval of the mean over {units} ({t}){some}"


def _diverged(record: LadderRecord) -> str:
    """Return where training diverged: "rate-0.3 (3 of 3 seeds)"."""
    counts = {rung.name: sum(cell.status == "diverged" for cell in rung.cells) for rung in record.rungs}
    of = {rung.name: fmt.many(len(rung.cells), ladder_words.unit(record)) for rung in record.rungs}
    return ", ".join(f"{name} ({n} of {of[name]})" for name, n in counts.items() if n)


def _mean(estimate: Estimate | None) -> str:
    """Return "82.94 ± 0.31", for few seeds the mean alone; "" without an estimate."""
    if estimate is None:
        return ""
    half = ladder_words.half(estimate) if estimate.n >= FEWEST_SEEDS else None
    return f"{100 * estimate.mean:.2f}" + ("" if half is None else f" ± {100 * half:.2f}")


def _difference(record: LadderRecord, rung: RungRecord, *, words: bool) -> str:
    difference = rung.difference
    if difference is None:
        return ""
    gain = f"{report_metric.signed(difference.metric, difference.mean)}{'*' * ladder_words.on_test(record, difference)}"
    if not words:
        return f"{ladder_words.SIGNS[difference.verdict]} {gain:>6}"
    other = ladder_words.elsewhere(record, record.rungs.index(rung))
    return f"{gain:>6} {difference.verdict}{f' ({other})' if other else ''}"


def _short_claim(answer: Answer, *, words: bool) -> str:
    change = answer.kind == "change"
    value = report_metric.signed if change else report_metric.value
    claimed = value(answer.metric, answer.claimed).removesuffix(" %")
    verdict = answer.verdict if words else CLAIM_SIGNS[answer.verdict]
    return f"{SHORT.get(answer.metric, answer.metric)} {'change ' * change}{claimed} {verdict}"


def _steps(rung: RungRecord) -> str:
    steps = ladder_words.mean(rung, "convergence_steps")
    return "" if steps is None else fmt.count(round(steps))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:#.3g}".removesuffix(".")


# --- Markdown -----------------------------------------------------------------------------------------


def markdown(record: LadderRecord) -> str:
    """Return a GitHub table: claimed, measured and verdicts of each rung; a claim has a line of its own in a cell."""
    below = "to the rung before" if record.builds_on == "previous" else "to the first rung"
    heads = ("rung", "claimed", "measured: mean, 95 % interval, n", "claim", f"difference {below}", "verdict")
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for i, rung in enumerate(record.rungs):
        cells = (_plain(rung.name), *_lines(record, rung), *_difference_cells(record, rung, i))
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{_plain(ladder_words.seeds_note(record).replace('bars: ', ''))}."]
    if differs := deviations(record.reduced):
        so = ", so claims are not comparable" if ladder_words.claims(record) else ""
        lines.append(f"Differs from the ladder's file{so}: {_plain('; '.join(differs))}.")
    return "\n".join(lines) + "\n"


def _lines(record: LadderRecord, rung: RungRecord) -> tuple[str, str, str]:
    """Return the cells claimed, measured and verdict, a line for each claim and each unclaimed accuracy."""
    claimed = {a.metric for a in rung.answers if a.kind == "value" and a.verdict != "not comparable"}
    rows = [
        (fmt.NOTHING, _measured(metric, rung, None), fmt.NOTHING)
        for metric in PARTS
        if metric in rung.estimates and metric not in claimed
    ]
    for answer in rung.answers:
        claim = f"{ladder_words.claim_metric(answer)} {ladder_words.claim_words(answer)}"
        measured = _measured_change(answer) if answer.kind == "change" else _measured(answer.metric, rung, answer)
        if answer.verdict == "not comparable":  # the number of another study would be read as an answer
            measured = fmt.NOTHING
        rows.append((claim, measured, _claim_cell(answer)))
    if not rung.estimates:
        ended = ladder_words.how_ended(rung, ladder_words.unit(record))
        rows.append((fmt.NOTHING, ended or "not run", fmt.NOTHING))
    first, second, third = zip(*rows, strict=True)
    return "<br>".join(first), "<br>".join(second), "<br>".join(third)


def _measured(metric: str, rung: RungRecord, answer: Answer | None) -> str:
    estimate, words = rung.estimates.get(metric), report_metric.metric_words(metric)
    if estimate is None:
        return f"{words} {report_metric.value(metric, answer.measured if answer else None)}"
    interval = report_metric.bounds(metric, estimate.low, estimate.high)
    measured = f"{words} {report_metric.value(metric, estimate.mean)}"
    return f"{measured}{f' ({interval})' if interval else ''}, n = {estimate.n}"


def _measured_change(answer: Answer) -> str:
    change = fmt.NOTHING if answer.measured is None else report_metric.difference(answer.metric, answer.measured)
    return f"{ladder_words.claim_metric(answer)} {change}, n = {answer.n}"


def _claim_cell(answer: Answer) -> str:
    """Return the verdict on a claim, with the interval that it rests on."""
    if answer.low is None or answer.high is None or answer.verdict == "not comparable":
        return ladder_words.claim_verdict(answer)
    words = report_metric.difference_bounds if answer.kind == "change" else report_metric.between
    return f"{ladder_words.claim_verdict(answer)} ({words(answer.metric, answer.low, answer.high)})"


def _difference_cells(record: LadderRecord, rung: RungRecord, i: int) -> tuple[str, str]:
    difference = rung.difference
    if difference is None:
        return fmt.NOTHING, fmt.NOTHING
    to = "" if difference.against == ladder_words.usual_parent(record, i) else f" to {_plain(difference.against)}"
    to += ", on test" if ladder_words.on_test(record, difference) else ""
    ends = report_metric.difference_bounds(difference.metric, difference.low, difference.high)
    interval = f" ({ends})" if ends else ""
    return f"{report_metric.difference(difference.metric, difference.mean)}{interval}{to}", difference.verdict


def _plain(text: str) -> str:
    """Escape Markdown and HTML, and join lines: a line break would end the table."""
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
