"""The Optuna side of a search: its study, distributions, sampler and pruner."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rungs.errors import UserError
from rungs.recipe import identity
from rungs.recipe.spec import Recipe
from rungs.run.looks import without_password
from rungs.study.ladder.jobs import Jobs, choose_jobs
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
"""Complete trials before median pruning starts; Optuna's default."""
WARMUP_SHARE = 1 / 3
"""Share of the epochs without median pruning: a one-cycle learning rate still rises in the first 0.3."""
REDUCTION = 3
"""Hyperband (Li et al. 2018, JMLR 18:185): each rung keeps one in three; the shortest have a ninth of the epochs."""
READY_S = 60.0
"""How long a joining worker waits for the creator to enqueue the first trials; then it enqueues them itself."""
GOAL, DATA, READY = "goal", "data_hash", "ready"
"""User attributes of a study: the search's goal (a table), the images' hash, whether the first trials are enqueued."""


@dataclass(frozen=True)
class Work:
    """Everything that a worker needs to know about a search."""

    name: str  # of the study
    address: str  # of the storage, including its password
    recipe: Recipe  # base of the trials, shortened, without the test set
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
        """Whether higher is better."""
        return self.metric == "validation_accuracy"


@dataclass(frozen=True)
class Goal:
    """What identifies a search.

    The numbers of trials, workers and re-runs and the space's name and description are not part of it.
    """

    recipe: str  # the digest of what the trials train
    fields: tuple[Field, ...]
    metric: str
    sampler: str
    pruner: str
    sampler_seed: int

    def table(self) -> dict[str, object]:
        """Return it as a table, as the storages of searches hold it: one that differs refuses to be joined."""
        return {
            "recipe": self.recipe,
            "fields": msgspec.to_builtins(self.fields),
            "metric": self.metric,
            "sampler": self.sampler,
            "pruner": self.pruner,
            "sampler_seed": self.sampler_seed,
        }

    @property
    def digest(self) -> str:
        """Six hex digits."""
        return hashlib.sha256(json.dumps(self.table(), sort_keys=True).encode()).hexdigest()[:6]


@dataclass(frozen=True)
class Search:
    """A search, ready to run."""

    options: SearchOptions
    work: Work
    goal: Goal
    folder: SearchDir
    command: str
    reduced: tuple[str, ...]
    score_test: bool  # whether to score the winner on the test set

    @cached_property
    def parallel(self) -> Jobs:
        """How many trials, and later re-runs, are trained in parallel here, and why; a probe measures it once."""
        if self.options.workers is not None:
            return Jobs(self.options.workers)
        return choose_jobs(self.work.recipe, self.work.trials)

    @property
    def workers(self) -> int:
        """Parallel trials, and later re-runs, here."""
        return self.parallel.number


def goal_of(recipe: Recipe, space: Space, options: SearchOptions) -> Goal:
    """Return what identifies a search."""
    return Goal(
        recipe=identity.digest(recipe),
        fields=space.fields,
        metric=options.metric,
        sampler=options.sampler,
        pruner=options.pruner,
        sampler_seed=options.sampler_seed,
    )


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
    """Samples each trial with an Optuna sampler whose seed is derived from the trial's number.

    So no two workers sample the same values, on any machine; a replaced worker does not repeat its predecessor; and a
    single worker always runs the same search, interrupted or not. Optuna needs these methods of
    `optuna.samplers.BaseSampler`.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self.inner = self._build(0)

    def _build(self, number: int) -> Any:
        """Return the sampler for a trial.

        TPE: Bergstra et al. 2011, NeurIPS 24; counting running trials as bad ones ("constant liar") keeps parallel
        workers from sampling the same values. GP: a Gaussian process with expected improvement.
        """
        package = optuna().samplers
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {number}".encode()).digest()[:4], "big")
        if self.kind == "gp":
            return package.GPSampler(seed=seed)
        if self.kind == "tpe":
            return package.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return package.RandomSampler(seed=seed)  # also for a grid, whose trials are enqueued, not sampled

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed the sampler for a trial."""
        self.inner = self._build(trial.number)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Any:
        """Return the fields that are sampled together."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Any) -> Any:
        """Return values of these fields."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """Return the value of a field that is sampled on its own."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        """Handle the end of a trial."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: each trial sets the seed."""


