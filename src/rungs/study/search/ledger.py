"""The trials of a search as stored: which are left to train, which lost their worker, and their records.

Optuna numbers trials atomically, from 0. A trial whose worker died is marked as failed, which a storage accepts only
once, and its values are enqueued under a new number with a reference to the old one: both share one *slot* of the
search, identified by the first number. The first N slots are the search's N trials; any trial beyond them is discarded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rungs.study.search.liveness import SILENT_S, UNCLAIMED_S, ChangeTimer, is_alive_here, without_host
from rungs.study.search.record import TrialRecord
from rungs.study.search.space import Scalar
from rungs.study.search.storage import optuna

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

Reason: TypeAlias = Literal["died", "stopped", "surplus", "failed"]
"""Why a trial failed: its worker died or was stopped; it was one too many; its training failed."""
RETRIED = ("died", "stopped")
"""Reasons after which its values are retried."""
MOST_DEATHS = 3
"""The same values are abandoned after this many workers died on them."""
ORPHAN_S = 5.0
"""If a failed trial has no retry enqueued after this long, the process that marked it died before enqueuing one."""

RUN, END, WORKER, BEAT, TAKES_UP = "run", "end", "worker", "heartbeat", "takes_up"
"""User attributes of a trial: its result (`Run`), why it failed (reason and message), its worker, the time of the
worker's last heartbeat, and the number of the trial that it retries."""


@dataclass(frozen=True)
class Run:
    """The result of training a trial; kept in the storage, so that every machine can write the record."""

    value: float  # the metric, of its best epoch
    curve: tuple[float | None, ...]
    train_s: float
    folder: str  # of its run, inside the search's
    ending: str
    diverged: bool = False


@dataclass(frozen=True)
class Slot:
    """One trial of a search and its retries."""

    number: int  # of the first
    last: FrozenTrial
    deaths: int
    needs_retry: bool  # it failed and no retry is enqueued yet

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train."""
        return self.last.state.is_finished() and not self.needs_retry


def reason_of(trial: FrozenTrial) -> Reason | None:
    """Return why a trial failed; None if it did not."""
    if trial.state != optuna().trial.TrialState.FAIL:
        return None
    reason: Reason = trial.user_attrs.get(END, ["failed"])[0]
    return reason


def slots(trials: Sequence[FrozenTrial]) -> list[Slot]:
    """Return the slots of a search in order; discarded trials have none."""
    first: dict[int, int] = {}
    held: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        before = trial.user_attrs.get(TAKES_UP)
        first[trial.number] = trial.number if before is None else first.get(before, trial.number)
        if reason_of(trial) != "surplus":
            held.setdefault(first[trial.number], []).append(trial)
    return [_slot(number, held[number]) for number in sorted(held)]


def _slot(number: int, chain: Sequence[FrozenTrial]) -> Slot:
    reasons = [reason_of(trial) for trial in chain]
    return Slot(number, chain[-1], reasons.count("died"), reasons[-1] in RETRIED)


def is_surplus(trial: FrozenTrial, trials: Sequence[FrozenTrial], most: int) -> bool:
    """Return whether a newly drawn trial is one too many, or duplicates another retry."""
    before = trial.user_attrs.get(TAKES_UP)
    if before is not None and any(
        other.number < trial.number and other.user_attrs.get(TAKES_UP) == before for other in trials
    ):
        return True
    by_number, first = {one.number: one for one in trials}, trial.number
    while (taken := by_number[first].user_attrs.get(TAKES_UP)) is not None and taken in by_number:
        first = taken
    return sum(slot.number < first for slot in slots(trials)) >= most


def fail(study: Study, trial: FrozenTrial, reason: Reason, words: str) -> bool:
    """Mark a running trial as failed; return whether this call did it (a storage accepts it only once)."""
    package = optuna()
    try:
        study._storage.set_trial_user_attr(trial._trial_id, END, [reason, words])
        study.tell(trial.number, state=package.trial.TrialState.FAIL)
    except (package.exceptions.UpdateFinishedTrialError, ValueError):  # another was faster
        return False
    return True


def release_trial(study: Study, trial: FrozenTrial, reason: Literal["died", "stopped"], words: str) -> bool:
    """Take a trial from its worker and enqueue its values again; return whether this call did it."""
    deaths = 1 + next((p.deaths for p in slots(study.get_trials(deepcopy=False)) if p.last.number == trial.number), 0)
    if reason == "died" and deaths >= MOST_DEATHS:
        words = f"abandoned: {deaths} workers died on these values; perhaps they need too much memory"
        return fail(study, trial, "failed", words)
    done = fail(study, trial, reason, words)
    if done:
        enqueue_again(study, trial)
    return done


def enqueue_again(study: Study, trial: FrozenTrial) -> None:
    """Enqueue the values of a trial under a new number."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={TAKES_UP: trial.number})


