"""The workers of a search, here and on other machines, which draw trials from one storage until all are done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Literal, TypeAlias

from rungs.errors import UserError
from rungs.run.looks import without_password
from rungs.study.processes import CONTEXT, follow_parent, share_threads
from rungs.study.search.ledger import WORKER, fail, is_surplus, record, release_trial, requeue_abandoned, slots
from rungs.study.search.liveness import ChangeTimer, host
from rungs.study.search.record import TrialRecord
from rungs.study.search.storage import optuna
from rungs.study.search.study import Work, distributions, load_study
from rungs.study.search.trial import TakenOver, run_trial
from rungs.training.interrupt import Interrupted, Interrupts

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

Tell: TypeAlias = Callable[[TrialRecord, int, int], None]
"""Called with a trial that a worker here finished, the number of trials done, and the total."""
Message: TypeAlias = tuple[Literal["trial", "over", "error"], int, str]
"""Message from a worker: a finished trial (its number); nothing left to do; the error that stopped it."""
IDLE_S = 0.25
"""Poll interval of a worker without a trial."""
POLL_S = 1.0
"""How often the parent checks for dead workers."""
MOST_FAILED_STARTS = 3
"""Give up after this many workers in a row ended without a trial: they share a cause."""
STOP_TIMEOUT_S = 60.0
"""Time for a worker to stop: one step and a checkpoint."""


def search(work: Work, study: Study, workers: int, tell: Tell) -> None:
    """Train until all trials of the search are done, including those of workers on other machines.

    Args:
        work: The search.
        study: Its study.
        workers: Number of processes here, which share the cores. 0 runs trials in this process, for debugging.
        tell: Called with each trial that they finish.

    Raises:
        UserError: Workers cannot start, or the storage is no longer reachable.
        Interrupted: SIGINT or SIGTERM; what is trained is kept.
    """
    timer, pool = ChangeTimer(), WorkerPool(work)
    try:
        requeue_abandoned(study, timer, at_once=True)
        missing = work.trials - sum(slot.is_done for slot in slots(study.get_trials(deepcopy=False)))
        pool.jobs = max(0, min(workers, missing))
        free_dead = partial(requeue_abandoned, study, timer)
        for number in pool.finished_trials(free_dead) if workers else try_trials(work, free_dead):
            trials = study.get_trials(deepcopy=False)
            done = sum(slot.is_done for slot in slots(trials))
            tell(record(next(trial for trial in trials if trial.number == number)), min(done, work.trials), work.trials)
    except optuna().exceptions.StorageInternalError as error:
        raise unreachable(work, str(error.__cause__ or error)) from error
    finally:
        pool.stop()
        with suppress(Exception):  # the storage may be unreachable; then it is done on resuming
            pool.requeue(study)


def unreachable(work: Work, why: str) -> UserError:
    """Return the error for an unreachable storage."""
    what = f"the storage is no longer reachable: {without_password(why).splitlines()[0]}"
    return UserError(what, where=without_password(work.address), do="resume with the same command when it is back")


@dataclass
class WorkerProcess:
    """A worker process, and this process's end of the pipe from it."""

    work: Work
    jobs: int  # that share the cores
    pipe: Connection = field(init=False)
    process: SpawnProcess = field(init=False)

    def __post_init__(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=worker_main, args=(theirs, self.work, self.jobs))
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does


