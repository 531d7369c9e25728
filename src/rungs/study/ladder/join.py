"""Join two records of one ladder whose cells were trained in two places, or at two times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from rungs.errors import UserError
from rungs.recipe import identity
from rungs.recipe.roles import has_role
from rungs.recipe.spec import Claim, Recipe
from rungs.run.record import Difference, Estimate
from rungs.study import statistics
from rungs.study.ladder.changes import changes_again, kept_verdicts, ratio_of
from rungs.study.ladder.origins import stamped
from rungs.study.ladder.record import CellRecord, LadderRecord, PlannedRung, RungRecord
from rungs.study.ladder.summary import judged
from rungs.study.measures import CELL_VALUES, is_score


def join(records: Sequence[LadderRecord], where: Sequence[object]) -> LadderRecord:
    """Return the record of all cells, judged together. Of a cell that several have, the first's counts.

    Differences rest on the numbers in the records, without the predictions for each image: see `changes_again`.

    Args:
        records: At least one.
        where: Each is from; named in errors.

    Raises:
        UserError: They are not of the same study, or a rung differs in recipe or data.
    """
    together, *others = map(stamped, records)
    for other, place in zip(others, where[1:], strict=True):
        require_same_study(together, other, place)
        together = united(together, other)
    return judge_united(together, _earlier(records, together))


def judge_united(record: LadderRecord, earlier: Mapping[str, Difference], *, looking: bool = True) -> LadderRecord:
    """Return a record of cells from several places, judged by its own numbers."""
    claims = {rung.name: claims_of(rung) for rung in record.rungs}
    return judged(record, changes_again(record), claims, earlier, looking=looking)


def _earlier(records: Sequence[LadderRecord], now: LadderRecord) -> dict[str, Difference]:
    """Return the differences as the records have them: a verdict that one of them reached stays, and looks add up."""
    found: dict[str, Difference] = {}
    for record in records:
        for name, new in kept_verdicts(record, now.rungs).items():
            known = found.get(name, new)
            decided = sorted((d for d in (known, new) if d.decided_at is not None), key=lambda d: d.decided_at or 0)
            first = decided[0] if decided else known
            found[name] = replace(first, looks=tuple(sorted({*known.looks, *new.looks})))
    return found


def united(first: LadderRecord, second: LadderRecord) -> LadderRecord:
    """Return the cells of both, not judged; see `join`."""
    planned = _planned(first.planned, second.planned)
    mine, other = ({rung.name: rung for rung in record.rungs} for record in (first, second))
    order = {rung.name: place for place, rung in enumerate(planned)}
    names = sorted(_in_order(first.rungs, second.rungs), key=lambda name: order.get(name, len(order)))
    rungs = tuple(_rung(mine.get(name), other.get(name), first.folds) for name in names)
    began = first if names[0] in mine else second
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
        train_s=sum(cell.own_s for rung in rungs for cell in rung.cells),
    )


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


def _rung(one: RungRecord | None, other: RungRecord | None, folds: int) -> RungRecord:
    """Return a rung with the cells of both."""
    if one is None or other is None:
        alone = one or other
        assert alone is not None
        return alone
    cells = {cell.seed: cell for cell in other.cells}
    cells |= {cell.seed: cell for cell in one.cells if cell.has_ended or cell.seed not in cells}
    ordered = tuple(cells[seed] for seed in sorted(cells))
    shown = one if one.layers or one.parameters else other
    estimates = {name: found for name in CELL_VALUES if (found := _estimate(name, ordered, (one, other), folds))}
    return replace(shown, cells=ordered, estimates=estimates, confusion=_confusion(ordered, one, other))


def _estimate(name: str, cells: Sequence[CellRecord], sides: Sequence[RungRecord], folds: int) -> Estimate | None:
    """Return the estimate over finished cells; the interval of a single one, over its images, is that of its record."""
    values = [cell.values[name] for cell in cells if cell.status == "finished" and name in cell.values]
    if not values:
        return None
    alone = [side.estimates[name] for side in sides if name in side.estimates]
    kept = [found for found in alone if len(values) == found.n == 1 and found.mean == values[0]]
    return kept[0] if kept else statistics.estimate(values, ratio=ratio_of(cells, folds) if is_score(name) else 0.0)


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


def require_same_study(first: LadderRecord, second: LadderRecord, where: object) -> None:
    """Refuse records that differ in ladder, options, recipes or data.

    Raises:
        UserError: They do.
    """
    if (first.name, first.builds_on) != (second.name, second.builds_on):
        what = f"this is a record of {second.name}, not of {first.name}"
        raise UserError(what, where=where, do="give climbs of one ladder")
    if first.reduced != second.reduced:
        mine, other = ("; ".join(record.reduced) or "as the ladder's file says" for record in (first, second))
        what = f"this was climbed otherwise: {other}; the first: {mine}"
        raise UserError(what, where=where, do="give climbs with the same options")
    if first.margin != second.margin:
        what = f"judged with a margin of {second.margin:g}, the first with {first.margin:g}"
        raise UserError(what, where=where, do="give climbs of one version of the ladder")
    if first.data.source != second.data.source or first.data.classes != second.data.classes:
        what = f"trained on {second.data.source}, the first on {first.data.source}"
        raise UserError(what, where=where, do="give climbs on the same data")
    if wrong := _other_recipes(first, second):
        do = "train them again, or give climbs of one version of the ladder"
        raise UserError(f"rungs with other recipes than in the first: {', '.join(wrong)}", where=where, do=do)
    if wrong := _other_data(first, second):
        what = f"cells trained on other images than in the first: {', '.join(wrong)}"
        raise UserError(what, where=where, do="give climbs on the same data")


def _other_recipes(first: LadderRecord, second: LadderRecord) -> list[str]:
    """Return the trained rungs whose recipes differ: by the plan, by what they set, or by a cell's folder.

    The folder of a cell is named after the digest of its recipe.
    """
    plans = [{rung.name: rung.recipe for rung in record.planned} for record in (first, second)]
    mine, other = ({rung.name: rung for rung in record.rungs} for record in (first, second))
    trained = mine.keys() | other.keys()
    wrong = {name for name in trained & plans[0].keys() & plans[1].keys() if plans[0][name] != plans[1][name]}
    wrong |= {name for name in mine.keys() & other.keys() if _differ(mine[name], other[name])}
    for plan, rungs in zip(plans, (other, mine), strict=True):
        wrong |= {name for name in rungs.keys() & plan.keys() if _outside(plan[name], rungs[name])}
    if first.recipe.name == second.recipe.name and _changed(first.recipe, second.recipe):
        wrong.add(first.rungs[0].name)
    return sorted(wrong)


def _outside(planned: str, rung: RungRecord) -> bool:
    """Return whether the cell with seed 0, whose digest a plan holds, was trained by another recipe."""
    return any(cell.seed == 0 and not cell.folder.endswith(planned[:8]) for cell in rung.cells)


def _changed(one: Recipe, other: Recipe) -> list[str]:
    """Return the fields in which two recipes differ, apart from the seed and what each machine chose."""
    return [key for key in identity.differences(one, other) if not has_role(key, "seed", "resolved", "scores", "place")]


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
    sizes = [{part: sum(counts) for part, counts in record.data.counts.items()} for record in (first, second)]
    if not found and first.recipe.name == second.recipe.name and sizes[0] != sizes[1]:
        found.append("all rungs")
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