def requeue_abandoned(study: Study, timer: ChangeTimer, *, at_once: bool = False) -> list[int]:
    """Requeue the trials of dead workers; return their numbers.

    Args:
        study: The search.
        timer: Remembers how long each heartbeat has been unchanged.
        at_once: Do not wait for another process that may be about to enqueue the retry of a failed trial.
    """
    package, taken = optuna(), []
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        dead = trial.state == package.trial.TrialState.RUNNING and is_dead(trial, timer)
        if dead and release_trial(study, trial, "died", "its worker died"):
            taken.append(trial.number)
    for slot in slots(trials):
        if slot.needs_retry and (at_once or timer.unchanged_s(("retry", slot.last.number), "") > ORPHAN_S):
            enqueue_again(study, slot.last)
    return taken


def is_dead(trial: FrozenTrial, timer: ChangeTimer) -> bool:
    """Return whether the worker of a running trial is dead."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        return timer.unchanged_s(trial.number, "unclaimed") > UNCLAIMED_S
    here = is_alive_here(worker)
    if here is None:
        return timer.unchanged_s(trial.number, (worker, trial.user_attrs.get(BEAT))) > SILENT_S
    return not here


def run_of(trial: FrozenTrial) -> Run | None:
    """Return the result of training a trial; None if it has not finished."""
    found: dict[str, Any] | None = trial.user_attrs.get(RUN)
    return None if found is None else Run(**{**found, "curve": tuple(found["curve"])})


def ranked(trials: Iterable[FrozenTrial], *, maximise: bool) -> list[FrozenTrial]:
    """Return the complete trials that did not diverge, best first."""
    state = optuna().trial.TrialState.COMPLETE
    sound = [(run.value, t) for t in trials if t.state == state and (run := run_of(t)) and not run.diverged]
    return [trial for _, trial in sorted(sound, key=lambda one: (-one[0] if maximise else one[0], one[1].number))]


def records(trials: Iterable[FrozenTrial]) -> tuple[TrialRecord, ...]:
    """Return the records of trials, without the discarded ones."""
    return tuple(record(trial) for trial in trials if reason_of(trial) != "surplus")


def record(trial: FrozenTrial) -> TrialRecord:
    """Return the record of a trial."""
    states = optuna().trial.TrialState
    run = None if trial.state == states.FAIL else run_of(trial)  # killed after it had written its result
    curve = run.curve if run else tuple(value for _, value in sorted(trial.intermediate_values.items()))
    params: dict[str, Scalar] = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    names: dict[Any, Any] = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.RUNNING: "running"}
    return TrialRecord(
        number=trial.number,
        params=params,
        state=names.get(trial.state, "waiting" if trial.state == states.WAITING else "failed"),
        value=run.value if run else None,
        epochs=len(curve),
        curve=curve,
        train_s=run.train_s if run else 0.0,
        worker=without_host(trial.user_attrs.get(WORKER, "")),
        folder=run.folder if run else "",
        ending=run.ending if run else trial.user_attrs.get(END, ["", ""])[1],
        started=_utc(trial.datetime_start),
        finished=_utc(trial.datetime_complete),
        takes_up=trial.user_attrs.get(TAKES_UP),
        diverged=run.diverged if run else False,
    )


def _utc(moment: datetime | None) -> str:
    """Convert a datetime of Optuna's, local and naive, to UTC in ISO 8601."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""
