"""The page of a bench: one HTML file that needs no network, and its picture as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report.page import Drawing, compact, lay_out
from rungs.run.record import Finding
from rungs.study.bench import figures as bench_figures
from rungs.study.bench import tables as bench_tables
from rungs.study.bench.record import BenchDir, BenchRecord

CAPTION = (
    "Upper left: the phases of a batch. Lower left: the operations of a training step; blue ones multiply. "
    "Upper right: the share of the matrix product's FLOP/s that each batch size reaches, median and quartiles of the "
    "rounds. Lower right: what was reached (points) below what the chip allows (line); a bar stands where the same "
    "operations would be if each ran at its ceiling, one after the other, with nothing kept in a cache."
)


def write(record: BenchRecord, findings: Sequence[Finding], folder: BenchDir) -> Path:
    """Write the page of a bench from its record and what `advise` found in it, and return its path."""
    phases = ", ".join(f"{phase.name} {100 * phase.share:.0f} %" for phase in record.own("training").phases)
    verdict = bench_tables.verdict(record)
    facts = {
        "record": record,
        "findings": findings,
        "caption": CAPTION,
        "verdict": verdict,
        "merits": [(name.strip(), value, more) for name, value, more in bench_tables.merits(record)],
        "phases": list(bench_tables.phase_rows(record)),
        "batches": list(bench_tables.batch_rows(record)),
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    alt = f"Of a training step: {phases}. {verdict} The tables below have the numbers."
    drawing = Drawing("bench", alt, bench_figures.overview(record))
    return lay_out("rungs.study.bench/page.html", facts, [drawing], folder.report)
