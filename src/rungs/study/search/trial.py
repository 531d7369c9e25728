"""One trial of a search: train it, ask the pruner after each epoch, report to the storage."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe import identity, shorten
from rungs.recipe import toml as recipes
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.study.search.ledger import BEAT, RUN, WORKER, Run, fail, run_of
from rungs.study.search.liveness import heartbeat, worker_id
from rungs.study.search.storage import optuna
from rungs.study.search.study import Work
from rungs.study.search.values import assignments
from rungs.training.device import open_world
from rungs.training.options import RunOptions
from rungs.training.run import run_recipe
from rungs.training.stopping import best_epoch

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

POLL_S = 0.5
"""Poll interval while waiting for another trial with the same values."""
BUSY_S = 60.0
"""How long a trial waits for a folder that another process still has locked."""


class TakenOver(Exception):  # noqa: N818 (an outcome, not an error)
    """Another worker took this trial over, for lack of heartbeats."""


def closed(recipe: Recipe) -> Recipe:
    """Return the recipe for trials: test set closed, training images not scored at the end."""
    made = shorten.closed(recipe)
    return replace(made, evaluation=replace(made.evaluation, score_train=False))


def recipe_of(work: Work, trial: Trial | FrozenTrial) -> Recipe:
    """Return the recipe of a trial."""
    chosen = assignments(work.space, trial.params)
    return recipes.parse(recipes.to_toml(work.recipe), work.recipe.name, chosen)


def folder_of(recipe: Recipe) -> str:
    """Return the run folder inside the search's folder: trials with equal values share it and are trained once."""
    return f"trials/{identity.digest(recipe)[:12]}"


def run_trial(work: Work, study: Study, trial: Trial) -> None:
    """Train a trial and report its result to the storage.

    Raises:
        TakenOver: Another worker has the trial now.
        Interrupted: A signal; what is trained is kept.
    """
    package = optuna()
    try:
        trial.set_user_attr(WORKER, worker_id())
        recipe = recipe_of(work, trial)
        with heartbeat(lambda: trial.storage.set_trial_user_attr(trial._trial_id, BEAT, time.time())):
            twin = finished_duplicate(study, trial)
            if twin is not None and (run := run_of(twin)) is not None:
                copy(study, trial, twin, run)
                return
            record = train(work, recipe, trial)
        tell(study, trial, run_of_record(work, record, folder_of(recipe)), pruned=record.status == "interrupted")
        shutil.rmtree(RunDir(work.folder / folder_of(recipe)).checkpoints, ignore_errors=True)  # it is never resumed
    except UserError as error:
        fail(study, frozen(study, trial), "failed", str(error))
    except (package.exceptions.UpdateFinishedTrialError, TakenOver) as error:
        raise TakenOver from error
    except Exception as error:  # a trial that fails must not stop the others
        if isinstance(error, package.exceptions.OptunaError):
            raise
        fail(study, frozen(study, trial), "failed", f"{type(error).__name__}: {error}")


def frozen(study: Study, trial: Trial) -> FrozenTrial:
    """Return a trial as the storage holds it."""
    return study._storage.get_trial(trial._trial_id)


def finished_duplicate(study: Study, trial: Trial) -> FrozenTrial | None:
    """Return an earlier trained trial with the same values; wait for one that is being trained.

    Raises:
        TakenOver: Another worker took this trial in the meantime.
    """
    states = optuna().trial.TrialState
    while True:
        same = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number and t.params == trial.params]
        done = [t for t in same if t.state in (states.COMPLETE, states.PRUNED)]
        if done:
            return done[0]
        if not any(t.state == states.RUNNING for t in same):
            return None
        if frozen(study, trial).state != states.RUNNING:
            raise TakenOver
        time.sleep(POLL_S)


def copy(study: Study, trial: Trial, twin: FrozenTrial, run: Run) -> None:
    """Copy the result of a trial with the same values."""
    ending = f"same values as trial {twin.number}, not retrained: {run.ending}"
    for epoch, value in sorted(twin.intermediate_values.items()):
        trial.report(value, epoch)
    pruned = twin.state == optuna().trial.TrialState.PRUNED
    tell(study, trial, Run(run.value, run.curve, 0.0, run.folder, ending, run.diverged), pruned=pruned)


def tell(study: Study, trial: Trial, run: Run, *, pruned: bool) -> None:
    """Write a trial's result to the storage."""
    states = optuna().trial.TrialState
    trial.set_user_attr(RUN, asdict(run))
    try:
        study.tell(trial, None if pruned else run.value, states.PRUNED if pruned else states.COMPLETE)
    except ValueError as error:  # it is no longer running
        raise TakenOver from error


def train(work: Work, recipe: Recipe, trial: Trial) -> RunRecord:
    """Train a trial, resuming from its last checkpoint if any; ask the pruner after each epoch."""
    folder, reported = RunDir(work.folder / folder_of(recipe)), set[int]()

    def report(rows: Sequence[EpochRow]) -> None:
        for row in rows:
            value = getattr(row, work.metric)
            if row.epoch not in reported and value is not None and math.isfinite(value):
                trial.report(value, row.epoch)
            reported.add(row.epoch)

    def keep_going(row: EpochRow) -> bool:
        report([*(history(folder) if row.epoch - 1 not in reported else ()), row])
        return row.epoch == recipe.training.epochs or work.pruner == "none" or not trial.should_prune()

    how = RunOptions(resume=True, skip_unreadable=work.skip_unreadable, keep_going=keep_going)
    deadline = time.monotonic() + BUSY_S
    with open_world() as world:
        while True:
            try:
                record = run_recipe(recipe, folder, world, how)
                break
            except UserError as error:
                if "another process is training here" not in error.what or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)  # a worker that just died still holds the lock
    report(record.history)
    return record


def history(folder: RunDir) -> list[EpochRow]:
    """Return the epochs that a run has already finished."""
    lines: list[bytes] = []
    with suppress(OSError):
        lines = folder.history.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=EpochRow) for line in lines]


def run_of_record(work: Work, record: RunRecord, folder: str) -> Run:
    """Return the result of a training run.

    A diverged run counts with its best epoch or, without one, with chance level: accuracy 1 / K, loss ln K. It is
    never among the best trials that are re-run.
    """
    rows, classes = record.history, len(record.data.classes)
    best = best_epoch(rows, record.recipe.stopping)
    value = None if best is None else getattr(rows[best - 1], work.metric)
    if value is None:
        value = 1 / classes if work.maximise else math.log(classes)
    diverged, ending = record.status == "diverged", record.ending
    if diverged:
        ending = f"diverged: {ending}" + ("" if rows else "; counted at chance level")
    if record.status == "interrupted":
        ending = f"pruned after epoch {len(rows)} of {record.recipe.training.epochs} ({work.pruner})"
    return Run(
        value=value,
        curve=tuple(getattr(row, work.metric) for row in rows),
        train_s=sum(row.train_s + row.validation_s for row in rows),
        folder=folder,
        ending=ending,
        diverged=diverged,
    )
