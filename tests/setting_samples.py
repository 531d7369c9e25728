"""Records with one setting changed, and what the rules see in them."""

from __future__ import annotations

import samples
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.recipe.optimizers import AnyOptimizer
from rungs.run.record import Finding, RunRecord


def seen(record: RunRecord) -> dict[str, Finding]:
    return {finding.rule: finding for finding in examine(record)}


def changed(record: RunRecord, part: str, **fields: object) -> RunRecord:
    """Return a record with fields of a part of its recipe changed."""
    recipe = record.recipe
    return replace(record, recipe=replace(recipe, **{part: replace(getattr(recipe, part), **fields)}))


def with_optim(record: RunRecord, optim: AnyOptimizer) -> RunRecord:
    return replace(record, recipe=replace(record.recipe, optim=optim))


def poor(accuracy: float = 0.5, loss: float = 1.4) -> RunRecord:
    """A healthy record whose training stays low."""
    record = samples.healthy()
    rows = tuple(replace(row, train_loss=loss - 0.001 * row.epoch, train_accuracy=accuracy) for row in record.history)
    return replace(record, history=rows, train=samples.result(10, 45000, accuracy))
