"""What `rungs compare` prints: the verdict, then a table of the candidates; or the record as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace
from rich.markup import escape

from rungs.cli.terminal import out
from rungs.run.record import to_json
from rungs.study.comparison.record import CompareRecord, Flip, Flips


def compare(runs: Sequence[str], folder: Path | None, *, as_json: bool) -> None:
    """Compare runs and print what was found.

    Args:
        runs: Run folders, or FOLDER:RUNG.
        folder: Where record and report go; None for the usual place.
        as_json: Print the record, without its pictures, and nothing else.

    Raises:
        UserError: See `rungs.study.comparison.compare.compare`.
    """
    from rungs.study.comparison import candidates
    from rungs.study.comparison import compare as comparing
    from rungs.study.comparison import tables as compare_tables
    from rungs.study.comparison.record import CompareDir
    from rungs.study.folders import require_runs

    require_runs(runs)
    place = folder or comparing.default_folder(candidates.gather(runs))
    record = comparing.compare(*runs, folder=place)
    if as_json:
        sys.stdout.buffer.write(to_json(_plain(record)))
        return
    for pair in record.pairs:
        out.print(
            f"[bold]{pair.verdict.upper()}[/] {escape(' '.join((pair.words, *pair.more)))}",
            soft_wrap=not sys.stdout.isatty(),
        )
    for table in compare_tables.tables(record, out.width):
        out.print(table)
    for sentence in (*compare_tables.remarks(record), *record.warnings):
        out.print(escape(sentence), soft_wrap=not sys.stdout.isatty())
    out.print(f"report: {CompareDir(place).report}", soft_wrap=True)


def _plain(record: CompareRecord) -> CompareRecord:
    """Return a record without its pictures."""

    def bare(flips: tuple[Flip, ...]) -> tuple[Flip, ...]:
        return tuple(replace(flip, picture="") for flip in flips)

    def emptied(flips: Flips | None) -> Flips | None:
        return flips and replace(flips, newly_right=bare(flips.newly_right), newly_wrong=bare(flips.newly_wrong))

    return replace(record, pairs=tuple(replace(pair, flips=emptied(pair.flips)) for pair in record.pairs))
