"""The options of a climb, and the plan that they make."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungs.data import require_known
from rungs.errors import require_between, require_share
from rungs.recipe import shorten
from rungs.recipe import toml as recipes
from rungs.study.ladder import spec as ladders
from rungs.study.ladder.record import LadderDir


@dataclass(frozen=True)
class Climb:
    """A ladder as it will be climbed: its cells, where they go, and how it differs from the ladder's file."""

    ladder: ladders.Ladder
    cells: tuple[ladders.Cell, ...]  # to train
    others: tuple[ladders.Cell, ...]  # of rungs left out: reported where they were trained before
    folder: LadderDir
    command: str
    reduced: tuple[str, ...]


def prepare_climb(
    ladder: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seeds: int | None = None,
    only: Sequence[str] = (),
    epochs: int | None = None,
    images: float | None = None,
    folder: str | Path | None = None,
) -> Climb:
    """Read a ladder and decide what is trained and where; nothing is written. Arguments as of `climb`.

    Raises:
        UserError: No such ladder or rung, a wrong field or value, no seeds, no epochs, no images.
    """
    chosen, usual = ladders.load(ladder)
    require_something(seeds, epochs, images)
    for one in overrides:
        ladders.require_no_business(one, f"--set {one}")
    base = recipes.choose(usual, overrides, data=data)
    require_known(base.data.source)
    every = ladders.cells(chosen, base, seeds=seeds, epochs=epochs, images=images)
    cells = ladders.cells(chosen, base, seeds=seeds, only=only, epochs=epochs, images=images)
    reduced = shorten.reductions(usual, base, overrides, epochs=epochs, images=images)
    options: list[tuple[str, object]] = [("--data", data), *(("--set", one) for one in overrides), ("--seeds", seeds)]
    options += [*(("--only", one) for one in only), ("--epochs", epochs), ("--images", images)]
    words = ["rungs", "climb", str(ladder)] + [w for flag, v in options if v is not None for w in (flag, str(v))]
    default = Path("climbs") / (f"{chosen.name}-{shorten.digest(base, epochs, images)}" if reduced else chosen.name)
    return Climb(
        ladder=chosen,
        cells=tuple(cells),
        others=tuple(cell for cell in every if cell not in cells),
        folder=LadderDir(folder or default),
        command=shlex.join(words),
        reduced=reduced,
    )


def require_something(seeds: int | None, epochs: int | None, images: float | None) -> None:
    """Refuse to climb with nothing to train.

    Raises:
        UserError: No seeds, no epochs, or no share of the images.
    """
    require_between(seeds, 1, math.inf, "--seeds")
    require_between(epochs, 1, math.inf, "--epochs")
    require_share(images, "--images")
