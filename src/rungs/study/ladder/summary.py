"""Summarise the records of a ladder's cells in the record of the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import EvalResult, RunRecord
from rungs.study import statistics
from rungs.study.ladder.claims import answer
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord
from rungs.study.ladder.spec import Ladder, Rung, parent
from rungs.study.measures import CELL_VALUES, CURVES, SCORED, measured, system


def summarise(ladder: Ladder, outcomes: Sequence[Outcome], *, command: str, reduced: tuple[str, ...]) -> LadderRecord:
    """Return the record of a ladder.

    Args:
        ladder: The ladder.
        outcomes: Of its cells; rungs without any are left out.
        command: The command that trained them.
        reduced: How the study differs from the ladder's file, a phrase each; with any, claims are not compared.

    Raises:
        UserError: No cell finished, or cells of the same seed and settings saw different data.
    """
    place = {rung.name: i for i, rung in enumerate(ladder.rungs)}
    outcomes = sorted(outcomes, key=lambda outcome: (place[outcome.cell.rung], outcome.cell.seed))
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    whole = [record for record in records if record.status == "finished"]
    if not whole:
        endings = sorted({f"{outcome.cell.rung}: {outcome.ending}" for outcome in outcomes})
        what = "no cell finished" + "".join(f"\n  {ending}" for ending in endings[:5])
        raise UserError(what, where=ladder.name, do="fix these errors and climb again")
    _require_same_data(outcomes)
    rungs = []
    for rung in ladder.rungs:
        mine = [outcome for outcome in outcomes if outcome.cell.rung == rung.name]
        if mine:
            rungs.append(_rung(ladder, rung, mine, reduced))
    differences = statistics.compare(_changes(rungs, outcomes))
    return LadderRecord(
        name=ladder.name,
        about=ladder.about,
        headline=ladder.headline,
        source=ladder.source,
        builds_on=ladder.builds_on,
        command=command,
        reduced=reduced,
        seeds=tuple(sorted({outcome.cell.seed for outcome in outcomes})),
        recipe=whole[0].recipe,
        data=replace(whole[0].data, origin=Path(whole[0].data.origin).name),
        environment=replace(whole[0].environment, platform=system(whole[0].environment.platform)),
        rungs=tuple(replace(rung, difference=differences.get(rung.name)) for rung in rungs),
        started=min(record.started for record in records),
        finished=max(record.finished for record in records),
        train_s=sum(row.train_s for record in records for row in record.history),
    )


def _require_same_data(outcomes: Sequence[Outcome]) -> None:
    """Refuse cells that were trained before and after their data changed."""
    seen: dict[object, tuple[str, str]] = {}
    for outcome in outcomes:
        if outcome.record is None:
            continue
        data = outcome.record.data
        before, other = seen.setdefault(
            (outcome.record.recipe.data, outcome.cell.seed), (data.hash, outcome.cell.folder)
        )
        if data.hash != before:
            what = f"not trained on the same images as {other}, though both use {data.source}"
            raise UserError(what, where=outcome.folder, do="delete the older of the two, or climb with another --out")


def _rung(ladder: Ladder, rung: Rung, outcomes: Sequence[Outcome], reduced: tuple[str, ...]) -> RungRecord:
    cells = tuple(_cell(outcome) for outcome in outcomes)
    whole = [o.record for o in outcomes if o.record is not None and o.record.status == "finished"]
    some = next((o.record for o in outcomes if o.record is not None), None)
    values = {
        name: [c.values[name] for c in cells if c.status == "finished" and name in c.values] for name in CELL_VALUES
    }
    values = {name: found for name, found in values.items() if found}
    built = {"parameters": [float(some.model.parameters)]} if some else {}
    incomparable = _not_comparable(reduced, len(whole), len(cells))
    return RungRecord(
        name=rung.name,
        about=rung.about,
        on=parent(ladder, rung),
        changes=rung.set,
        assumptions=some.recipe.assumptions if some and parent(ladder, rung) is None else rung.assumptions,
        parameters=some.model.parameters if some else 0,
        flops=some.model.flops if some else 0,
        layers=some.model.layers if some and _changes_net(ladder, rung) else (),
        cells=cells,
        estimates={name: statistics.estimate(found, _of_one(whole, name)) for name, found in values.items()},
        difference=None,
        answers=tuple(
            answer(
                claim,
                (values | built).get(claim.metric, []),
                _of_one(whole, claim.metric),
                "" if claim.metric == "parameters" and some and some.model.parameters == claim.value else incomparable,
            )
            for claim in rung.claims
        ),
        confusion=_confusion([result for record in whole if (result := record.test or record.validation)]),
    )


def _not_comparable(reduced: tuple[str, ...], finished: int, cells: int) -> str:
    """Return why the claims of a rung cannot be compared; "" where they can."""
    if reduced:
        return ", ".join(reduced)
    return f"only {finished} of {cells} seeds finished" if 0 < finished < cells else ""


def _changes_net(ladder: Ladder, rung: Rung) -> bool:
    return parent(ladder, rung) is None or any(change.startswith("model") for change in rung.set)


def _cell(outcome: Outcome) -> CellRecord:
    record, seed, folder = outcome.record, outcome.cell.seed, outcome.cell.folder
    if record is None:
        return CellRecord(seed=seed, folder=folder, status="failed", ending=outcome.ending)
    curves = {name: [getattr(row, name) for row in record.history] for name in CURVES}
    return CellRecord(
        seed=seed,
        folder=folder,
        status=record.status,
        ending=record.ending,
        values=measured(record),
        best_epoch=record.best_epoch,
        curves={name: tuple(map(_short, found)) for name, found in curves.items() if found and None not in found},
        findings=tuple(replace(one, threshold="", citation="", evidence=None) for one in examine(record)),
        interpretation=interpretation(record),
        code=record.code,
        data_hash=record.data.hash,
        test_openings=looks.openings(looks.own(looks.read(RunDir(outcome.folder).looks), record)) or None,
    )


def _short(value: float) -> float:
    """Round to five digits, more than a plot shows."""
    return float(f"{value:.5g}")


def _of_one(whole: Sequence[RunRecord], metric: str) -> tuple[float, float] | None:
    """Return Wilson's interval over the images where there is one run and the metric is its accuracy on a part."""
    part, _, what = metric.rpartition("_")
    if len(whole) != 1 or what != "accuracy" or part not in SCORED:
        return None
    result: EvalResult | None = getattr(whole[0], part)
    return None if result is None else result.accuracy_interval


