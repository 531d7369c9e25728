"""The options of trying the cures of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from tyro.conf import Suppress

from rungs.errors import require_between, require_share
from rungs.recipe.flags import Data, Number, PathOrName, Rules, Share
from rungs.study.ladder.options import MOST_EPOCHS, MOST_JOBS, MOST_SEEDS


@dataclass(frozen=True)
class CureOptions:
    """What trying the cures of a run is asked for.

    Raises:
        UserError: A number out of range.
    """

    run: PathOrName
    """Folder of a run that has ended."""
    _: KW_ONLY
    seeds: Number = None
    """Seeds of each cure, from 0 (default: 3)."""
    epochs: Number = None
    """Epochs of the run's recipe; cures and schedules change in proportion."""
    images: Share = None
    """Share of the training images to use, above 0 and at most 1."""
    jobs: Number = None
    """Trainings at once (default: 1 on a GPU, else as many as there are cores, at most 4; 0: in this process)."""
    only: Rules = ()
    """Try the cure of this finding only (repeatable)."""
    data: Data = None
    """Another source of images than the run's."""
    tell: Suppress[Callable[..., None]] = field(default=lambda outcome, done, of: None, compare=False, repr=False)
    """Called with each `Outcome`, the number of cells that are done, and of all."""

    def __post_init__(self) -> None:
        require_between(self.seeds, 1, MOST_SEEDS, "--seeds")
        require_between(self.epochs, 1, MOST_EPOCHS, "--epochs")
        require_share(self.images, "--images")
        require_between(self.jobs, 0, MOST_JOBS, "--jobs")
