"""Climb a ladder: `rungs.climb`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from msgspec.structs import replace

from rungs.data import require_known
from rungs.errors import UserError
from rungs.recipe import identity, shorten
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door, echo
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import to_json
from rungs.study.ladder import page, spec
from rungs.study.ladder.changes import kept_verdicts, note_comparisons
from rungs.study.ladder.jobs import Jobs, choose_jobs
from rungs.study.ladder.join import judge_united, united
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.origins import stamped
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import LadderDir, LadderRecord, PlannedRung
from rungs.study.ladder.summary import summarise
from rungs.study.ladder.workers import finished, packs, train_cells, trained_before
from rungs.study.processes import require_startable
from rungs.training.interrupt import Interrupts

MOST_WRITING = 0.05
"""Share of a climb's time that goes into the records written while it runs."""


@dataclass(frozen=True)
class ClimbPlan:
    """The plan of a climb: its cells, its folder, and how it differs from the ladder's file."""

    options: ClimbOptions
    ladder: spec.Ladder
    base: Recipe
    cells: tuple[spec.Cell, ...]  # to train
    others: tuple[spec.Cell, ...]  # of rungs left out by --only: reported if already trained
    folder: LadderDir
    command: str
    reduced: tuple[str, ...]

    @cached_property
    def parallel(self) -> Jobs:
        """How many cells, or packs of cells, are trained in parallel, and why; measured at the first call."""
        if self.options.jobs is not None:
            return Jobs(self.options.jobs)
        left = [cell for cell in self.to_train if finished(cell, self.folder.path) is None]
        return choose_jobs(self.cells[0].recipe, len(packs(left, self.pack)), self.pack) if left else Jobs(1)

    @cached_property
    def to_train(self) -> tuple[spec.Cell, ...]:
        """The cells, without those that were trained elsewhere and of which the folder has the record alone."""
        before = record_before(self)
        known = {cell.folder for rung in before.rungs for cell in rung.cells if cell.record_only} if before else set()
        return tuple(cell for cell in self.cells if cell.folder not in known)

    @property
    def outdated(self) -> dict[str, int]:
        """Rungs of the record before with cells that another recipe trained, and how many: they leave the record."""
        before = record_before(self)
        if before is None:
            return {}
        planned = {cell.folder for cell in self.every_cell(max(before.seeds) + 1)}
        left = {rung.name: sum(cell.folder not in planned for cell in rung.cells) for rung in before.rungs}
        return {name: number for name, number in left.items() if number}

    @property
    def jobs(self) -> int:
        """Number of cells, or packs of cells, trained in parallel."""
        return self.parallel.number

    @property
    def pack(self) -> int:
        """Number of seeds of a rung that one process trains together."""
        return 1 if self.options.pack is None else self.options.pack

    @property
    def planned(self) -> tuple[PlannedRung, ...]:
        """All rungs, trained or not."""
        seeds = spec.seeds_of(self.ladder, self.options.seeds, self.base.data.folds)
        return tuple(
            PlannedRung(name=cell.rung, seeds=seeds[cell.rung], recipe=identity.digest(cell.recipe))
            for cell in self.every_cell(1)
        )

    def every_cell(self, seeds: int | None = None) -> list[spec.Cell]:
        """Return the cells of all rungs, with this number of seeds each; by default those planned."""
        options = self.options
        cells = spec.cells(self.ladder, self.base, seeds=seeds, epochs=options.epochs, images=options.images)
        return [_without_claims(cell) for cell in cells] if self.reduced else cells


def prepare(options: ClimbOptions) -> ClimbPlan:
    """Read a ladder and decide what is trained and where; nothing is written.

    Raises:
        UserError: No such ladder or rung, a wrong field or value.
    """
    return plan_of(options, *spec.load(options.ladder))


def plan_of(options: ClimbOptions, ladder: spec.Ladder, original: Recipe) -> ClimbPlan:
    """Decide what of a ladder is trained and where; nothing is written or read.

    Args:
        options: Of the climb; `ladder` is the file that holds, or will hold, the ladder.
        ladder: The ladder.
        original: Its base recipe, as the file of the ladder names it.

    Raises:
        UserError: No such rung, a wrong field or value.
    """
    for one in options.overrides:
        spec.require_not_reserved(one, f"--set {one}")
    base = recipes.choose(original, options.overrides, data=options.data)
    require_known(base.data.source)
    if base.data.folds is not None and options.seeds is not None:
        do = "leave --seeds out, or data.folds"
        raise UserError("each rung is trained once for each fold, with one seed", where="--seeds", do=do)
    if base.data.folds is not None and not base.evaluation.score_test:
        do = "leave evaluation.score_test out, or data.folds"
        raise UserError("folds are tested, but the test set is to stay closed", where="data.folds", do=do)
    seeds, epochs, images = options.seeds, options.epochs, options.images
    cells = spec.cells(ladder, base, seeds=seeds, only=options.only, epochs=epochs, images=images)
    reduced = shorten.reductions(original, base, options.overrides, epochs=epochs, images=images)
    default = Path("climbs") / (f"{ladder.name}-{shorten.digest(base, epochs, images)}" if reduced else ladder.name)
    if reduced:  # a smaller study has nothing to say about its claims, nor has a cell of it
        cells = [_without_claims(cell) for cell in cells]
    plan = ClimbPlan(
        options=options,
        ladder=ladder,
        base=base,
        cells=tuple(cells),
        others=(),
        folder=LadderDir(options.folder or default),
        command=echo("climb", options),
        reduced=reduced,
    )
    return dataclasses.replace(plan, others=tuple(cell for cell in plan.every_cell(seeds) if cell not in cells))


