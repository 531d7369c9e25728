"""From finished trials to the record of a search: the finals, the winner, its score on the test set."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir, write_whole
from rungs.run.looks import openings, read, without_password
from rungs.run.record import Environment, to_json
from rungs.study.measures import system
from rungs.study.search import finals, ledger, page
from rungs.study.search.claim import Claim
from rungs.study.search.record import SearchDir, SearchRecord
from rungs.study.search.storage import is_database, optuna
from rungs.study.search.study import Search
from rungs.study.search.verdict import judged
from rungs.training.dataset import Dataset
from rungs.training.device import World, environment

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STAYED_CLOSED = " The test set stayed closed, as evaluation.score_test = false asks."


def conclude(plan: Search, study: Study, resolved: Recipe, dataset: Dataset) -> SearchRecord:
    """Complete a search whose trials are done: finals, winner, test score, record.

    Args:
        plan: The search.
        study: Holds its trials.
        resolved: The recipe that they vary, with the fields that a run fills in.
        dataset: Its images.

    Raises:
        UserError: No trial, or no finalist, finished successfully.
        Interrupted: A signal; what is trained is kept.
    """
    with ExitStack() as stack:
        _lock(plan.folder, stack)  # one process runs the finals; others wait here, then find them done
        before = plan.folder.read_record() if plan.folder.record.is_file() else None
        record = _record(plan, study, resolved, dataset)
        ranked = ledger.ranked(study.get_trials(deepcopy=False), maximise=plan.work.maximise)
        if before is None or before.finals is None:
            _write(record, plan.folder)
        if not ranked:
            _refuse_empty(plan, record)
        claim = Claim(plan.work, plan.folder) if is_database(plan.work.address) else None
        if elsewhere := claim.elsewhere() if claim else "":
            return _without_finals(plan, record, before, elsewhere)
        with claim.heartbeat() if claim else nullcontext():
            record = _with_finals(plan, record, ranked, before, claim)
        _write(record, plan.folder)
    return record


def _without_finals(plan: Search, record: SearchRecord, before: SearchRecord | None, why: str) -> SearchRecord:
    """Write and return the record of a search whose finals run elsewhere; a record with finals stays unchanged."""
    if before is not None and before.finals is not None:
        return before
    record = replace(record, verdict=why)
    _write(record, plan.folder)
    return record


def _lock(folder: SearchDir, stack: ExitStack) -> None:
    """Lock the folder, waiting for any process that runs finals in it."""
    while True:
        try:
            stack.enter_context(folder.locked())
            return
        except UserError:
            time.sleep(0.5)


def _refuse_empty(plan: Search, record: SearchRecord) -> None:
    endings = sorted({f"trial {trial.number}: {trial.ending}" for trial in record.trials})
    what = "no trial finished successfully" + "".join(f"\n  {ending}" for ending in endings[:5])
    raise UserError(what, where=plan.folder.path, do="fix the errors above, then search with another --out")


def _with_finals(
    plan: Search,
    record: SearchRecord,
    ranked: Sequence[FrozenTrial],
    before: SearchRecord | None,
    claim: Claim | None,
) -> SearchRecord:
    """Return the record with finals, winner and, unless the test set stays closed, the winner's test score."""
    best = finals.best_distinct(plan.work, ranked, plan.options.top)
    found = finals.run(plan, best, finals.own_trial(plan.work, ranked))
    if claim is not None and not claim.close():
        return _without_finals(plan, record, before, claim.elsewhere())  # taken over while this process was suspended
    test, accuracies = finals.score_once(plan, found, record.data, before)
    closed = STAYED_CLOSED * (test is None and not plan.score_test)
    opened = openings(read(plan.folder.looks))
    warning = f" The test set was opened {opened} times in this search: its score is no longer fresh." * (opened > 1)
    record = replace(
        record,
        finals=found.record,
        finalists=found.finalists,
        winner=found.finalists[0].name,
        test=test,
        test_accuracies=accuracies,
        environment=found.record.environment,
        finished=max(record.finished, found.record.finished),
        train_s=record.train_s + found.record.train_s,
    )
    record = judged(record)
    return replace(record, verdict=record.verdict + closed + warning)


def _record(plan: Search, study: Study, resolved: Recipe, dataset: Dataset) -> SearchRecord:
    """Return the record of the trials alone."""
    work = plan.work
    done = ledger.records(study.get_trials(deepcopy=False))
    shares, by = importance(study, len(work.space.fields))
    folders = {trial.number: trial.folder if (work.folder / trial.folder).is_dir() else "" for trial in done}
    return SearchRecord(
        name=work.name,
        command=plan.command,
        dashboard=shlex.join(["optuna-dashboard", without_password(work.address)]),
        space=work.space,
        recipe=resolved,
        reduced=plan.reduced,
        metric=work.metric,
        sampler=work.sampler,
        pruner=work.pruner,
        storage=without_password(work.address),
        trials=tuple(replace(trial, folder=folders[trial.number]) for trial in done),
        importance=shares,
        importance_by=by,
        data=replace(dataset.record, origin=Path(dataset.record.origin).name),
        environment=_environment(plan, folders.values()),
        started=min((trial.started for trial in done if trial.started), default=""),
        finished=max((trial.finished for trial in done), default=""),
        train_s=sum(trial.train_s for trial in done),
    )


def _environment(plan: Search, folders: Iterable[str]) -> Environment:
    """Return the environment of a trial trained here, else of this process."""
    for folder in folders:
        place = RunDir(plan.folder.path / folder)
        if folder and place.record.is_file():
            found = place.read_record().environment
            return replace(found, platform=system(found.platform))
    found = environment(World(0, 1, open_device()), plan.work.recipe.training.precision, "")
    return replace(found, platform=system(found.platform))


def _write(record: SearchRecord, folder: SearchDir) -> None:
    """Write the record and its report."""
    write_whole(folder.record, to_json(record))
    page.write(record, folder)


FEWEST = 8
"""Complete trials; a random forest over fewer fits mostly noise."""
EVALUATORS = (
    ("FanovaImportanceEvaluator", "fANOVA (Hutter, Hoos and Leyton-Brown 2014, PMLR 32:754) over {n} complete trials"),
    ("PedAnovaImportanceEvaluator", "PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255) over {n} complete trials"),
)


def importance(study: Study, fields: int) -> tuple[dict[str, float], str]:
    """Return each field's share of the metric's variance explained by the fields, and how it was estimated.

    Args:
        study: The search.
        fields: How many it varies.

    Returns:
        ({}, reason) with too few trials or a single field.
    """
    package = optuna()
    whole = study.get_trials(deepcopy=False, states=(package.trial.TrialState.COMPLETE,))
    if fields < 2:
        return {}, "one field alone explains all"
    if len(whole) < FEWEST:
        trials = "trial is" if len(whole) == 1 else "trials are"
        return {}, f"{len(whole)} complete {trials} too few: {FEWEST} are needed"
    for name, words in EVALUATORS:
        with suppress(ValueError, RuntimeError, ZeroDivisionError):
            made = getattr(package.importance, name)
            evaluator = made(seed=0) if name.startswith("Fanova") else made()
            found = package.importance.get_param_importances(study, evaluator=evaluator)
            total = sum(found.values())
            if total > 0:
                return {field: float(share / total) for field, share in found.items()}, words.format(n=len(whole))
    return {}, "all complete trials have about the same value"
