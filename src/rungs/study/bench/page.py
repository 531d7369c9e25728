"""The page of a bench: one HTML file that needs no network, and its figure as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report.page import Drawing, compact, lay_out
from rungs.run.record import Finding
from rungs.study.bench import figures, tables
from rungs.study.bench.record import BenchDir, BenchRecord

CAPTION = (
    "Upper left: the phases of a batch. Lower left: the operations of a training step; blue: convolutions and matrix "
    "products. Upper right: the share of the matrix product's FLOP/s for each batch size, median and quartiles of the "
    "rounds. Lower right: the measured speed (points) below the roofline (line); a bar marks the speed if each "
    "operation ran at its ceiling, one after the other, without caching in between."
)
LEVERS = (
    " Bottom: the speed of a training step the recipe's way, divided by its speed the other way, median and quartiles "
    "of the rounds; right of 1.0 the recipe's way is the faster one, grey bars show no clear difference."
)


def write(record: BenchRecord, findings: Sequence[Finding], folder: BenchDir) -> Path:
    """Write the page of a bench from its record and the findings of `advise`, and return its path."""
    phases = ", ".join(f"{phase.name} {100 * phase.share:.0f} %" for phase in record.own("training").phases)
    verdict = tables.verdict(record)
    facts = {
        "record": record,
        "findings": findings,
        "caption": CAPTION + (LEVERS if record.levers else ""),
        "verdict": verdict,
        "merits": [(name.strip(), value, more) for name, value, more in tables.merits(record)],
        "phases": list(tables.phase_rows(record)),
        "batches": list(tables.batch_rows(record)),
        "levers": list(tables.lever_rows(record)),
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    alt = f"Of a training step: {phases}. {verdict} The tables below have the numbers."
    drawing = Drawing("bench", alt, figures.overview(record))
    return lay_out("rungs.study.bench/page.html", facts, [drawing], folder.report)