def _without_claims(cell: spec.Cell) -> spec.Cell:
    return dataclasses.replace(cell, recipe=replace(cell.recipe, claims=()))


def run(plan: ClimbPlan) -> LadderRecord:
    """Train every cell that is not trained yet, write the record and its report, and return the record.

    Raises:
        UserError: No cell finished, or the folder holds another study.
        rungs.training.interrupt.Interrupted: SIGINT or SIGTERM; progress is kept, and the same call resumes.
    """
    require_startable("climb")
    options, place = plan.options, plan.folder
    place.prepare()
    with place.locked():
        so_far = _SoFar(plan, record_before(plan))
        with Interrupts().handled():
            try:
                train_cells(
                    plan.to_train,
                    place.path,
                    jobs=plan.jobs,
                    pack=plan.pack,
                    skip_unreadable=options.skip_unreadable,
                    tensorboard=options.tensorboard,
                    tell=so_far.tell,
                )
            except BaseException:  # a signal, or a fault of ours
                so_far.write()
                raise
        record = so_far.record(looking=True)
        write_whole(place.record, to_json(record))
        note_comparisons(record, place)
        page.write(record, place)
    return record


climb = door("climb", ClimbOptions, prepare, run)


@dataclass
class _SoFar:
    """The cells that have ended so far, and their record, so that a climb that is killed after days leaves one."""

    plan: ClimbPlan
    before: LadderRecord | None
    outcomes: list[Outcome] = field(default_factory=list)
    written: float = 0.0  # when the record was written, by the monotonic clock, and ...
    took_s: float = 0.0  # ... how long that took

    def tell(self, outcome: Outcome, done: int, of: int) -> None:
        """Take a cell that has ended, and write the record unless that would take long for how often it is done."""
        self.outcomes.append(outcome)
        self.plan.options.tell(outcome, done, of)
        if not outcome.kept and time.monotonic() - self.written > self.took_s / MOST_WRITING:
            self.write()

    def write(self) -> None:
        """Write the record, without a look at the differences: those are planned for whole numbers of seeds."""
        began = time.monotonic()
        with suppress(UserError):  # no cell has finished yet, or the disk is full: the cells themselves are kept
            write_whole(self.plan.folder.record, to_json(self.record(looking=False)))
        self.written = time.monotonic()
        self.took_s = self.written - began

    def record(self, *, looking: bool) -> LadderRecord:
        """Return the record of these cells and of those that other commands trained."""
        plan, before = self.plan, self.before
        outcomes = [*self.outcomes, *trained_before(_others(plan, before), plan.folder.path)]
        elsewhere = None if before is None else _from_elsewhere(plan, outcomes, before)
        if before is not None and elsewhere is not None and not outcomes:
            return judge_united(elsewhere, kept_verdicts(before, elsewhere.rungs), looking=looking)
        record = summarise(
            plan.ladder,
            outcomes,
            command=plan.command,
            reduced=plan.reduced,
            before=before,
            planned=plan.planned,
            looking=looking and elsewhere is None,
        )
        if before is None or elsewhere is None:
            return record
        both = replace(united(record, elsewhere), command=plan.command)
        return judge_united(both, kept_verdicts(before, both.rungs), looking=looking)


def _others(plan: ClimbPlan, before: LadderRecord | None) -> list[spec.Cell]:
    """Return the cells that this command does not train, those of further seeds of an earlier climb included."""
    further = [] if before is None else plan.every_cell(max(before.seeds) + 1)
    return [cell for cell in dict.fromkeys((*plan.others, *further)) if cell not in plan.cells]


def _from_elsewhere(plan: ClimbPlan, outcomes: Sequence[Outcome], before: LadderRecord) -> LadderRecord | None:
    """Return those cells of the record before that were trained elsewhere and whose folders are not here."""
    planned = {cell.folder for cell in plan.every_cell(max(before.seeds) + 1)}
    here = {outcome.cell.folder for outcome in outcomes if outcome.record is not None}
    rungs = []
    for rung in before.rungs:
        cells = tuple(c for c in rung.cells if c.record_only and c.folder in planned and c.folder not in here)
        if cells:
            rungs.append(replace(rung, cells=cells, confusion=rung.confusion if cells == rung.cells else ()))
    return stamped(replace(before, rungs=tuple(rungs))) if rungs else None


def record_before(plan: ClimbPlan) -> LadderRecord | None:
    """Return the record that an earlier climb left, if any.

    Raises:
        UserError: It is that of another study, which must not be overwritten; or it is damaged.
    """
    if RunDir(plan.folder.path).record.is_file():
        raise UserError("this is the folder of a run", where=plan.folder.path, do="give another --out")
    if not plan.folder.record.is_file():
        return None
    try:
        before = plan.folder.read_record()
    except UserError as error:
        do = "delete this file: the same command makes it again from the runs beside it"
        raise UserError("the record is damaged", where=plan.folder.record, do=do) from error
    if (before.name, before.reduced) != (plan.ladder.name, plan.reduced):
        what = f"this folder holds another study, made by: {before.command}"
        raise UserError(what, where=plan.folder.path, do="give another --out")
    return before
