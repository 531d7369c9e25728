"""The page of a comparison: one HTML file that needs no network, and its figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungs.report import format as fmt
from rungs.report.page import Drawing, lay_out
from rungs.study.comparison import figures, tables, words
from rungs.study.comparison.record import CompareDir, CompareRecord


def write(record: CompareRecord, folder: CompareDir) -> Path:
    """Write the page of a comparison from its record alone, and return its path."""
    facts: dict[str, Any] = {
        "record": record,
        "tables": tables,
        "words": words,
        "lines": tables.lines(record),
        "part": part(record),
        "judged": sum(bool(pair.parts) for pair in record.pairs),
        "several": any(len(one.runs) > 1 for one in record.candidates),
        "names": [one.name for one in record.candidates],
    }
    return lay_out("rungs.study.comparison/page.html", facts, _drawn(record), folder.report)


def part(record: CompareRecord) -> str:
    """Return the part that decides: test where any pair is judged on it."""
    judged = {pair.judged_on for pair in record.pairs}
    return "validation" if "test" not in judged and "validation" in judged else "test"


def _drawn(record: CompareRecord) -> Iterator[Drawing]:
    """Yield the figures."""
    names = fmt.many(len(record.candidates), "candidate")
    verdicts = "; ".join(f"{pair.second}: {pair.shown}" for pair in record.pairs)
    yield Drawing("differences", f"Accuracy differences with intervals. {verdicts}", figures.differences(record))
    yield Drawing("curves", f"Loss and accuracy of {names} over the epochs", figures.curves(record))
    alt = (
        f"Accuracy of {names} against training compute, training time and compute per image; the table has the numbers"
    )
    yield Drawing("pareto", alt, figures.pareto(record, part(record)))
    alt = f"Accuracy over confidence of each of {names}; the table has the calibration errors"
    yield Drawing("calibration", alt, figures.calibration(record))
    for i, pair in enumerate(record.pairs, 1):
        if pair.parts and pair.parts[0].classes:
            alt = f"Images gained and lost by {pair.second} against {pair.first}, by class; the table has the numbers"
            yield Drawing(f"classes-{i}", alt, figures.classes(pair))
