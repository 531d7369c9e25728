"""Options of `rungs diagnose`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from tyro.conf import Suppress

from rungs.errors import require_between, require_share
from rungs.recipe.flags import Data, Number, PathOrName, Rules, Share
from rungs.study.ladder.options import MOST_EPOCHS, MOST_JOBS, MOST_SEEDS
from rungs.study.ladder.outcome import Tell


@dataclass(frozen=True)
class CureOptions:
    """Options of `rungs diagnose`.

    Raises:
        UserError: A number out of range.
    """

    run: PathOrName
    """Folder of a run that has ended."""
    _: KW_ONLY
    seeds: Number = None
    """Number of seeds per fix, counted from 0 (default: 3)."""
    epochs: Number = None
    """Epochs of the run's recipe; fixes and schedules are scaled in proportion."""
    images: Share = None
    """Share of the training images to use, above 0 and at most 1."""
    jobs: Number = None
    """Runs trained in parallel (default: up to 4, as a short probe finds fastest; on a GPU 1; 0: in this process)."""
    only: Rules = ()
    """Try the fix of this finding only (repeatable)."""
    data: Data = None
    """Source of images, instead of the run's."""
    tell: Suppress[Tell] = field(default=lambda outcome, done, of: None, compare=False, repr=False)
    """Called with each `Outcome`, the number of cells done, and the total."""

    def __post_init__(self) -> None:
        require_between(self.seeds, 1, MOST_SEEDS, "--seeds")
        require_between(self.epochs, 1, MOST_EPOCHS, "--epochs")
        require_share(self.images, "--images")
        require_between(self.jobs, 0, MOST_JOBS, "--jobs")
