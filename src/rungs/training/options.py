"""Options of `rungs train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from tyro.conf import Suppress

from rungs.recipe.flags import Data, Folder, Number, Override, RecipeName
from rungs.run.record import EpochRow
from rungs.training.screen import Screen

if TYPE_CHECKING:
    from rungs.models.own import OwnNet


def always(row: EpochRow) -> bool:
    """Return True: keep training."""
    return True


@dataclass(frozen=True)
class RunOptions:
    """How a recipe is trained in a folder; nothing here changes the result.

    Attributes:
        resume: Resume from the newest checkpoint, bit for bit; a finished run is returned unchanged.
        skip_unreadable: Leave unreadable files out (the record names them) instead of stopping.
        tensorboard: Also write events.
        screen: What is shown; nothing by default.
        keep_going: Called after each epoch; training stops if it returns False (a search prunes so).
        model: The user's own net, if it was passed in Python.
    """

    resume: bool = False
    skip_unreadable: bool = False
    tensorboard: bool = False
    screen: Screen | None = None
    keep_going: Callable[[EpochRow], bool] = always
    model: OwnNet | None = None


@dataclass(frozen=True)
class TrainOptions:
    """Options of `rungs train`."""

    recipe: RecipeName
    """Name (see rungs list) or path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe, e.g. --set optim.lr=0.05 (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, csv:PATH, parquet:PATH, hub:OWNER/NAME."""
    folder: Folder = field(default=None, compare=False)
    """Run folder (default: runs/NAME-DIGEST, a new one each time unless resuming)."""
    seed: Number = None
    """Seed of split, weights, order and augmentation."""
    resume: bool = field(default=False, compare=False)
    """Resume the run in the folder."""
    skip_unreadable: bool = False
    """Leave unreadable files out instead of stopping; the record names them."""
    tensorboard: bool = field(default=False, compare=False)
    """Also write events for TensorBoard."""
    screen: Suppress[Screen | None] = field(default=None, compare=False, repr=False)
    """Progress display; none by default."""
    keep_going: Suppress[Callable[[EpochRow], bool]] = field(default=always, compare=False, repr=False)
    """Called after each epoch; return False to stop."""
    model: Suppress[Any] = field(default=None, compare=False, repr=False)
    """A net of your own in place of the recipe's: a class or a function that takes the keyword arguments `image_size`
    and `classes`, or an `nn.Module`, of which a copy is trained. To resume or to load such a run, give it again."""
