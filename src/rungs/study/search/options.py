"""Options of `rungs tune`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

from tyro.conf import Suppress, arg

from rungs.errors import UserError, require_between, require_one_of, require_share
from rungs.recipe.flags import Address, Data, Folder, HowMany, Number, Override, RecipeName, Share, Word
from rungs.study.ladder.outcome import Tell
from rungs.study.search.space import Space

METRICS = ("validation_accuracy", "validation_loss")
SAMPLERS = ("tpe", "random", "grid", "gp")
PRUNERS = ("median", "hyperband", "none")
MOST_TRIALS, MOST_EPOCHS, MOST_TOP, MOST_SEEDS, MOST_WORKERS = 10_000, 1_000_000, 50, 100, 64

SpaceName: TypeAlias = Annotated[str | Path | Space, arg(constructor=str, metavar="SPACE")]


@dataclass(frozen=True)
class SearchOptions:
    """Options of `rungs tune`.

    Raises:
        UserError: A number out of range, an unknown sampler or pruner, a test-set metric.
    """

    recipe: RecipeName
    """Name (see rungs list) or path of a TOML file."""
    space: SpaceName
    """Search space: a name (see rungs list spaces) or the path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe for all trials (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images, in place of the recipe's."""
    trials: Number = None
    """Total trials on all machines, earlier ones included (default: 30; with --sampler grid all its points)."""
    workers: Number = field(default=None, compare=False)
    """Parallel trials here (default: up to 4, as a short probe finds fastest; on a GPU 1; 0: in this process)."""
    sampler: Word = "tpe"
    """tpe, random, grid or gp."""
    pruner: Word = "median"
    """median, hyperband or none: stops trials that fall behind."""
    metric: Word = "validation_accuracy"
    """validation_accuracy or validation_loss, at a trial's best epoch."""
    epochs: Number = None
    """Epochs of each trial and re-run; schedules change in proportion."""
    images: Share = None
    """Share of the training images that each trial uses, above 0 and at most 1."""
    storage: Address = None
    """Any Optuna storage: sqlite:///FILE, postgresql://…, mysql://… (default: a journal in the folder)."""
    top: HowMany = 3
    """Number of best trials to retrain on fresh seeds."""
    seeds: HowMany = 3
    """Fresh seeds for each of these and for the unchanged recipe."""
    sampler_seed: HowMany = 0
    """Seed of the sampler; training uses the recipe's seed."""
    folder: Folder = None
    """Folder (default: searches/RECIPE-SPACE-DIGEST)."""
    skip_unreadable: bool = False
    """Skip unreadable files instead of stopping."""
    tell: Suppress[Callable[..., None]] = field(default=lambda trial, done, of: None, compare=False, repr=False)
    """Called with each `TrialRecord` trained here, the number of trials done, and the total."""
    tell_final: Suppress[Tell] = field(default=lambda outcome, done, of: None, compare=False, repr=False)
    """Called with the `Outcome` of each re-run, the number done, and the total."""

    def __post_init__(self) -> None:
        if "test" in self.metric:
            what = "a search never reads the test set: a score used for selection is no longer a test score"
            do = "use validation_accuracy or validation_loss; the winner is scored on the test set once"
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
