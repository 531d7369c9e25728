"""Climb a ladder: `rungs.climb`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rungs.errors import UserError
from rungs.run import looks
from rungs.run.folder import write_whole
from rungs.run.record import to_json
from rungs.study import processes
from rungs.study.ladder import page as ladder_html
from rungs.study.ladder import workers as study
from rungs.study.ladder.options import Climb, prepare_climb
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.ladder.summary import summarise
from rungs.study.processes import require_startable
from rungs.training.interrupt import Interrupts


def climb(
    ladder: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seeds: int | None = None,
    only: Sequence[str] = (),
    epochs: int | None = None,
    images: float | None = None,
    jobs: int | None = None,
    pack: int | None = None,
    folder: str | Path | None = None,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    tell: study.Tell = lambda outcome, done, of: None,
) -> LadderRecord:
    """Train every cell of a ladder that is not trained yet, write its record and its report, and return the record.

    Args:
        ladder: A shipped ladder's name or the path of a TOML file.
        overrides: Changed fields of the base recipe, below all rungs.
        data: Another source.
        seeds: How many, from 0; by default the ladder's own number.
        only: Names of rungs; all by default.
        epochs: Of the base recipe; other rungs and all schedules change in proportion.
        images: Share of the training images of every rung, above 0, at most 1.
        jobs: Cells (or packs) at once; by default one on a GPU, else as many as there are cores, at most 4;
            0 trains one after the other in this process, for a debugger.
        pack: Seeds of a rung that one process trains as one net of nets, where they can be packed; by default 1.
        folder: Where; by default `climbs/NAME`, with a digest behind it where the study is not the ladder file's.
        skip_unreadable: Leave unreadable files out.
        tensorboard: Also write events into each run folder.
        tell: Called with each outcome.

    Raises:
        UserError: Anything that the caller can mend.
        rungs.training.interrupt.Interrupted: SIGINT or SIGTERM; workers keep what they have, the same call goes on.
    """
    options = {"data": data, "seeds": seeds, "only": only, "epochs": epochs, "images": images, "folder": folder}
    plan = prepare_climb(ladder, overrides, **options)  # type: ignore[arg-type]
    jobs = processes.default_jobs() if jobs is None else jobs
    pack = 1 if pack is None else pack
    require_startable(("--jobs", jobs, 0, processes.JOBS_ALLOWED), ("--pack", pack, 1, study.PACK_ALLOWED))
    plan.folder.prepare()
    with plan.folder.locked():
        _require_same_study(plan)
        with Interrupts().heeded():
            outcomes = study.climb(
                plan.cells,
                plan.folder.path,
                jobs=jobs,
                pack=pack,
                skip_unreadable=skip_unreadable,
                tensorboard=tensorboard,
                tell=tell,
            )
        outcomes += study.trained_before(plan.others, plan.folder.path)
        record = summarise(plan.ladder, outcomes, command=plan.command, reduced=plan.reduced)
        write_whole(plan.folder.record, to_json(record))
        _note_comparisons(record, plan.folder)
        ladder_html.write(record, plan.folder.path)
    return record


def _note_comparisons(record: LadderRecord, folder: LadderDir) -> None:
    """Log the rungs that were compared by their test scores, once each."""
    known = {look.purpose for look in looks.read(folder.looks)}
    for rung in record.rungs:
        found = rung.difference
        if found is not None and found.metric.startswith("test"):
            purpose = f"{rung.name} against {found.against}, whose validation images are others; {found.n} seeds"
            images = sum(record.data.counts.get("test", ()))
            if purpose not in known:
                looks.note(folder.looks, "compared", purpose, images, record.data.hashes.get("test", ""))


def _require_same_study(plan: Climb) -> None:
    """Refuse to write over the record of another study."""
    if not plan.folder.record.is_file():
        return
    before = plan.folder.read_record()
    if (before.name, before.reduced) != (plan.ladder.name, plan.reduced):
        what = f"this folder holds another study, made by: {before.command}"
        raise UserError(what, where=plan.folder.path, do="give another --out")
