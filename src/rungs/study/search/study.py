"""What a search asks of Optuna: the study that it makes or joins, its distributions, sampler and pruner."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rungs.errors import UserError
from rungs.recipe import identity
from rungs.recipe.spec import Recipe
from rungs.run.looks import without_password
from rungs.study.processes import default_jobs
from rungs.study.search.options import SearchOptions
from rungs.study.search.record import Metric, SearchDir
from rungs.study.search.space import Field, Scalar, Space, key
from rungs.study.search.storage import open_storage, optuna
from rungs.study.search.values import grid, own_values

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STARTUP = 5
"""Trials that run to their end before the median of others ends one; Optuna's default."""
WARMUP_SHARE = 1 / 3
"""Of the epochs, in which the median prunes no trial: a one-cycle schedule's rate still rises in the first 0.3."""
REDUCTION = 3
"""Hyperband (Li et al. 2018, JMLR 18:185): each rung keeps one in three; the shortest have a ninth of the epochs."""
READY_S = 60.0
"""Who joins a search waits so long for who made it to lay out the first trials; then it does so itself."""
GOAL, DATA, READY = "goal", "data_hash", "ready"
"""User attributes of a study: what is searched (a table), the hash of the images, that the first trials are there."""


@dataclass(frozen=True)
class Work:
    """All that a worker must know of a search."""

    name: str  # of the study
    address: str  # of the storage, with its password
    recipe: Recipe  # that the trials vary, shortened, its test set closed
    space: Space
    metric: Metric
    trials: int
    sampler: str
    pruner: str
    sampler_seed: int
    folder: Path
    skip_unreadable: bool

    @property
    def maximise(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric == "validation_accuracy"


@dataclass(frozen=True)
class Search:
    """A search as it will be run."""

    options: SearchOptions
    work: Work
    goal: dict[str, object]  # what makes it this one and no other
    folder: SearchDir
    command: str
    reduced: tuple[str, ...]
    score_test: bool  # whether the winner is scored on it

    @property
    def workers(self) -> int:
        """Trials, and then re-runs, trained at once here."""
        return default_jobs() if self.options.workers is None else self.options.workers


def goal(recipe: Recipe, space: Space, options: SearchOptions) -> dict[str, object]:
    """Return what makes a search this one and no other, as a table that can be stored.

    Numbers of trials, workers, re-runs and what a space says of itself are not part of it.
    """
    import msgspec

    return {
        "recipe": identity.digest(recipe),
        "fields": msgspec.to_builtins(space.fields),
        "metric": options.metric,
        "sampler": options.sampler,
        "pruner": options.pruner,
        "sampler_seed": options.sampler_seed,
    }


def digest(what: dict[str, object]) -> str:
    """Return six hex digits of a goal."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:6]


def distributions(space: Space) -> dict[str, Any]:
    """Return Optuna's distribution of each field."""
    return {field.field: _distribution(field) for field in space.fields}


def _distribution(field: Field) -> Any:
    package = optuna().distributions
    if field.choices:
        return package.CategoricalDistribution([key(choice) for choice in field.choices])
    assert field.low is not None and field.high is not None
    if isinstance(field.low, int):
        return package.IntDistribution(field.low, field.high, log=field.log, step=field.step or 1)
    return package.FloatDistribution(field.low, field.high, log=field.log, step=field.step)


class Sampler:
    """Draws each trial with a sampler of Optuna's whose seed is made of the trial's number.

    So no two workers draw the same, wherever they are, one that is replaced does not repeat its predecessor, and one
    worker alone always makes the same search, interrupted or not. Optuna asks for these methods of
    `optuna.samplers.BaseSampler`.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self.inner = self._made(0)

    def _made(self, number: int) -> Any:
        """Return a sampler for a trial.

        TPE: Bergstra et al. 2011, NeurIPS 24; that trials under way count as bad ones ("constant liar") keeps workers
        from asking for the same. GP: a Gaussian process with expected improvement.
        """
        package = optuna().samplers
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {number}".encode()).digest()[:4], "big")
        if self.kind == "gp":
            return package.GPSampler(seed=seed)
        if self.kind == "tpe":
            return package.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return package.RandomSampler(seed=seed)  # for a grid, too, whose trials are laid out: nothing is drawn

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Take the seed of a trial."""
        self.inner = self._made(trial.number)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Any:
        """Return the fields that are drawn together."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> Any:
        """Return values of these fields."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """Return the value of a field that is drawn by itself."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        """Hear of a trial's end."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: the seed is the trial's."""


def pruner(work: Work) -> Any:
    """Return the pruner."""
    package, epochs = optuna().pruners, work.recipe.training.epochs
    if work.pruner == "median":
        return package.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=max(1, round(WARMUP_SHARE * epochs)))
    if work.pruner == "hyperband":
        shortest = max(1, epochs // REDUCTION**2)
        return package.HyperbandPruner(min_resource=shortest, max_resource=epochs, reduction_factor=REDUCTION)
    return package.NopPruner()


def join(work: Work) -> Study:
    """Return the study of a search that was begun.

    Raises:
        UserError: Its storage cannot be reached.
    """
    storage, drawing = open_storage(work.address), Sampler(work.sampler, work.sampler_seed)
    return optuna().load_study(  # type: ignore[no-any-return]
        study_name=work.name, storage=storage, sampler=drawing, pruner=pruner(work)
    )


def begin_or_join(work: Work, what: dict[str, Any], data_hash: str) -> Study:
    """Make the study with its first trials, or join the one that is there.

    Args:
        work: The search.
        what: Its goal.
        data_hash: Of the images.

    Raises:
        UserError: The storage cannot be reached, or holds another search, or the same one on other images.
    """
    package, storage = optuna(), open_storage(work.address)
    _require_no_other(work, storage, what)
    direction = "maximize" if work.maximise else "minimize"
    is_mine = True
    try:
        package.create_study(study_name=work.name, storage=storage, direction=direction)
    except package.exceptions.DuplicatedStudyError:
        is_mine = False
    study: Study = package.load_study(study_name=work.name, storage=storage)
    if not is_mine and _was_laid_out(study):
        _require_same_data(work, study, data_hash)
        return study
    for name, value in ((GOAL, what), (DATA, data_hash)):
        study.set_user_attr(name, value)
    for params in first_trials(work):
        study.enqueue_trial(params, skip_if_exists=True)
    study.set_user_attr(READY, True)
    return study


def first_trials(work: Work) -> list[dict[str, Scalar]]:
    """Return the values that are tried in any case: the recipe's own, if they lie in the space, and a grid's."""
    own = own_values(work.space, work.recipe)
    if work.sampler != "grid":
        return [] if own is None else [own]
    points = grid(work.space)
    return sorted(points, key=lambda point: point != own)[: work.trials]  # a sort keeps the order of equals


def _was_laid_out(study: Study) -> bool:
    """Wait until the first trials of a study are there; return False if they do not come."""
    deadline = time.monotonic() + READY_S
    while not study.user_attrs.get(READY):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _require_no_other(work: Work, storage: BaseStorage, what: dict[str, Any]) -> None:
    """Refuse the journal of another search; a database may hold many."""
    if "://" in work.address:
        return
    found = storage.get_all_studies()
    if not found or any(study.study_name == work.name for study in found):
        return
    before = found[0].user_attrs.get(GOAL, {})
    differs = [name for name in what if before.get(name) != what[name]] or ["name"]
    said = {
        "fields": "the space's fields",
        "recipe": "the recipe (or its --set, --data, --epochs, --images)",
        "sampler_seed": "--sampler-seed",
    }
    what_differs = ", ".join(said.get(name, name) for name in differs)
    text = f"this journal is of another search, {found[0].study_name}: {what_differs} differ"
    raise UserError(text, where=work.address, do="give another --out or --storage, or the command as it was then")


def _require_same_data(work: Work, study: Study, data_hash: str) -> None:
    if study.user_attrs.get(DATA) not in (None, data_hash):
        what = f"search {work.name} was begun on other images: their hash differs, though the recipe is the same"
        do = "give the images of then, or begin a search of its own: --out (or --storage) elsewhere"
        raise UserError(what, where=without_password(work.address), do=do)
