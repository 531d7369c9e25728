"""The page of a range test: one HTML file that needs no network, and its picture as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report.page import Drawing, compact, lay_out
from rungs.study.rates import figures as rates_figures
from rungs.study.rates import tables as rate_tables
from rungs.study.rates import words as rate_words
from rungs.study.rates.record import RateDir, RateRecord

CAPTION = (
    "Left: a net is trained while its rate grows with each step. Grey: the loss of each batch, of each seed; blue: "
    "smoothed, the median of the seeds. Right: every rate that was checked, trained with from the start; points and "
    "bars are means and their 95 % intervals over the seeds (Student's t), small dashes the seeds. The ring is around "
    "the suggested rate; red is the guess, black the recipe's own rate."
)


def write(record: RateRecord, folder: RateDir) -> Path:
    """Write the page of a range test from its record alone, and return its path."""
    verdict = rate_words.verdict(record)
    facts = {
        "record": record,
        "caption": CAPTION,
        "verdict": verdict,
        "words": rate_words.words(record),
        "heads": rate_tables.HEADS,
        "words_at": rate_tables.WORDS,
        "rows": list(rate_tables.rows(record)),
        "best": [check is record.best for check in record.checks],
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    alt = f"{verdict} The table below has the numbers."
    drawing = Drawing("rates", alt, rates_figures.overview(record))
    return lay_out("rungs.study.rates/page.html", facts, [drawing], folder.report)
