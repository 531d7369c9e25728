"""Options of `rungs climb` and `rungs merge`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from tyro.conf import Suppress

from rungs.errors import require_between, require_share
from rungs.recipe.flags import Climbs, Data, Folder, Number, Out, Override, PathOrName, Rungs, Share
from rungs.study.ladder.outcome import Tell

MOST_SEEDS, MOST_EPOCHS = 1_000, 1_000_000
MOST_JOBS, MOST_PACKED = 64, 256


@dataclass(frozen=True)
class ClimbOptions:
    """Options of `rungs climb`.

    Raises:
        UserError: A number out of range.
    """

    ladder: PathOrName
    """Name (see rungs list ladders) or path of a TOML file."""
    overrides: Override = ()
    """Change a field of the base recipe, for all rungs (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images, instead of the base recipe's."""
    folder: Folder = field(default=None, compare=False)
    """Folder (default: climbs/NAME, plus a digest if the study differs from the ladder's file)."""
    seeds: Number = None
    """Number of seeds per rung, counted from 0 (default: the ladder's)."""
    only: Rungs = ()
    """Train this rung only (repeatable); rungs already trained stay in the report."""
    epochs: Number = None
    """Epochs of the base recipe; other rungs and all schedules are scaled in proportion."""
    images: Share = None
    """Share of the training images that each rung uses, above 0 and at most 1."""
    jobs: Number = field(default=None, compare=False)
    """Cells trained in parallel (default: up to 4, as a short probe finds fastest; on a GPU 1; 0: in this process)."""
    pack: Number = field(default=None, compare=False)
    """Seeds of a rung that one job trains together as one packed net, where possible (default: 1)."""
    skip_unreadable: bool = False
    """Leave unreadable files out instead of stopping."""
    tensorboard: bool = field(default=False, compare=False)
    """Also write events for TensorBoard into each cell's folder."""
    tell: Suppress[Tell] = field(default=lambda outcome, done, of: None, compare=False, repr=False)
    """Called with each `Outcome`, the number of cells done, and the total."""

    def __post_init__(self) -> None:
        require_between(self.seeds, 1, MOST_SEEDS, "--seeds")
        require_between(self.epochs, 1, MOST_EPOCHS, "--epochs")
        require_share(self.images, "--images")
        require_between(self.jobs, 0, MOST_JOBS, "--jobs")
        require_between(self.pack, 1, MOST_PACKED, "--pack")


@dataclass(frozen=True)
class MergeOptions:
    """Options of `rungs merge`."""

    climbs: Climbs
    """Two or more folders of climbs of one ladder, or copies of their ladder.json; of equal cells the first is kept."""
    _: KW_ONLY
    folder: Out = field(compare=False)
    """Folder for the record, the report and copies of the runs."""
