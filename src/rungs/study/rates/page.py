"""The page of a range test: one HTML file that asks nothing of any network, and its picture as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from rungs.recipe import toml as recipes
from rungs.report.page import compact, picture, render
from rungs.run.folder import write_whole
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
    """Write `report.html` and `figures/` of a range test from its record; the same record gives the same bytes.

    Args:
        record: What was found.
        folder: Where it lives.

    Returns:
        The path of the report.

    Raises:
        UserError: The folder cannot be written.
    """
    verdict, words = rate_words.verdict(record), rate_words.words(record)
    alt = f"{verdict} The table below has the numbers."
    facts = {
        "record": record,
        "pictures": {"overview": picture(rates_figures.overview(record), alt, folder.figures / "rates")},
        "caption": CAPTION,
        "verdict": verdict,
        "words": words,
        "heads": rate_tables.HEADS,
        "words_at": rate_tables.WORDS,
        "rows": list(rate_tables.rows(record)),
        "best": [check is record.best for check in record.checks],
        "toml": compact(recipes.to_toml(record.recipe)),
    }
    write_whole(folder.report, render("rungs.study.rates", "page.html", facts).encode())
    return folder.report
