"""The trials of a search as its storage holds them: whose turn it is, whose worker died, and their records.

Optuna numbers trials atomically, from 0. A trial whose worker died is marked as failed, which a storage grants once,
and its values wait under a new number that says which trial it takes up: both are one *place* of the search, called
by the first number. The first N places are its N trials; who asked for one beyond them gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rungs.study.search.liveness import SILENT_S, UNCLAIMED_S, Watch, from_here, lives_here
from rungs.study.search.record import TrialRecord
from rungs.study.search.space import Scalar
from rungs.study.search.storage import optuna

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

Reason: TypeAlias = Literal["died", "stopped", "surplus", "failed"]
"""Why a trial has failed: its worker died, or was told to stop; nobody needed it; training it failed."""
OWED = ("died", "stopped")
"""Reasons for which its values are tried again."""
MOST_DEATHS = 3
"""Workers that die on the same values before these are given up."""
ORPHAN_S = 5.0
"""A failed trial that is owed another try and has none after this long: who marked it died before it could add it."""

RUN, END, WORKER, BEAT, TAKES_UP = "run", "end", "worker", "heartbeat", "takes_up"
"""User attributes of a trial: what it came to (`Run`), why it failed (reason and words), who trains it, when that one
last said so, and the number of the trial that it takes up."""


@dataclass(frozen=True)
class Run:
    """What training a trial came to; it lies in the storage, so that every machine can make the record."""

    value: float  # the metric, of its best epoch
    curve: tuple[float | None, ...]
    train_s: float
    folder: str  # of its run, inside the search's
    ending: str
    diverged: bool = False


@dataclass(frozen=True)
class Place:
    """One trial of a search and those that took it up."""

    number: int  # of the first
    last: FrozenTrial
    deaths: int
    is_owed: bool  # it failed, must be tried again, and nothing waits yet

    @property
    def is_over(self) -> bool:
        """Tell whether nothing of it is left to do."""
        return self.last.state.is_finished() and not self.is_owed


def reason_of(trial: FrozenTrial) -> Reason | None:
    """Return why a trial has failed; None if it has not."""
    if trial.state != optuna().trial.TrialState.FAIL:
        return None
    reason: Reason = trial.user_attrs.get(END, ["failed"])[0]
    return reason


def places(trials: Sequence[FrozenTrial]) -> list[Place]:
    """Return the places of a search in order; trials that were given back have none."""
    first: dict[int, int] = {}
    held: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        before = trial.user_attrs.get(TAKES_UP)
        first[trial.number] = trial.number if before is None else first.get(before, trial.number)
        if reason_of(trial) != "surplus":
            held.setdefault(first[trial.number], []).append(trial)
    return [_place(number, held[number]) for number in sorted(held)]


def _place(number: int, chain: Sequence[FrozenTrial]) -> Place:
    reasons = [reason_of(trial) for trial in chain]
    return Place(number, chain[-1], reasons.count("died"), reasons[-1] in OWED)


def is_surplus(trial: FrozenTrial, trials: Sequence[FrozenTrial], most: int) -> bool:
    """Tell whether a trial that was just asked for is one too many, or takes up what another takes up already."""
    before = trial.user_attrs.get(TAKES_UP)
    if before is not None and any(
        other.number < trial.number and other.user_attrs.get(TAKES_UP) == before for other in trials
    ):
        return True
    by_number, first = {one.number: one for one in trials}, trial.number
    while (taken := by_number[first].user_attrs.get(TAKES_UP)) is not None and taken in by_number:
        first = taken
    return sum(place.number < first for place in places(trials)) >= most


def fail(study: Study, trial: FrozenTrial, reason: Reason, words: str) -> bool:
    """Mark a running trial as failed; return whether it was this call that did it: a storage grants it once."""
    package = optuna()
    try:
        study._storage.set_trial_user_attr(trial._trial_id, END, [reason, words])
        study.tell(trial.number, state=package.trial.TrialState.FAIL)
    except (package.exceptions.UpdateFinishedTrialError, ValueError):  # another was faster
        return False
    return True


def give_up(study: Study, trial: FrozenTrial, reason: Literal["died", "stopped"], words: str) -> bool:
    """Take a trial from its worker and let its values wait for another; return whether it was this call that did it."""
    deaths = 1 + next((p.deaths for p in places(study.get_trials(deepcopy=False)) if p.last.number == trial.number), 0)
    if reason == "died" and deaths >= MOST_DEATHS:
        words = f"given up: {deaths} workers died on these values; perhaps they take too much memory"
        return fail(study, trial, "failed", words)
    done = fail(study, trial, reason, words)
    if done:
        wait_again(study, trial)
    return done


def wait_again(study: Study, trial: FrozenTrial) -> None:
    """Let the values of a trial wait under a new number."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={TAKES_UP: trial.number})


def requeue_abandoned(study: Study, watch: Watch, *, at_once: bool = False) -> list[int]:
    """Take from dead workers what they held, so that others go on with it; return the numbers of these trials.

    Args:
        study: The search.
        watch: What was seen so far.
        at_once: Do not wait for who may be about to let a failed trial's values wait again.
    """
    package, taken = optuna(), []
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        dead = trial.state == package.trial.TrialState.RUNNING and is_dead(trial, watch)
        if dead and give_up(study, trial, "died", "its worker died"):
            taken.append(trial.number)
    for place in places(trials):
        if place.is_owed and (at_once or watch.same_for_s(("owed", place.last.number), "") > ORPHAN_S):
            wait_again(study, place.last)
    return taken


def is_dead(trial: FrozenTrial, watch: Watch) -> bool:
    """Tell whether nobody works on a running trial any more."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:
        return watch.same_for_s(trial.number, "unclaimed") > UNCLAIMED_S
    here = lives_here(worker)
    if here is None:
        return watch.same_for_s(trial.number, (worker, trial.user_attrs.get(BEAT))) > SILENT_S
    return not here


def run_of(trial: FrozenTrial) -> Run | None:
    """Return what training a trial came to; None where it has not ended."""
    found: dict[str, Any] | None = trial.user_attrs.get(RUN)
    return None if found is None else Run(**{**found, "curve": tuple(found["curve"])})


def ranked(trials: Iterable[FrozenTrial], *, maximise: bool) -> list[FrozenTrial]:
    """Return the trials that were trained to a sound end, best first."""
    state = optuna().trial.TrialState.COMPLETE
    sound = [(run.value, t) for t in trials if t.state == state and (run := run_of(t)) and not run.diverged]
    return [trial for _, trial in sorted(sound, key=lambda one: (-one[0] if maximise else one[0], one[1].number))]


def records(trials: Iterable[FrozenTrial]) -> tuple[TrialRecord, ...]:
    """Return the records of trials, without those that were given back untrained."""
    return tuple(record(trial) for trial in trials if reason_of(trial) != "surplus")


def record(trial: FrozenTrial) -> TrialRecord:
    """Return the record of a trial."""
    states = optuna().trial.TrialState
    run = None if trial.state == states.FAIL else run_of(trial)  # it was killed after it had written what it came to
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
        worker=from_here(trial.user_attrs.get(WORKER, "")),
        folder=run.folder if run else "",
        ending=run.ending if run else trial.user_attrs.get(END, ["", ""])[1],
        started=_utc(trial.datetime_start),
        finished=_utc(trial.datetime_complete),
        takes_up=trial.user_attrs.get(TAKES_UP),
        diverged=run.diverged if run else False,
    )


def _utc(moment: datetime | None) -> str:
    """Return a moment of Optuna's, local and without a zone, as UTC in ISO 8601."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""
