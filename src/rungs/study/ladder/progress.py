"""How far a climb has got, read from the files of its cells: a climb that runs notices nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from rungs.report import format as fmt
from rungs.run.folder import RunDir
from rungs.study.ladder.climb import ClimbPlan, record_before
from rungs.study.ladder.pace import Pace, Trained, mean_pace, measure, net_of
from rungs.study.ladder.pace import read as read_cell
from rungs.study.ladder.spec import Cell
from rungs.study.ladder.workers import packs

State = Literal["done", "diverged", "failed", "running", "started", "left"]
MOST_NAMED = 4
"""Running cells that the progress line names."""


@dataclass(frozen=True)
class CellProgress:
    """How far a cell has got."""

    cell: Cell
    state: State  # "started": but not running now
    epochs: int  # finished ones
    packed: int  # runs trained together in its process, itself included
    changed: float | None  # when its history last changed, in seconds since 1970; None: there is none
    left_s: float | None  # of its own, to its end; None: no pace is known


@dataclass(frozen=True)
class Progress:
    """How far a climb has got."""

    at: float  # when its files were read, in seconds since 1970
    cells: tuple[CellProgress, ...]
    epoch_s: dict[str, float]  # rung -> seconds of an epoch, of those measured

    def those(self, *states: State) -> list[CellProgress]:
        """Return the cells in these states."""
        return [one for one in self.cells if one.state in states]

    @property
    def jobs(self) -> int:
        """Number of cells, or packs of cells, that train now; 1 where none does."""
        return max(1, round(sum(1 / one.packed for one in self.those("running"))))

    @property
    def left_s(self) -> float | None:
        """Time to the end with as many jobs as train now, if no cell stops early; None: no pace is known."""
        cells = self.those("running", "started", "left")
        known = [(one.left_s, one.packed) for one in cells if one.left_s is not None]
        if len(known) < len(cells):
            return None
        longest = max((left_s * packed for left_s, packed in known), default=0.0)  # a pack ends as a whole
        return max(sum(left_s for left_s, _ in known) / self.jobs, longest)


def read(plan: ClimbPlan, device: str, failed: Collection[Cell] = ()) -> Progress:
    """Read how far a climb has got; nothing is written.

    A net of which no epoch was trained is taken to be as fast as the mean of those measured.

    Args:
        plan: Of the climb.
        device: Name of this machine's chip: only the pace on such a one counts.
        failed: Cells that are known to have failed; they leave no record.
    """
    root, at = plan.folder.path, time.time()
    todo = set(plan.to_train)
    running = {cell for cell in plan.cells if RunDir(root / cell.folder).is_locked()}  # asked before records are read
    seen = [read_cell(cell, root) for cell in (*plan.cells, *plan.others)]
    paces = measure(seen, device)
    guess = mean_pace(paces.values()) if paces else None
    mine = seen[: len(plan.cells)]
    sizes = {cell: len(pack) for pack in packs([one.cell for one in mine if not one.ended], plan.pack) for cell in pack}
    cells, epoch_s = [], {}
    for one in mine:
        packed = one.rows[-1].packed if one.rows else sizes.get(one.cell, 1)
        pace = paces.get(net_of(one.cell.recipe, packed))
        if pace is not None:
            epoch_s[one.cell.rung] = pace.mean_epoch_s(one.cell.recipe)
        state = _state(one, root, one.cell in running, one.cell in failed) if one.cell in todo else "done"
        changed = _changed(RunDir(root / one.cell.folder).history)
        in_epoch_s = max(0.0, at - changed) / packed if state == "running" and changed is not None else 0.0
        left_s = _left_s(one, pace or guess, in_epoch_s)
        cells.append(CellProgress(one.cell, state, len(one.rows), packed, changed, left_s))
    return Progress(at, tuple(cells), epoch_s)


def _state(one: Trained, root: Path, running: bool, failed: bool) -> State:
    if one.record is not None and one.ended:
        return "diverged" if one.record.status == "diverged" else "done"
    if running:
        return "running"
    if failed:
        return "failed"
    return "started" if RunDir(root / one.cell.folder).holds_run() else "left"


def _changed(path: Path) -> float | None:
    with suppress(OSError):
        return path.stat().st_mtime
    return None


def _left_s(one: Trained, pace: Pace | None, in_epoch_s: float) -> float | None:
    """Return the time that a cell still takes; `in_epoch_s` of it have passed since its last epoch ended."""
    if pace is None:
        return None
    part = min(1.0, in_epoch_s / max(1e-9, pace.mean_epoch_s(one.cell.recipe)))
    return pace.left_s(one.cell.recipe, len(one.rows), part)


def failed_before(plan: ClimbPlan) -> set[Cell]:
    """Return the cells that failed in an earlier climb, by its record.

    Raises:
        UserError: The folder holds another study.
    """
    record = record_before(plan)
    if plan.folder.is_locked():  # a climb that runs tries them again
        return set()
    rungs = record.rungs if record else ()
    folders = {cell.folder for rung in rungs for cell in rung.cells if cell.status == "failed"}
    return {cell for cell in plan.cells if cell.folder in folders}


def line(progress: Progress) -> str:
    """Return "20:14  3 of 36 cells; running: channels seed 1, epoch 4 of 6; about 14 min left"."""
    failed, running = progress.those("failed"), progress.those("running")
    ended = len(failed) + len(progress.those("done", "diverged"))
    words = [f"{ended} of {fmt.many(len(progress.cells), 'cell')}" + (f" ({len(failed)} failed)" if failed else "")]
    words += [f"{'' if i else 'running: '}{_name(one)}, {_epoch(one)}" for i, one in enumerate(running[:MOST_NAMED])]
    words += [f"{len(running) - MOST_NAMED} more"] if len(running) > MOST_NAMED else []
    words += [f"about {rough(progress.left_s)} left"] if progress.left_s else []
    return f"{_clock(progress.at, progress.at)}  {'; '.join(words)}"


def status(progress: Progress) -> list[str]:
    """Return what `rungs climb --status` prints, in lines."""
    counts = (
        f"{number} {'started but not running' if state == 'started' else state}"
        for state in get_args(State)
        if (number := len(progress.those(state))) or state in ("done", "running", "left")
    )
    lines = [f"{fmt.many(len(progress.cells), 'cell')}: {', '.join(counts)}"]
    for one in progress.those("running"):
        ago = "" if one.changed is None else f"; its history changed {_ago(one.changed, progress.at)}"
        lines.append(f"running: {_name(one)}, {_epoch(one)}{ago}")
    for one in progress.those("started"):
        lines.append(f"started: {_name(one)}, {one.epochs} of {fmt.many(one.cell.recipe.training.epochs, 'epoch')}")
    lines += [f"{one.state}: {_name(one)}" for one in progress.those("diverged", "failed")]
    return [*lines, _pace(progress), _end(progress)]


def rough(seconds: float) -> str:
    """Return a time with no more digits than an estimate has: "40 s", "14 min", "3 h 10 min"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _name(one: CellProgress) -> str:
    return f"{one.cell.rung} {one.cell.of}"


