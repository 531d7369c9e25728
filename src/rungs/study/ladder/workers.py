"""Train the cells of a ladder in parallel worker processes, each an ordinary run in its own folder."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TypeAlias

from rungs.errors import UserError
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord, from_json
from rungs.study.ladder.outcome import Outcome, Tell
from rungs.study.ladder.spec import Cell
from rungs.study.processes import CONTEXT, follow_parent, share_threads
from rungs.training.options import RunOptions

Group: TypeAlias = tuple[Cell, ...]
"""Cells of one rung that a worker trains together; may be a single one."""


def finished(cell: Cell, root: Path) -> RunRecord | None:
    """Return the record of a cell whose training has ended in `root`, else None.

    The name of its folder holds the digest of its recipe; that its data is the same is checked in the summary.
    A diverged run has ended, too: it would diverge again.
    """
    path = RunDir(root / cell.folder).record
    if not path.is_file():
        return None
    with suppress(UserError):  # a damaged record is rewritten
        record = from_json(path.read_bytes(), RunRecord, path)
        return record if record.status != "interrupted" else None
    return None


def train_cells(
    cells: Sequence[Cell],
    root: Path,
    *,
    jobs: int,
    skip_unreadable: bool,
    tell: Tell,
    tensorboard: bool = False,
    pack: int = 1,
) -> list[Outcome]:
    """Train every unfinished cell; return the outcomes of all, in their order.

    Args:
        cells: Rungs x seeds.
        root: Where the run folders go.
        jobs: Number of worker processes, which share the cores; 0 trains in this process, for debugging.
        skip_unreadable: Leave unreadable files of a data source out instead of failing.
        tensorboard: Also write events into each run folder.
        tell: Called with each outcome as it comes.
        pack: How many seeds of a rung one worker trains together, where they can be packed.
    """
    kept = trained_before(cells, root)
    for done, outcome in enumerate(kept, 1):
        tell(outcome, done, len(cells))
    outcomes = {outcome.cell: outcome for outcome in kept}
    todo = [cell for cell in cells if cell not in outcomes]
    options = RunOptions(resume=True, skip_unreadable=skip_unreadable, tensorboard=tensorboard)
    groups = packs(todo, pack)
    for outcome in train_all(groups, root, jobs, options) if jobs else train_here(groups, root, options):
        outcomes[outcome.cell] = outcome
        tell(outcome, len(outcomes), len(cells))
    return [outcomes[cell] for cell in cells]


def trained_before(cells: Iterable[Cell], root: Path) -> list[Outcome]:
    """Return the outcomes of those cells that are already trained."""
    found = ((cell, finished(cell, root)) for cell in cells)
    return [Outcome(c, root / c.folder, record, record.ending, kept=True) for c, record in found if record is not None]


def packs(cells: Iterable[Cell], most: int) -> list[Group]:
    """Group cells of one rung, up to `most` seeds together, in the order of their first seeds; see `unpacked`."""
    cells, made, latest = list(cells), list[list[Cell]](), dict[str, list[Cell]]()
    alone = unpacked(cells, most)
    for cell in cells:
        group = latest.get(cell.rung)
        if group is None or len(group) == most or cell.rung in alone:
            group = latest[cell.rung] = []
            made.append(group)
        group.append(cell)
    return [tuple(group) for group in made]


def unpacked(cells: Iterable[Cell], most: int) -> dict[str, str]:
    """Return the rungs whose cells cannot be packed and so train alone, each with the reason."""
    if most == 1:
        return {}
    from rungs.training.pack import unpackable

    one_each = {cell.rung: cell.recipe for cell in cells}
    reasons = ((rung, unpackable(recipe)) for rung, recipe in one_each.items())
    return {rung: reason for rung, reason in reasons if reason is not None}


def train_here(todo: Iterable[Group], root: Path, options: RunOptions) -> Iterator[Outcome]:
    """Train the packs one after the other in this process, as a worker would."""
    for cells in todo:
        failures = train([(cell, root / cell.folder) for cell in cells], options)
        for cell, failure in zip(cells, failures, strict=True):
            yield _outcome(cell, root / cell.folder, failure)


def train_all(todo: Iterable[Group], root: Path, jobs: int, options: RunOptions) -> Iterator[Outcome]:
    """Distribute the packs over `jobs` workers; yield each outcome as it comes. A worker that dies is replaced."""
    waiting = list(todo)
    jobs = min(jobs, max(1, len(waiting)))  # so that a few packs get all the cores
    workers = [Worker(jobs, options) for _ in range(min(jobs, len(waiting)))]
    try:
        for worker in workers:
            worker.give(waiting.pop(0), root)
        while busy := [worker for worker in workers if worker.cells]:
            for ready in wait([worker.pipe for worker in busy]):
                worker = next(one for one in busy if one.pipe is ready)
                outcomes = worker.take(root)
                if not worker.process.is_alive() and waiting:
                    workers[workers.index(worker)] = worker = Worker(jobs, options)
                if waiting and worker.process.is_alive():
                    worker.give(waiting.pop(0), root)
                yield from outcomes
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.process.join()


@dataclass
class Worker:
    """A worker process that trains cells, and our end of its pipe."""

    jobs: int  # workers that share the cores
    options: RunOptions
    cells: Group = ()  # in training
    pipe: Connection = field(init=False)
    process: SpawnProcess = field(init=False)

    def __post_init__(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs, self.jobs, self.options))
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, cells: Group, root: Path) -> None:
        """Send it cells of one rung to train together."""
        self.cells = cells
        with suppress(BrokenPipeError):  # it died: `take` will notice
            self.pipe.send([(cell, root / cell.folder) for cell in cells])

    def take(self, root: Path) -> list[Outcome]:
        """Return the outcomes of its cells; they failed if the process died, perhaps for lack of memory."""
        cells, self.cells = self.cells, ()
        try:
            failures = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            failures = [_death(self.process.exitcode, len(cells))] * len(cells)
        return [_outcome(cell, root / cell.folder, failure) for cell, failure in zip(cells, failures, strict=True)]

    def stop(self) -> None:
        """Stop it: an idle worker immediately, a busy one after it has saved its progress."""
        if self.cells and self.process.is_alive():
            self.process.terminate()
        self.pipe.close()


def _outcome(cell: Cell, folder: Path, failure: str | None) -> Outcome:
    """Return the outcome of a cell from its worker's reply."""
    if failure is not None:
        return Outcome(cell, folder, None, failure)
    try:
        record = RunDir(folder).read_record()
    except UserError as error:
        return Outcome(cell, folder, None, str(error))
    return Outcome(cell, folder, record, record.ending)


