"""Compare runs, from Python: how recipes differ, which is better, and whether the data can decide.

from rungs import compare
record = compare("runs/wide", "runs/narrow")
print(record.pairs[0].verdict, record.pairs[0].words)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.run import looks
from rungs.run.folder import numbered, write_whole
from rungs.run.record import to_json
from rungs.study.comparison import page
from rungs.study.comparison.candidates import Given, Group, read_candidates
from rungs.study.comparison.options import CompareOptions
from rungs.study.comparison.pairs import compare as compare_groups
from rungs.study.comparison.record import CompareDir, CompareRecord


@dataclass(frozen=True)
class ComparePlan:
    """The plan of a comparison."""

    groups: Sequence[Group]
    folder: CompareDir


def prepare(options: CompareOptions) -> ComparePlan:
    """Read the runs and decide where the record goes; nothing is written.

    Raises:
        UserError: No such run, fewer than two candidates, a folder that holds something else.
    """
    groups = read_candidates(options.runs)
    folder = CompareDir(options.folder or default_folder(groups))
    folder.require_free()
    return ComparePlan(groups, folder)


def run(plan: ComparePlan) -> CompareRecord:
    """Compare, log the look for each run, write record and report, and return the record.

    Raises:
        UserError: Runs of different data or classes.
    """
    record = compare_groups(plan.groups, looks.command())
    if record.uses_test:
        record = replace(record, warnings=_note(plan.groups))
    plan.folder.prepare()
    write_whole(plan.folder.record, to_json(record))
    page.write(record, plan.folder)
    return record


def compare(*runs: str | Path, folder: str | Path | None = None) -> CompareRecord:
    """Compare trained runs with the first of them; write record and report, and return the record.

    If test scores are compared, each run's log of looks records it first.

    Args:
        runs: Run folders; "FOLDER:RUNG" is all seeds of a rung of a climb. Runs of one recipe are one candidate.
        folder: Where; by default `comparisons/A-vs-B`, numbered if that holds another comparison.

    Raises:
        UserError: No such run, runs of different data or classes, a folder that holds something else.
    """
    return run(prepare(CompareOptions(runs, folder=folder)))


def default_folder(groups: Sequence[Group]) -> Path:
    """Return `comparisons/A-vs-B`, with the next free number if that holds another comparison."""
    first, second, *more = (re.sub(r"[^\w.-]+", "-", group.name).strip("-.") or "run" for group in groups)
    first_choice = Path("comparisons") / f"{first}-vs-{second}{f'-and-{len(more)}-more' if more else ''}"
    return numbered(first_choice, lambda path: path.exists() and not _is_of(path, groups))


def _is_of(path: Path, groups: Sequence[Group]) -> bool:
    """Return whether a folder holds a comparison of the same runs, which is rewritten."""
    with suppress(UserError):
        there = CompareDir(path).read_record()
        return _places(groups) == [[run.folder for run in one.runs] for one in there.candidates]
    return False


def _places(groups: Sequence[Group]) -> list[list[str]]:
    return [[str(run.folder.path) for run in group.runs] for group in groups]


def _note(groups: Sequence[Group]) -> tuple[str, ...]:
    """Write into the log of each run that its test score was compared; return what could not be written."""
    failed = []
    for group in groups:
        others = ", ".join(other.name for other in groups if other is not group)
        for run in group.runs:
            failed += _note_run(run, f"compared with {others}")
        climbs = {run.climb.looks: run for run in group.runs if run.climb is not None}
        for path, run in climbs.items():
            failed += _note_in(path, run, f"{group.name} compared with {others}")
    return tuple(failed)


def _note_run(run: Given, purpose: str) -> list[str]:
    return _note_in(run.folder.looks, run, purpose)


def _note_in(path: Path, run: Given, purpose: str) -> list[str]:
    test = run.record.test
    if test is None:
        return []
    try:
        looks.note(path, "compared", purpose, test.n, run.record.data.hashes.get("test", ""))
    except UserError as error:
        return [f"This comparison could not be logged in {path} ({error.what}): that log is incomplete."]
    return []
