"""A search: workers here and on other machines take trials from one storage until there are enough of them."""

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
from rungs.study.search.ledger import WORKER, fail, give_up, is_surplus, places, record, requeue_abandoned
from rungs.study.search.liveness import Watch, host
from rungs.study.search.record import TrialRecord
from rungs.study.search.storage import optuna
from rungs.study.search.study import Work, distributions, join
from rungs.study.search.trial import Lost, attempt
from rungs.training.interrupt import Interrupted, Interrupts

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

Tell: TypeAlias = Callable[[TrialRecord, int, int], None]
"""Called with a trial that one of our workers finished, the number of trials done, and of all."""
Note: TypeAlias = tuple[Literal["trial", "over", "error"], int, str]
"""What a worker says: it finished a trial (its number); nothing is left to do; what stopped it."""
IDLE_S = 0.25
"""How often a worker without a trial looks whether there is one, and the parent whether a worker elsewhere died."""
DEAF_S = 1.0
MOST_FAILED_STARTS = 3
"""Workers that end one after the other without a trial: something is wrong with all of them."""
STOPS_S = 60.0
"""How long a worker that was told to stop may take: a step, and its checkpoint."""


def search(work: Work, study: Study, workers: int, tell: Tell) -> None:
    """Train until the search has all its trials, those of workers on other machines included.

    Args:
        work: The search.
        study: Its study.
        workers: How many processes here; they share the cores out. 0 tries trials in this process, for a debugger.
        tell: Called with each trial that they finish.

    Raises:
        UserError: Workers cannot start, or the storage cannot be reached any more.
        Interrupted: SIGINT or SIGTERM; what is trained is kept.
    """
    watch, pool = Watch(), WorkerPool(work)
    try:
        requeue_abandoned(study, watch, at_once=True)
        missing = work.trials - sum(place.is_over for place in places(study.get_trials(deepcopy=False)))
        pool.jobs = max(0, min(workers, missing))
        free_dead = partial(requeue_abandoned, study, watch)
        for number in pool.working(free_dead) if workers else try_trials(work, free_dead):
            trials = study.get_trials(deepcopy=False)
            done = sum(place.is_over for place in places(trials))
            tell(record(next(trial for trial in trials if trial.number == number)), min(done, work.trials), work.trials)
    except optuna().exceptions.StorageInternalError as error:
        raise unreachable(work, str(error.__cause__ or error)) from error
    finally:
        pool.stop()
        with suppress(Exception):  # the storage may be away; then it is done where the search goes on
            pool.requeue(study)


def unreachable(work: Work, why: str) -> UserError:
    """Return the error for a storage that went away."""
    what = f"the storage cannot be reached any more: {without_password(why).splitlines()[0]}"
    return UserError(what, where=without_password(work.address), do="go on with the same command when it is back")


@dataclass
class WorkerProcess:
    """A worker process, and this process's end of the pipe from it."""

    work: Work
    jobs: int  # that share the cores out
    pipe: Connection = field(init=False)
    process: SpawnProcess = field(init=False)

    def __post_init__(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=serve, args=(theirs, self.work, self.jobs))
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does


class WorkerPool:
    """The workers of one search here."""

    def __init__(self, work: Work) -> None:
        self.work, self.jobs = work, 0  # how many there are to be
        self.workers: list[WorkerProcess] = []
        self.pids: list[int] = []  # of all that were ever started
        self.failed_starts = 0

    def start_worker(self) -> None:
        """Start a worker."""
        self.workers.append(WorkerProcess(self.work, self.jobs))
        self.pids.append(self.workers[-1].process.pid or 0)

    def working(self, requeue_abandoned: Callable[[], list[int]]) -> Iterator[int]:
        """Yield the number of each trial that a worker finishes until all say that it is over; replace those that die.

        Args:
            requeue_abandoned: Frees what dead workers held and returns the numbers of these trials.
        """
        for _ in range(self.jobs):
            self.start_worker()
        while self.workers:
            ready = wait([worker.pipe for worker in self.workers], timeout=DEAF_S)
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

    def receive(self, worker: WorkerProcess) -> Note:
        """Return what a worker says; that it died, if it does not say anything any more."""
        try:
            note: Note = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode or 0
            words = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
            return "error", -1, f"a worker {words}"
        if note[0] != "trial":
            worker.process.join()
        return note

    def replace(self, words: str, *, had_no_trial: bool) -> None:
        """Start another worker for one that died; not for ever, if none comes to anything."""
        self.failed_starts = self.failed_starts + 1 if had_no_trial else 0
        if self.failed_starts >= MOST_FAILED_STARTS:
            do = "mend the cause (memory? then fewer --workers), and give the same command again"
            raise UserError(f"workers end before they have a trial: {words}", where="rungs tune", do=do)
        self.start_worker()

    def stop(self) -> None:
        """Let all workers go; those that train keep what they have."""
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(STOPS_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()

    def requeue(self, study: Study) -> None:
        """Let the trials that our workers still held wait for others."""
        mine = {f"{host()}:{pid}" for pid in self.pids}
        running = optuna().trial.TrialState.RUNNING
        for trial in study.get_trials(deepcopy=False, states=(running,)):
            if trial.user_attrs.get(WORKER, "").rpartition(":")[0] in mine:
                give_up(study, trial, "stopped", "its worker was stopped")


def serve(pipe: Connection, work: Work, jobs: int) -> None:
    """Be a worker: try trials until there are enough, or until the parent is gone."""
    threading.Thread(target=follow_parent, daemon=True).start()
    with suppress(BrokenPipeError, KeyboardInterrupt), Interrupts().heeded():
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
    """Try one trial after the other; yield the number of each that is done.

    Args:
        work: The search.
        while_waiting: Called again and again while only other workers have trials.
    """
    study = join(work)
    while (trial := next_trial(work, study, while_waiting)) is not None:
        try:
            attempt(work, study, trial)
        except Interrupted as signalled:
            requeue(work, trial.number, str(signalled))
            raise
        except Lost:
            continue
        yield trial.number


def next_trial(work: Work, study: Study, while_waiting: Callable[[], object] = lambda: None) -> Trial | None:
    """Ask for a trial; wait while others may leave one; return None when the search has all of them."""
    waiting = optuna().trial.TrialState.WAITING
    asked = distributions(work.space)
    while True:
        trials = study.get_trials(deepcopy=False)
        held = places(trials)
        if sum(place.is_over for place in held[: work.trials]) >= work.trials:
            return None
        if len(held) >= work.trials and not any(trial.state == waiting for trial in trials):
            while_waiting()
            time.sleep(IDLE_S)  # the last ones are being trained; one of them may be given back
            continue
        trial = study.ask(asked)
        mine = study._storage.get_trial(trial._trial_id)
        if not is_surplus(mine, study.get_trials(deepcopy=False), work.trials):
            return trial
        fail(study, mine, "surplus", "one too many")


def requeue(work: Work, number: int, words: str) -> None:
    """Let a trial's values wait for another, over a new connection: a signal may have cut off what the old one did."""
    with suppress(Exception):  # then it is taken up as a dead worker's
        study = join(work)
        trial: FrozenTrial = next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)
        give_up(study, trial, "stopped", words)
