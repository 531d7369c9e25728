"""Options of `rungs train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from tyro.conf import Suppress

from rungs.errors import UserError
from rungs.recipe.flags import Data, Folder, Layout, Number, OptionalRate, Override, RecipeName
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


SHORT = {
    "layout": "data.layout",
    "image_size": "data.image_size",
    "folds": "data.folds",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "lr": "optim.lr",
}
"""Options that are short for an assignment to a field of the recipe."""


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
    layout: Layout = None
    """What the folders of the source stand for, from the top; short for --set data.layout=…"""
    image_size: Number = None
    """Pixels, height and width; short for --set data.image_size=…"""
    folds: Number = None
    """Cross-validation with so many folds; short for --set data.folds=…"""
    epochs: Number = None
    """Short for --set training.epochs=…"""
    batch_size: Number = None
    """Short for --set training.batch_size=…"""
    lr: OptionalRate = None
    """Learning rate; short for --set optim.lr=…"""
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


def assignments(options: TrainOptions) -> tuple[str, ...]:
    """Return the changes of the recipe: those after `--set`, and those that the short options stand for.

    Raises:
        UserError: A field was given in both ways.
    """
    short = {field: value for name, field in SHORT.items() if (value := getattr(options, name)) is not None}
    for one in options.overrides:
        field = one.partition("=")[0].strip()
        if field in short:
            flag = next(name for name in SHORT if SHORT[name] == field).replace("_", "-")
            raise UserError(f"--{flag} {short[field]} and --set {one} were given together", do="give one of them")
    return (*options.overrides, *(f"{field}={value}" for field, value in short.items()))
