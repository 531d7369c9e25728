"""A small ladder and folders of its cells as trainings leave them, written by hand: no training."""

from __future__ import annotations

from pathlib import Path

import samples
from msgspec.structs import replace

from rungs.recipe.toml import to_toml
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow
from rungs.study.ladder.climb import ClimbPlan, prepare
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.spec import Cell

BASE = """
name = "tiny"
[data]
source = "digits"
train = 300
validation = 100
[model]
name = "plain"
stages = [[8], [16]]
hidden = [16]
[optim]
name = "sgd"
lr = 0.1
momentum = 0.9
[training]
epochs = 6
batch_size = 50
[evaluation]
mistakes = 0
"""
LADDER = """
name = "small"
about = "Two changes of a tiny net."
base = "tiny.toml"
builds_on = "base"
seeds = 3
rungs = [
  { name = "first", about = "As it is." },
  { name = "wider", about = "Twice the channels.", set = ["model.stages=[[16], [32]]"] },
  { name = "longer", about = "Twice the epochs.", set = ["training.epochs=12"] },
]
"""


def write_ladder(folder: Path, base: str = BASE) -> Path:
    """Write the ladder and its base recipe."""
    (folder / "tiny.toml").write_text(base)
    path = folder / "ladder.toml"
    path.write_text(LADDER)
    return path


def plan_in(folder: Path, **options: object) -> ClimbPlan:
    """Return the plan of a climb of the ladder in `folder`, which is the climb's own, too."""
    return prepare(ClimbOptions(str(write_ladder(folder)), folder=str(folder / "climb"), **options))  # type: ignore[arg-type]


def cell_of(plan: ClimbPlan, rung: str, seed: int = 0) -> Cell:
    """Return a cell of a climb."""
    return next(cell for cell in plan.cells if (cell.rung, cell.seed) == (rung, seed))


def rows_of(*seconds: float, packed: int = 1) -> tuple[EpochRow, ...]:
    """Return a history whose epochs took these seconds, a tenth of them validation."""
    rows = samples.history(len(seconds))
    times = ({"train_s": 0.9 * one, "validation_s": 0.1 * one} for one in seconds)
    return tuple(replace(row, packed=packed, **time) for row, time in zip(rows, times, strict=True))


def begin(plan: ClimbPlan, cell: Cell, *seconds: float, packed: int = 1) -> RunDir:
    """Write what a run leaves that was killed after epochs of these seconds."""
    folder = RunDir(plan.folder.path / cell.folder)
    folder.path.mkdir(parents=True)
    folder.recipe.write_text(to_toml(cell.recipe))
    (folder.path / ".lock").touch()
    if seconds:
        folder.write_history(rows_of(*seconds, packed=packed))
    return folder


def end(
    plan: ClimbPlan, cell: Cell, *seconds: float, other_s: float = 0.0, status: str = "finished", device: str = ""
) -> RunDir:
    """Write what a run leaves that has ended after epochs of these seconds, and `other_s` besides."""
    folder, record = begin(plan, cell, *seconds), samples.healthy()
    environment = replace(record.environment, device=device) if device else record.environment
    rows, wall_s = rows_of(*seconds), sum(seconds) + other_s
    changed = {"history": rows, "wall_s": wall_s, "status": status, "environment": environment, "recipe": cell.recipe}
    folder.write_record(replace(record, **changed))
    return folder