def pruner(work: Work) -> Any:
    """Return the pruner."""
    package, epochs = optuna().pruners, work.recipe.training.epochs
    if work.pruner == "median":
        return package.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=max(1, round(WARMUP_SHARE * epochs)))
    if work.pruner == "hyperband":
        shortest = max(1, epochs // REDUCTION**2)
        return package.HyperbandPruner(min_resource=shortest, max_resource=epochs, reduction_factor=REDUCTION)
    return package.NopPruner()


def load_study(work: Work) -> Study:
    """Load the study of an existing search.

    Raises:
        UserError: Its storage cannot be reached.
    """
    storage, drawing = open_storage(work.address), Sampler(work.sampler, work.sampler_seed)
    return optuna().load_study(  # type: ignore[no-any-return]
        study_name=work.name, storage=storage, sampler=drawing, pruner=pruner(work)
    )


def create_or_load(work: Work, goal: Goal, data_hash: str) -> Study:
    """Create the study with its first trials, or load it if it exists.

    Args:
        work: The search.
        goal: What identifies it.
        data_hash: Of the images.

    Raises:
        UserError: The storage cannot be reached, or holds another search, or the same search on other images.
    """
    package, storage = optuna(), open_storage(work.address)
    _require_same_search(work, storage, goal)
    direction = "maximize" if work.maximise else "minimize"
    is_new = True
    try:
        package.create_study(study_name=work.name, storage=storage, direction=direction)
    except package.exceptions.DuplicatedStudyError:
        is_new = False
    study: Study = package.load_study(study_name=work.name, storage=storage)
    if not is_new and _first_trials_ready(study):
        _require_same_data(work, study, data_hash)
        return study
    for name, value in ((GOAL, goal.table()), (DATA, data_hash)):
        study.set_user_attr(name, value)
    for params in first_trials(work):
        study.enqueue_trial(params, skip_if_exists=True)
    study.set_user_attr(READY, True)
    return study


def first_trials(work: Work) -> list[dict[str, Scalar]]:
    """Return the values that are always tried: the recipe's own, if they lie in the space, and a grid's."""
    own = own_values(work.space, work.recipe)
    if work.sampler != "grid":
        return [] if own is None else [own]
    points = grid(work.space)
    return sorted(points, key=lambda point: point != own)[: work.trials]  # a sort keeps the order of equals


def _first_trials_ready(study: Study) -> bool:
    """Wait until the first trials of a study are enqueued; return False on timeout."""
    deadline = time.monotonic() + READY_S
    while not study.user_attrs.get(READY):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _require_same_search(work: Work, storage: BaseStorage, goal: Goal) -> None:
    """Reject the journal of another search; a database may hold many."""
    if "://" in work.address:
        return
    found = storage.get_all_studies()
    if not found or any(study.study_name == work.name for study in found):
        return
    before, mine = found[0].user_attrs.get(GOAL, {}), goal.table()
    differs = [name for name in mine if before.get(name) != mine[name]] or ["name"]
    labels = {
        "fields": "the space's fields",
        "recipe": "the recipe (or its --set, --data, --epochs, --images)",
        "sampler_seed": "--sampler-seed",
    }
    what_differs = ", ".join(labels.get(name, name) for name in differs)
    text = f"this journal belongs to another search, {found[0].study_name}; these differ: {what_differs}"
    raise UserError(text, where=work.address, do="give another --out or --storage, or the original command")


def _require_same_data(work: Work, study: Study, data_hash: str) -> None:
    if study.user_attrs.get(DATA) not in (None, data_hash):
        what = f"search {work.name} was started on other images: same recipe, different hash"
        do = "use the original images, or start a new search with another --out (or --storage)"
        raise UserError(what, where=without_password(work.address), do=do)