def _death(code: int | None, cells: int) -> str:
    """Describe how a process died."""
    if code == -signal.SIGKILL:
        less = "fewer --jobs" if cells == 1 else "fewer --jobs or a smaller --pack"
        return f"its process was killed (SIGKILL): perhaps for lack of memory, then {less} help"
    return f"its process ended with code {code}"


def serve(pipe: Connection, jobs: int, options: RunOptions) -> None:
    """Run a worker: train the cells received through the pipe until it closes or the parent exits."""
    threading.Thread(target=follow_parent, daemon=True).start()
    with suppress(EOFError, KeyboardInterrupt):  # the parent closed the pipe, or a signal: what is done is kept
        share_threads(jobs)
        while True:
            pipe.send(train(pipe.recv(), options))


def train(cells: Sequence[tuple[Cell, Path]], options: RunOptions) -> list[str | None]:
    """Train cells, resuming from their last checkpoints; return for each None, or the error message."""
    from rungs.training.device import open_world
    from rungs.training.pack_run import run_pack
    from rungs.training.run import run_recipe

    recipes, folders = [cell.recipe for cell, _ in cells], [RunDir(folder) for _, folder in cells]
    try:
        with open_world() as world:
            if len(cells) > 1:
                results = run_pack(recipes, folders, world, options)
                return [str(result) if isinstance(result, UserError) else None for result in results]
            run_recipe(recipes[0], folders[0], world, options)
    except UserError as error:
        return [str(error)] * len(cells)
    except Exception as error:  # a cell that fails must not stop the others
        return [f"{type(error).__name__}: {error}"] * len(cells)
    return [None]
