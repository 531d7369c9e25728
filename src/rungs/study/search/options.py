"""The options of a search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

from tyro.conf import Suppress, arg

from rungs.errors import UserError, require_between, require_one_of, require_share
from rungs.recipe.flags import Address, Data, Folder, HowMany, Number, Override, RecipeName, Share, Word
from rungs.study.search.space import Space

METRICS = ("validation_accuracy", "validation_loss")
SAMPLERS = ("tpe", "random", "grid", "gp")
PRUNERS = ("median", "hyperband", "none")
MOST_TRIALS, MOST_EPOCHS, MOST_TOP, MOST_SEEDS, MOST_WORKERS = 10_000, 1_000_000, 50, 100, 64

SpaceName: TypeAlias = Annotated[str | Path | Space, arg(constructor=str, metavar="SPACE")]


@dataclass(frozen=True)
class SearchOptions:
    """What a search is asked for.

    Raises:
        UserError: A number out of range, an unknown sampler or pruner, a metric of the test set.
    """

    recipe: RecipeName
    """Name (see rungs list) or path of a TOML file."""
    space: SpaceName
    """What is searched: a name (see rungs list spaces) or the path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe, below all trials (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Another source of images than the recipe's."""
    trials: Number = None
    """Trials in all, on all machines, earlier ones included (default: 30; with --sampler grid all its points)."""
    workers: Number = field(default=None, compare=False)
    """Trials trained at once here (default: 1 on a GPU, else as many as cores, at most 4; 0: in this process)."""
    sampler: Word = "tpe"
    """tpe, random, grid or gp."""
    pruner: Word = "median"
    """median, hyperband or none: what ends a trial early that falls behind."""
    metric: Word = "validation_accuracy"
    """validation_accuracy or validation_loss, of a trial's best epoch."""
    epochs: Number = None
    """Epochs of each trial and re-run; schedules change in proportion."""
    images: Share = None
    """Share of the training images that each trial uses, above 0 and at most 1."""
    storage: Address = None
    """Any storage of Optuna's: sqlite:///FILE, postgresql://…, mysql://… (default: a journal in the folder)."""
    top: HowMany = 3
    """Best trials that are re-run on fresh seeds."""
    seeds: HowMany = 3
    """Fresh seeds for each of these and for the recipe as it was."""
    sampler_seed: HowMany = 0
    """Seed of the sampler; the recipe's own seed trains."""
    folder: Folder = None
    """Folder (default: searches/RECIPE-SPACE-DIGEST)."""
    skip_unreadable: bool = False
    """Leave unreadable files out instead of stopping."""
    tell: Suppress[Callable[..., None]] = field(default=lambda trial, done, of: None, compare=False, repr=False)
    """Called with each `TrialRecord` that was trained here, the number of trials that are done, and of all."""
    tell_final: Suppress[Callable[..., None]] = field(default=lambda outcome, done, of: None, compare=False, repr=False)
    """Called with the `Outcome` of each re-run, the number of those that are done, and of all."""

    def __post_init__(self) -> None:
        if "test" in self.metric:
            what = "a search never reads the test set: what is chosen by it is not tested by it"
            do = "search by validation_accuracy or validation_loss; the winner is scored on the test set, once"
            raise UserError(what, where=f"--metric {self.metric}", do=do)
        require_one_of(self.metric, METRICS, "--metric")
        require_one_of(self.sampler, SAMPLERS, "--sampler")
        require_one_of(self.pruner, PRUNERS, "--pruner")
        require_between(self.trials, 1, MOST_TRIALS, "--trials")
        require_between(self.workers, 0, MOST_WORKERS, "--workers")
        require_between(self.epochs, 1, MOST_EPOCHS, "--epochs")
        require_share(self.images, "--images")
        require_between(self.top, 1, MOST_TOP, "--top")
        require_between(self.seeds, 1, MOST_SEEDS, "--seeds")
