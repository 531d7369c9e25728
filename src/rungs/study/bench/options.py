"""Options of `rungs bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import TypeAlias

from tyro.conf import Suppress

from rungs.errors import require_between
from rungs.recipe.flags import Data, Folder, Override, RecipeName, Seconds

SHORTEST_S, LONGEST_S = 1, 3600

Tell: TypeAlias = Callable[[str], None]
"""Called with a short progress message."""


@dataclass(frozen=True)
class BenchOptions:
    """Options of `rungs bench`.

    Raises:
        UserError: A number out of range.
    """

    recipe: RecipeName = "lab-003"
    """Name (see rungs list) or path of a TOML file."""
    overrides: Override = ()
    """Change a field of the recipe, e.g. --set training.batch_size=128 (repeatable)."""
    _: KW_ONLY
    data: Data = None
    """Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, csv:PATH, parquet:PATH, hub:OWNER/NAME."""
    folder: Folder = field(default=None, compare=False)
    """Folder of record and report (default: runs/bench-NAME)."""
    seconds: Seconds = 30.0
    """Seconds to measure, 1 to 3600; levers and batch sizes that do not fit are skipped, except the recipe's own."""
    skip_unreadable: bool = False
    """Skip unreadable files instead of stopping."""
    tell: Suppress[Tell] = field(default=lambda text: None, compare=False, repr=False)

    def __post_init__(self) -> None:
        require_between(self.seconds, SHORTEST_S, LONGEST_S, "--seconds")