class WorkerPool:
    """The workers of one search here."""

    def __init__(self, work: Work) -> None:
        self.work, self.jobs = work, 0  # target number of workers
        self.workers: list[WorkerProcess] = []
        self.pids: list[int] = []  # of all workers ever started
        self.failed_starts = 0

    def start_worker(self) -> None:
        """Start a worker."""
        self.workers.append(WorkerProcess(self.work, self.jobs))
        self.pids.append(self.workers[-1].process.pid or 0)

    def finished_trials(self, requeue_abandoned: Callable[[], list[int]]) -> Iterator[int]:
        """Yield the number of each finished trial until no work is left; replace workers that die.

        Args:
            requeue_abandoned: Requeues the trials of dead workers and returns their numbers.
        """
        for _ in range(self.jobs):
            self.start_worker()
        while self.workers:
            ready = wait([worker.pipe for worker in self.workers], timeout=POLL_S)
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                kind, number, words = self.receive(worker)
                if kind == "trial":
                    self.failed_starts = 0
                    yield number
                    continue
                self.workers.remove(worker)
                if kind == "error":
                    self.replace(words, had_no_trial=not requeue_abandoned())
            requeue_abandoned()

    def receive(self, worker: WorkerProcess) -> Message:
        """Receive a message from a worker; an error message if it died."""
        try:
            message: Message = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode or 0
            words = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
            return "error", -1, f"a worker {words}"
        if message[0] != "trial":
            worker.process.join()
        return message

    def replace(self, words: str, *, had_no_trial: bool) -> None:
        """Replace a dead worker, unless too many in a row ended without a trial."""
        self.failed_starts = self.failed_starts + 1 if had_no_trial else 0
        if self.failed_starts >= MOST_FAILED_STARTS:
            do = "fix the cause (if memory, give fewer --workers), then run the same command again"
            raise UserError(f"workers end before they get a trial: {words}", where="rungs tune", do=do)
        self.start_worker()

    def stop(self) -> None:
        """Stop all workers; progress of running trials is kept."""
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(STOP_TIMEOUT_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def requeue(self, study: Study) -> None:
        """Requeue the trials that our workers still held."""
        mine = {f"{host()}:{pid}" for pid in self.pids}
        running = optuna().trial.TrialState.RUNNING
        for trial in study.get_trials(deepcopy=False, states=(running,)):
            if trial.user_attrs.get(WORKER, "").rpartition(":")[0] in mine:
                release_trial(study, trial, "stopped", "its worker was stopped")


def worker_main(pipe: Connection, work: Work, jobs: int) -> None:
    """Run a worker process until all trials are done or the parent is gone."""
    threading.Thread(target=follow_parent, daemon=True).start()
    with suppress(BrokenPipeError, KeyboardInterrupt), Interrupts().handled():
        try:
            share_threads(jobs)
            for number in try_trials(work):
                pipe.send(("trial", number, ""))
            pipe.send(("over", -1, ""))
        except UserError as error:
            pipe.send(("error", -1, str(error)))
        except Exception as error:
            pipe.send(("error", -1, without_password(f"{type(error).__name__}: {error}")))


def try_trials(work: Work, while_waiting: Callable[[], object] = lambda: None) -> Iterator[int]:
    """Run one trial after the other; yield the number of each when done.

    Args:
        work: The search.
        while_waiting: Called repeatedly while only other workers have trials.
    """
    study = load_study(work)
    while (trial := next_trial(work, study, while_waiting)) is not None:
        try:
            run_trial(work, study, trial)
        except Interrupted as signalled:
            requeue(work, trial.number, str(signalled))
            raise
        except TakenOver:
            continue
        yield trial.number


def next_trial(work: Work, study: Study, while_waiting: Callable[[], object] = lambda: None) -> Trial | None:
    """Draw a trial; wait while other workers may still release one; return None when all are done."""
    waiting = optuna().trial.TrialState.WAITING
    asked = distributions(work.space)
    while True:
        trials = study.get_trials(deepcopy=False)
        held = slots(trials)
        if sum(slot.is_done for slot in held[: work.trials]) >= work.trials:
            return None
        if len(held) >= work.trials and not any(trial.state == waiting for trial in trials):
            while_waiting()
            time.sleep(IDLE_S)  # the last ones are being trained; one of them may be released
            continue
        trial = study.ask(asked)
        mine = study._storage.get_trial(trial._trial_id)
        if not is_surplus(mine, study.get_trials(deepcopy=False), work.trials):
            return trial
        fail(study, mine, "surplus", "one too many")


def requeue(work: Work, number: int, words: str) -> None:
    """Requeue a trial over a new connection: the signal may have interrupted the old one."""
    with suppress(Exception):  # then it is requeued as a dead worker's
        study = load_study(work)
        trial: FrozenTrial = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
        release_trial(study, trial, "stopped", words)
