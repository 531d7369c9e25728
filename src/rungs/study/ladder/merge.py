"""Merge climbs of one ladder that were trained in two places: `rungs.merge`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rungs.errors import UserError
from rungs.recipe.flags import door
from rungs.run.folder import TEMPORARY, RunDir, write_whole
from rungs.run.record import from_json, to_json
from rungs.study.ladder import page
from rungs.study.ladder.changes import note_comparisons
from rungs.study.ladder.join import join
from rungs.study.ladder.options import MergeOptions
from rungs.study.ladder.record import CellRecord, LadderDir, LadderRecord


@dataclass(frozen=True)
class MergePlan:
    """What is merged, and into which folder."""

    sources: tuple[Path, ...]
    records: tuple[LadderRecord, ...]
    merged: LadderRecord
    folder: LadderDir

    def source_of(self, rung: str, cell: CellRecord) -> Path:
        """Return the source of a cell of the merged record."""
        return next(
            source
            for source, record in zip(self.sources, self.records, strict=True)
            for one in record.rungs
            for known in one.cells
            if (one.name, known.seed, known.status, known.values) == (rung, cell.seed, cell.status, cell.values)
        )

    @property
    def left_out(self) -> int:
        """Number of cells that an earlier source has, too."""
        ended = [
            (rung.name, cell.seed)
            for record in self.records
            for rung in record.rungs
            for cell in rung.cells
            if cell.has_ended
        ]
        return len(ended) - len(set(ended))


def prepare(options: MergeOptions) -> MergePlan:
    """Read the records and join them; nothing is written.

    Raises:
        UserError: Fewer than two; a missing or damaged record; records of different studies, recipes or data; a folder
            that is not empty.
    """
    sources = tuple(map(Path, options.climbs))
    if len(sources) < 2:
        raise UserError("only one climb was given", where="rungs merge", do="give two or more: rungs merge A B --out C")
    records = tuple(map(_read, sources))
    folder = LadderDir(options.folder)
    folder.require_free()
    return MergePlan(sources, records, join(records, sources), folder)


def _read(source: Path) -> LadderRecord:
    """Read the record of a climb's folder, or of a file: a copy of one."""
    if source.is_file():
        return from_json(source.read_bytes(), LadderRecord, source)
    return LadderDir(source).read_record()


def run(plan: MergePlan) -> LadderRecord:
    """Copy the runs of all cells whose folders are there, write the joined record and its report, and return it.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = plan.folder
    folder.prepare()
    with folder.locked():
        for rung in plan.merged.rungs:
            for cell in rung.cells:
                run = plan.source_of(rung.name, cell) / cell.folder
                if RunDir(run).record.is_file():
                    _copy(run, folder.path / cell.folder)
        write_whole(folder.record, to_json(plan.merged))
        _copy_looks(plan)
        note_comparisons(plan.merged, folder)
        page.write(plan.merged, folder)
    return plan.merged


def _copy_looks(plan: MergePlan) -> None:
    """Copy the comparisons by test scores that the climbs have logged."""
    logs = [LadderDir(source).looks for source in plan.sources]
    lines = dict.fromkeys(line for log in logs if log.is_file() for line in log.read_bytes().splitlines() if line)
    if lines:
        write_whole(plan.folder.looks, b"".join(line + b"\n" for line in lines))


def _copy(source: Path, target: Path) -> None:
    """Copy a run's folder so that it appears whole or not at all."""
    temporary = target.with_name(f".{target.name}{TEMPORARY}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(source, temporary, ignore=shutil.ignore_patterns(".lock"))
        temporary.rename(target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        what = f"cannot be copied: {error.strerror or error}"
        raise UserError(what, where=source, do="free disk space or give another --out") from error


merge = door("merge", MergeOptions, prepare, run)
