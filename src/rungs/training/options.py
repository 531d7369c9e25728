"""The options of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field

from tyro.conf import Suppress

from rungs.recipe.flags import Data, Folder, Number, Override, RecipeName
from rungs.run.record import EpochRow
from rungs.training.screen import Screen


@dataclass(frozen=True)
class TrainOptions:
    """What a training is asked for."""

    recipe: RecipeName
    """Name (see rungs list) or path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe, e.g. --set optim.lr=0.05 (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME."""
    folder: Folder = field(default=None, compare=False)
    """Run folder (default: runs/NAME-DIGEST, a new one each time unless a run is resumed)."""
    seed: Number = None
    """Seed of split, weights, order and augmentation."""
    resume: bool = field(default=False, compare=False)
    """Go on where the run in the folder stopped."""
    skip_unreadable: bool = False
    """Leave unreadable files out instead of stopping; the record names them."""
    tensorboard: bool = field(default=False, compare=False)
    """Also write events for TensorBoard."""
    screen: Suppress[Screen | None] = field(default=None, compare=False, repr=False)
    """What to show; nothing by default."""
    keep_going: Suppress[Callable[[EpochRow], bool]] = field(default=lambda row: True, compare=False, repr=False)
    """Asked after each epoch; answer False to stop."""
