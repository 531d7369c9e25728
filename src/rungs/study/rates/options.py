"""Options of `rungs lr-find`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeAlias

from tyro.conf import Suppress

from rungs.errors import UserError, require_between, require_positive
from rungs.recipe.flags import Data, Folder, HowMany, Number, Override, Rate, RecipeName

LOW, HIGH = 1e-6, 10.0
FEWEST_STEPS, MOST_STEPS = 20, 100_000
"""With fewer steps the curve cannot be read."""
MOST_SEEDS, MOST_EPOCHS = 100, 10_000
DECADE = 10.0
"""Least ratio of the highest rate to the lowest."""

Tell: TypeAlias = Callable[[str], None]
"""Called with a short progress message."""


@dataclass(frozen=True)
class RateOptions:
    """Options of `rungs lr-find`.

    Raises:
        UserError: A number out of range, or too narrow a range of rates.
    """

    recipe: RecipeName
    """Name (see rungs list) or path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe, e.g. --set training.batch_size=128 (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, csv:PATH, parquet:PATH, hub:OWNER/NAME."""
    folder: Folder = field(default=None, compare=False)
    """Folder of record and report (default: rates/NAME)."""
    seed: Number = None
    """First seed."""
    steps: HowMany = 120
    """Steps of a sweep."""
    low: Rate = LOW
    """Learning rate of the first step."""
    high: Rate = HIGH
    """Learning rate of the last step, at least ten times the first."""
    seeds: HowMany = 3
    """Seeds of the sweeps and of the runs of each checked rate; a paired test needs three."""
    checks: Number = None
    """Epochs of each checking run (default: about as many steps as a sweep)."""
    skip_unreadable: bool = False
    """Skip unreadable files instead of stopping."""
    tell: Suppress[Tell] = field(default=lambda text: None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for flag, rate in (("--low", self.low), ("--high", self.high)):
            require_positive(rate, flag, usual=f"{LOW:g} to {HIGH:g}")
        if self.high < DECADE * self.low:
            do = f"give a highest rate of at least {DECADE:g} times the lowest; {LOW:g} to {HIGH:g} is usual"
            raise UserError(f"{self.low:g} to {self.high:g} is too narrow to sweep", where="--low --high", do=do)
        require_between(self.steps, FEWEST_STEPS, MOST_STEPS, "--steps")
        require_between(self.seeds, 1, MOST_SEEDS, "--seeds")
        require_between(self.checks, 1, MOST_EPOCHS, "--checks")