def _confusion(results: Sequence[EvalResult]) -> tuple[tuple[int, ...], ...]:
    if not results:
        return ()
    total = np.sum([result.confusion for result in results], axis=0)
    return tuple(tuple(row) for row in total.tolist())


def _changes(rungs: Sequence[RungRecord], outcomes: Sequence[Outcome]) -> list[statistics.Change]:
    """Return each rung with the one that it builds on, compared on validation where both have the same images there.

    Rungs with different validation images are compared on the test set, which they share: a look that is logged
    (`rungs.run.looks`). A rung without any is not compared: that would be selecting on test.
    """
    by_name = {rung.name: rung for rung in rungs}
    judged = {o.cell.rung: _judged_on(o.record) for o in outcomes if o.record and o.record.status == "finished"}
    changes: list[statistics.Change] = []
    for rung in rungs:
        base = by_name.get(rung.on or "")
        if base is not None and None not in (judged.get(rung.name), judged.get(base.name)):
            same = judged[rung.name] == judged[base.name]
            metric = "validation_accuracy" if same else "test_accuracy"
            changes.append((rung.name, base.name, metric, _by_seed(rung, metric), _by_seed(base, metric)))
    return changes


def _judged_on(record: RunRecord) -> object:
    """Return what determines the validation images and how they are scored; None without any."""
    recipe = record.recipe
    return (recipe.data.source, recipe.data.validation, recipe.augment.validation) if record.validation else None


def _by_seed(rung: RungRecord, metric: str) -> dict[int, float]:
    return {c.seed: c.values[metric] for c in rung.cells if c.status == "finished" and metric in c.values}
