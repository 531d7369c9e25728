"""The page of a range test: one HTML file that needs no network, and its figure as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report.page import Drawing, compact, lay_out
from rungs.study.rates import figures, tables, words
from rungs.study.rates.record import RateDir, RateRecord

CAPTION = (
    "Left: training while the learning rate grows with each step. Grey: the loss of each batch, for each seed; blue: "
    "smoothed, median over the seeds. Right: training from scratch with each checked rate; points and bars are means "
    "and 95 % intervals over the seeds (Student's t), small dashes the single seeds. The ring marks the suggested "
    "rate; red is the range test's estimate, black the recipe's own rate."
)


def write(record: RateRecord, folder: RateDir) -> Path:
    """Write the page of a range test from its record alone and return its path."""
    verdict = words.verdict(record)
    facts = {
        "record": record,
        "caption": CAPTION,
        "verdict": verdict,
        "words": words.words(record),
        "heads": tables.HEADS,
        "words_at": tables.WORDS,
        "rows": list(tables.rows(record)),
        "best": [check is record.best for check in record.checks],
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    alt = f"{verdict} The table below has the numbers."
    drawing = Drawing("rates", alt, figures.overview(record))
    return lay_out("rungs.study.rates/page.html", facts, [drawing], folder.report)