def _epoch(one: CellProgress) -> str:
    epochs = one.cell.recipe.training.epochs
    return f"epoch {one.epochs + 1} of {epochs}" if one.epochs < epochs else "being scored"


def _ago(then: float, now: float) -> str:
    return f"{fmt.seconds(max(0.0, now - then))} ago, at {_clock(then, now)}"


def _clock(then: float, now: float) -> str:
    """Return "23:40", with the day if it is another one than today."""
    local, today = datetime.fromtimestamp(then), datetime.fromtimestamp(now)
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local:%a} {local.day} {local:%b} {local:%H:%M}"


def _pace(progress: Progress) -> str:
    if not progress.epoch_s:
        return "pace: no epoch has been measured on a machine like this one"
    paces = sorted(progress.epoch_s.items(), key=lambda pace: pace[1])
    (fast, least), (slow, most) = paces[0], paces[-1]
    to = f" to {_exact(most)} ({slow})" if _exact(most) != _exact(least) else ""
    of = f"; {len(paces)} of {fmt.many(len({one.cell.rung for one in progress.cells}), 'rung')} measured"
    return f"pace: an epoch takes {_exact(least)} ({fast}){to}{of}"


def _exact(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 1 else fmt.seconds(seconds)


def _end(progress: Progress) -> str:
    if not progress.those("running", "started", "left"):
        failed = len(progress.those("failed"))
        again = f" but {fmt.many(failed, 'cell')} that failed: the same command tries again"
        return f"nothing is left to train{again if failed else ''}"
    if progress.left_s is None:
        return "time left: not known before an epoch is measured"
    jobs = f"{fmt.many(progress.jobs, 'job')}{'' if progress.those('running') else ', if it were started now'}"
    until = _clock(progress.at + progress.left_s, progress.at)
    return f"about {rough(progress.left_s)} left, until {until}, with {jobs}"


@contextmanager
def told_every(seconds: float, tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` at this interval from a thread while the body runs; its errors are dropped: they must end nothing."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            with suppress(Exception):
                tell()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()  # so that nothing is printed after it
