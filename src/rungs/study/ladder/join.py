"""Join two records of one ladder whose cells were trained in two places, or at two times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe.spec import Claim
from rungs.run.record import Estimate
from rungs.study import statistics
from rungs.study.ladder.changes import changes_again, kept_verdicts
from rungs.study.ladder.origins import stamped
from rungs.study.ladder.record import CellRecord, LadderRecord, PlannedRung, RungRecord
from rungs.study.ladder.summary import judged
from rungs.study.measures import CELL_VALUES

ENDED = ("finished", "diverged")
"""States of a cell that training again would not change."""


def join(first: LadderRecord, second: LadderRecord, where: object, *, looking: bool = True) -> LadderRecord:
    """Return the record of the cells of both, judged together. Of a cell that both have, the first's counts.

    Differences rest on the numbers in the records, without the predictions for each image: see `changes_again`.

    Args:
        first: A record.
        second: Another of the same ladder.
        where: The second is from; named in errors.
        looking: Whether differences may be judged now: see `rungs.study.ladder.interim`.

    Raises:
        UserError: They are not of the same study, or a rung differs in recipe or data.
    """
    first, second = stamped(first), stamped(second)
    _require_same_study(first, second, where)
    record = united(first, second)
    claims = {rung.name: claims_of(rung) for rung in record.rungs}
    earlier = kept_verdicts(second, record.rungs) | kept_verdicts(first, record.rungs)
    return judged(record, changes_again(record), claims, earlier, looking=looking)


def united(first: LadderRecord, second: LadderRecord) -> LadderRecord:
    """Return the cells of both, not judged yet; see `join`."""
    planned = _planned(first.planned, second.planned)
    mine, other = ({rung.name: rung for rung in record.rungs} for record in (first, second))
    names = [rung.name for rung in planned] or _in_order(first.rungs, second.rungs)
    rungs = tuple(_rung(mine.get(name), other.get(name)) for name in names if name in mine or name in other)
    began = first if rungs[0].name in mine else second
    return replace(
        first,
        command=" && ".join(dict.fromkeys((first.command, second.command))),
        seeds=tuple(sorted({*first.seeds, *second.seeds})),
        planned=planned,
        recipe=began.recipe,
        data=began.data,
        rungs=rungs,
        started=min(first.started, second.started),
        finished=max(first.finished, second.finished),
        train_s=first.train_s + second.train_s - sum(_dropped_s(first, second)),
    )


def in_both(first: LadderRecord, second: LadderRecord) -> int:
    """Return how many cells have ended in both, so that the second's are left out."""
    return len([*_dropped_s(first, second)])


def _dropped_s(first: LadderRecord, second: LadderRecord) -> Iterable[float]:
    """Yield the seconds of each cell of the second record that the first has, too."""
    have = {(rung.name, cell.seed) for rung in first.rungs for cell in rung.cells if cell.status in ENDED}
    for rung in second.rungs:
        for cell in rung.cells:
            if (rung.name, cell.seed) in have and cell.status in ENDED:
                yield cell.values.get("wall_s", 0.0)


def _planned(first: Sequence[PlannedRung], second: Sequence[PlannedRung]) -> tuple[PlannedRung, ...]:
    """Return the plan of both: the larger number of seeds of each rung."""
    more = {rung.name: rung.seeds for rung in second}
    names = {rung.name for rung in first}
    mine = [replace(rung, seeds=max(rung.seeds, more.get(rung.name, 0))) for rung in first]
    return (*mine, *(rung for rung in second if rung.name not in names))


def _in_order(first: Sequence[RungRecord], second: Sequence[RungRecord]) -> list[str]:
    """Return all names, each that only the second has behind the one that it follows there, or builds on."""
    names, before = [rung.name for rung in first], ""
    for rung in second:
        if rung.name not in names:
            follows = before or rung.on or ""
            names.insert(names.index(follows) + 1 if follows in names else len(names) * bool(rung.on), rung.name)
        before = rung.name
    return names


def _rung(one: RungRecord | None, other: RungRecord | None) -> RungRecord:
    """Return a rung with the cells of both."""
    if one is None or other is None:
        alone = one or other
        assert alone is not None
        return alone
    cells = {cell.seed: cell for cell in other.cells}
    cells |= {cell.seed: cell for cell in one.cells if cell.status in ENDED or cell.seed not in cells}
    ordered = tuple(cells[seed] for seed in sorted(cells))
    shown = one if one.layers or one.parameters else other
    estimates = {name: found for name in CELL_VALUES if (found := _estimate(name, ordered, (one, other)))}
    return replace(shown, cells=ordered, estimates=estimates, confusion=_confusion(ordered, one, other))


def _estimate(name: str, cells: Sequence[CellRecord], sides: Sequence[RungRecord]) -> Estimate | None:
    """Return the estimate over finished cells; the interval of a single one, over its images, is that of its record."""
    values = [cell.values[name] for cell in cells if cell.status == "finished" and name in cell.values]
    if not values:
        return None
    alone = [side.estimates[name] for side in sides if name in side.estimates]
    kept = [found for found in alone if len(values) == found.n == 1 and found.mean == values[0]]
    return kept[0] if kept else statistics.estimate(values)


