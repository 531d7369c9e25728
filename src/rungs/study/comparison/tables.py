"""Tables and sentences of a comparison, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.run.record import Estimate
from rungs.study.comparison.record import Candidate, CompareRecord, Pair, PartResult
from rungs.study.comparison.words import rounded

ON_TEST = (
    "Choosing by this comparison means selecting on the test set: the score of the choice is then optimistic. Choose "
    "on validation, and keep the test set for the final evaluation (Dwork et al. 2015, doi:10.1126/science.aaa9375)."
)


ON_FOLDS = (
    "Choosing by this comparison makes the accuracy of the choice slightly optimistic: the same images choose and "
    "judge. A test set that no fold has seen would not be."
)


def of_folds(record: CompareRecord) -> bool:
    """Return whether cross-validations are compared."""
    return any(part.folds for pair in record.pairs for part in pair.parts)


class Line(NamedTuple):
    """A line of the table of candidates: what it is, and a value with its interval for each candidate."""

    name: str
    cells: tuple[tuple[str, str], ...]


def lines(record: CompareRecord) -> list[Line]:
    """Return all that was measured of the candidates: accuracy, loss, calibration, cost."""
    rows = [
        *(_line(record, metric) for metric in SCORES),
        Line("calibration error", tuple(map(_calibration, record.candidates))),
        *(_line(record, metric) for metric in COSTS),
        Line("compute per image", tuple((fmt.flops(one.flops), "forward") for one in record.candidates)),
        Line("parameters", tuple((fmt.count(one.parameters), one.model) for one in record.candidates)),
    ]
    return [row for row in rows if any(value != fmt.NOTHING for value, _ in row.cells)]


SCORES = (
    "test_accuracy",
    "test_tta_accuracy",
    "test_loss",
    "validation_accuracy",
    "validation_loss",
    "train_accuracy",
)
COSTS = ("epochs", "train_flops", "train_s", "peak_memory_bytes")


def _line(record: CompareRecord, metric: str) -> Line:
    unit = "fold" if of_folds(record) else "seed"
    cells = tuple(_cell(metric, one.estimates.get(metric), unit) for one in record.candidates)
    return Line(report_metric.metric_words(metric), cells)


def _cell(metric: str, found: Estimate | None, unit: str) -> tuple[str, str]:
    if found is None:
        return fmt.NOTHING, ""
    seeds = f"mean of {found.n} {unit}s" if found.n > 1 else ""
    same = metric in COSTS and (found.sd or 0.0) < 1e-9  # for each seed
    interval = "" if same else report_metric.bounds(metric, found.low, found.high)
    return report_metric.value(metric, found.mean), interval or seeds


def _calibration(one: Candidate) -> tuple[str, str]:
    found = one.calibration
    if found is None:
        return fmt.NOTHING, ""
    return fmt.percent(found.error), fmt.interval(found.interval) if found.interval else ""


def tables(record: CompareRecord, width: int) -> Iterator[Table]:
    """Yield the tables for the terminal: the candidates, and the fields of their recipes that differ."""
    measured = Table(title="measured", title_justify="left")
    measured.add_column("")
    for one in record.candidates:
        measured.add_column(
            Text(f"{one.name}{f' ({len(one.runs)} runs)' if len(one.runs) > 1 else ''}"), justify="right"
        )
    for row in lines(record):
        measured.add_row(row.name, *(Text(f"{value}\n{more}".rstrip()) for value, more in row.cells))
    yield measured
    rows = (*record.fields, *record.others)
    if rows:
        differing = Table(title="what differs", title_justify="left")
        differing.add_column("")
        for one in record.candidates:
            differing.add_column(Text(one.name), overflow="fold", max_width=max(12, (width - 30) // 2))
        for difference in rows:
            differing.add_row(Text(difference.name), *map(Text, difference.values))
        yield differing


def remarks(record: CompareRecord) -> Iterator[str]:
    """Yield the caveats to the verdicts."""
    for pair in record.pairs:
        name = f"{pair.second}: " if len(record.pairs) > 1 else ""
        for sentence in (*(pair.not_comparable if pair.parts else ()), *pair.notes):
            yield f"{name}{sentence}"
        if validated := on_validation(pair):
            yield f"{name}{validated}"
    if record.uses_test:
        yield ON_FOLDS if of_folds(record) else ON_TEST


def on_validation(pair: Pair) -> str:
    """Return a sentence on the result on validation, where test decides; "" without one."""
    part = next((one for one in pair.parts[1:] if one.part == "validation"), None)
    if part is None:
        return ""
    metric = f"{part.part}_accuracy"
    apart = "the same" if (part.p_holm < 0.05) == (pair.verdict in ("better", "worse")) else "not the same"
    interval = report_metric.difference_bounds(metric, *part.interval)
    points = f"{report_metric.difference(metric, part.difference)} ({interval})"
    return f"On validation: {points} on {fmt.count(part.images)} images; the verdict there would be {apart}."


def needed_rows(part: PartResult) -> list[tuple[str, str]]:
    """Return how many images or seeds would decide it, as rows of a table."""
    needed, much = part.needed, "more than is feasible"
    return [
        ("images, for these two nets", fmt.count(rounded(needed.images)) if needed.images else much),
        (
            "images, for the recipes",
            fmt.count(rounded(needed.images_for_recipes))
            if needed.images_for_recipes
            else "none: seeds alone may cause such a difference",
        ),
        (
            "seeds of each, on these images",
            fmt.count(needed.seeds) if needed.seeds else "none: the choice of images alone may cause such a difference",
        ),
    ]
