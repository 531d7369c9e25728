"""Merge climbs of one ladder that were trained in two places: `rungs.merge`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from rungs.errors import UserError
from rungs.recipe.flags import door
from rungs.run.folder import TEMPORARY, RunDir, write_whole
from rungs.run.record import from_json, to_json
from rungs.study.ladder import page
from rungs.study.ladder.changes import note_comparisons
from rungs.study.ladder.join import in_both, join
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
        earlier, count = self.records[0], 0
        for i, record in enumerate(self.records[1:], 1):
            count += in_both(earlier, record)
            earlier = join(earlier, record, self.sources[i])
        return count


def prepare(options: MergeOptions) -> MergePlan:
    """Read the records and join them; nothing is written.

    Raises:
        UserError: Fewer than two; a missing or damaged record; records of different studies, recipes or data; a folder
            that is not empty.
    """
    sources = tuple(map(Path, options.climbs))
    if len(sources) < 2:
        raise UserError("one climb alone", where="rungs merge", do="give two or more: rungs merge A B --out C")
    records = tuple(map(_read, sources))
    folder = LadderDir(options.folder)
    folder.require_free()
    return MergePlan(sources, records, _merged(sources, records), folder)


def _read(source: Path) -> LadderRecord:
    """Read the record of a climb's folder, or of a file: a copy of one."""
    if source.is_file():
        return from_json(source.read_bytes(), LadderRecord, source)
    return LadderDir(source).read_record()


def _merged(sources: Sequence[Path], records: Sequence[LadderRecord]) -> LadderRecord:
    first, *others = zip(sources, records, strict=True)
    return reduce(lambda known, other: join(known, other[1], other[0]), others, first[1])


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
        note_comparisons(plan.merged, folder)
        page.write(plan.merged, folder)
    return plan.merged


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