def _confusion(cells: Sequence[CellRecord], one: RungRecord, other: RungRecord) -> tuple[tuple[int, ...], ...]:
    """Return the confusion matrix of the cells; () where the records' matrices cannot be taken apart."""
    now = _finished(cells)
    for side in (one, other):
        if _finished(side.cells) == now and all(cell in cells for cell in side.cells if cell.status == "finished"):
            return side.confusion
    apart = not _finished(one.cells) & _finished(other.cells)
    if not (apart and one.confusion and other.confusion):
        return ()
    return tuple(map(tuple, (np.array(one.confusion) + np.array(other.confusion)).tolist()))


def _finished(cells: Sequence[CellRecord]) -> set[int]:
    return {cell.seed for cell in cells if cell.status == "finished"}


def claims_of(rung: RungRecord) -> tuple[Claim, ...]:
    """Return the claims of a rung; a record of an earlier version has them in its answers only."""
    if rung.claims:
        return rung.claims
    return tuple(
        Claim(metric=one.metric, value=one.claimed, source=one.source, tolerance=one.tolerance)  # type: ignore[arg-type]
        for one in rung.answers
        if one.kind == "value"  # changes follow from the values of two rungs
    )


# --- what must be equal -------------------------------------------------------------------------------


def _require_same_study(first: LadderRecord, second: LadderRecord, where: object) -> None:
    """Refuse records that differ in ladder, recipe or data.

    Raises:
        UserError: They do.
    """
    if (first.name, first.builds_on) != (second.name, second.builds_on):
        raise UserError(f"this is a record of {second.name}, not of {first.name}", where=where, do="join one ladder")
    if first.reduced != second.reduced:
        sides = ["; ".join(record.reduced) or "as in the ladder's file" for record in (first, second)]
        what = f"climbed with other options: {sides[1]}, the first {sides[0]}"
        raise UserError(what, where=where, do="join climbs with the same options")
    if first.data.source != second.data.source or first.data.classes != second.data.classes:
        what = f"trained on {second.data.source}, the first on {first.data.source}"
        raise UserError(what, where=where, do="join climbs on the same data")
    if wrong := _other_recipes(first, second):
        do = "train them again, or join climbs of one version of the ladder"
        raise UserError(f"rungs with other recipes than in the first: {', '.join(wrong)}", where=where, do=do)
    if wrong := _other_data(first, second):
        what = f"cells trained on other images than in the first: {', '.join(wrong)}"
        raise UserError(what, where=where, do="join climbs on the same data")


def _other_recipes(first: LadderRecord, second: LadderRecord) -> list[str]:
    """Return the trained rungs whose recipes differ: by the plan, by what they set, or by a cell's folder.

    The folder of a cell is named after the digest of its recipe.
    """
    plans = [{rung.name: rung.recipe for rung in record.planned} for record in (first, second)]
    mine, other = ({rung.name: rung for rung in record.rungs} for record in (first, second))
    planned = {
        name
        for name in mine.keys() | other.keys()
        if name in plans[0] and plans[0][name] != plans[1].get(name, plans[0][name])
    }
    changed = {name for name in mine.keys() & other.keys() if _differ(mine[name], other[name])}
    return sorted(planned | changed)


def _differ(one: RungRecord, other: RungRecord) -> bool:
    folders = {cell.seed: cell.folder for cell in one.cells}
    return (
        (one.on, one.changes) != (other.on, other.changes)
        or any(folders.get(cell.seed, cell.folder) != cell.folder for cell in other.cells)
        or 0 < one.parameters != other.parameters > 0
    )


def _other_data(first: LadderRecord, second: LadderRecord) -> list[str]:
    """Return the cells whose images differ: of the same rung and seed, or of the same seed where no rung changes data.

    The hash of a cell's data holds the source's content and which of its images each part has.
    """
    known = _hashes(first)
    found = []
    for key, hashes in _hashes(second).items():
        if hashes != known.get(key, hashes):
            rung, seed = key
            found.append(f"{rung or 'all rungs'}, seed {seed}")
    parts = [record.data.hashes.get("test", "") for record in (first, second)]
    if not found and first.data.canonical and all(parts) and parts[0] != parts[1]:
        found.append("the test set")
    return found


def _hashes(record: LadderRecord) -> Mapping[tuple[str, int], set[str]]:
    """Return the hashes of the data by rung and seed; rungs that share their data are under ""."""
    above = {rung.name: rung for rung in record.rungs}
    found: dict[tuple[str, int], set[str]] = {}
    for rung in record.rungs:
        own = _changes_data(rung, above)
        for cell in rung.cells:
            if cell.data_hash:
                found.setdefault((rung.name if own else "", cell.seed), set()).add(cell.data_hash)
    return found


def _changes_data(rung: RungRecord, rungs: Mapping[str, RungRecord]) -> bool:
    """Return whether a rung, or one that it builds on, sets a field of the data."""
    if any(change.startswith("data") for change in rung.changes):
        return True
    below = rungs.get(rung.on or "")
    return below is not None and _changes_data(below, rungs)
