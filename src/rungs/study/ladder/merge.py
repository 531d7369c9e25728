"""Merge climbs of one ladder that were trained in two places: `rungs.merge`."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.flags import door
from rungs.run.folder import TEMPORARY, RunDir, write_whole
from rungs.run.record import from_json, to_json
from rungs.study.ladder import page
from rungs.study.ladder.changes import note_comparisons
from rungs.study.ladder.join import join
from rungs.study.ladder.options import MergeOptions
from rungs.study.ladder.origins import missing
from rungs.study.ladder.record import CellRecord, LadderDir, LadderRecord
from rungs.study.ladder.words import unit as unit_of


@dataclass(frozen=True)
class MergePlan:
    """What is merged, and into which folder."""

    sources: tuple[Path, ...]
    records: tuple[LadderRecord, ...]
    merged: LadderRecord
    folder: LadderDir

    def run_of(self, rung: str, cell: CellRecord) -> Path | None:
        """Return the folder of the run of a cell of the merged record; None where only its record was given."""
        for source, record in zip(self.sources, self.records, strict=True):
            known = [one for other in record.rungs if other.name == rung for one in other.cells]
            same = any((one.seed, one.status, one.values) == (cell.seed, cell.status, cell.values) for one in known)
            if same and RunDir(source / cell.folder).record.is_file():
                return source / cell.folder
        return None

    @property
    def begun(self) -> list[Path]:
        """The folders of runs that were begun and have not ended in any of the climbs."""
        ended = {cell.folder for rung in self.merged.rungs for cell in rung.cells if cell.has_ended}
        unit = unit_of(self.merged)
        names = tuple(f"{rung.name}-{unit}" for rung in self.merged.planned)
        found = {
            path.name: path
            for source in reversed(self.sources)
            for path in sorted(source.glob(f"*-{unit}*"))
            if path.name.startswith(names) and path.name not in ended and RunDir(path).holds_run()
        }
        return list(found.values())

    @property
    def to_go_on(self) -> str:
        """The command that trains what is missing; "" where nothing is."""
        if not missing(self.merged):
            return ""
        ladder = shlex.split(self.records[0].command)[2]
        seeds = {rung.seeds for rung in self.merged.planned}
        same = f" --seeds {seeds.pop()}" if len(seeds) == 1 and not self.merged.folds else ""
        return f"rungs climb {shlex.quote(ladder)}{same} --out {shlex.quote(str(self.folder.path))}"

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
    again = len({path.resolve() for path in sources}) < len(sources)
    if len(sources) < 2 or again:
        what = "the same climb was given twice" if again else "fewer than two climbs were given"
        raise UserError(what, where="rungs merge", do="give two or more: rungs merge A B --out C")
    records = tuple(map(_read, sources))
    folder = LadderDir(options.folder)
    folder.require_free()
    return MergePlan(sources, records, join(records, sources), folder)


def _read(source: Path) -> LadderRecord:
    """Read the record of a climb's folder, or of a file: a copy of one."""
    place = LadderDir(source)
    if not source.is_file() and not place.record.is_file():
        if RunDir(source).record.is_file():
            raise UserError("this is the folder of a run", where=source, do="give the folder of its climb")
        if any(RunDir(path).holds_run() for unit in ("seed", "fold") for path in source.glob(f"*-{unit}*")):
            raise UserError("no cell of this climb has ended yet", where=source, do="wait until one has")
    record = from_json(source.read_bytes(), LadderRecord, source) if source.is_file() else place.read_record()
    for rung in record.rungs:
        for cell in rung.cells:
            if cell.status == "finished" and not cell.values:
                what = f"{rung.name}, seed {cell.seed} has finished, but has no values: the record is damaged"
                raise UserError(what, where=source, do="climb it again: the record is made from its runs")
    return record


def run(plan: MergePlan) -> LadderRecord:
    """Copy the runs of all cells whose folders are there, write the joined record and its report, and return it.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = plan.folder
    folder.prepare()
    with folder.locked():
        record = _with_runs(plan)
        for path in plan.begun:
            _copy(path, folder.path / path.name)
        write_whole(folder.record, to_json(record))
        _copy_looks(plan)
        note_comparisons(record, folder)
        page.write(record, folder)
    return record


def _with_runs(plan: MergePlan) -> LadderRecord:
    """Copy the run of each cell, and return the record, in which cells without one are marked."""
    rungs = []
    for rung in plan.merged.rungs:
        cells = []
        for cell in rung.cells:
            run = plan.run_of(rung.name, cell)
            if run is not None:
                _copy(run, plan.folder.path / cell.folder)
            cells.append(replace(cell, record_only=run is None))
        rungs.append(replace(rung, cells=tuple(cells)))
    return replace(plan.merged, rungs=tuple(rungs))


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
