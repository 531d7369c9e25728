"""Summarise the records of a ladder's cells in the record of the ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError
from rungs.recipe.shorten import of_other_data
from rungs.recipe.spec import Claim
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import Difference, EvalResult, RunRecord
from rungs.study import statistics
from rungs.study.differences import Change, compare
from rungs.study.ladder.answers import answers_of
from rungs.study.ladder.changes import changes, kept_verdicts, pools, ratio_of
from rungs.study.ladder.interim import judge, judge_folds
from rungs.study.ladder.origins import machine_words
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import Answer, CellRecord, LadderRecord, PlannedRung, RungRecord
from rungs.study.ladder.spec import Ladder, Rung, parent
from rungs.study.measures import CELL_VALUES, CURVES, SCORED, fold_ratio, is_score, measured, system


def summarise(
    ladder: Ladder,
    outcomes: Sequence[Outcome],
    *,
    command: str,
    reduced: tuple[str, ...],
    before: LadderRecord | None = None,
    planned: tuple[PlannedRung, ...] = (),
    once: bool = False,
    looking: bool = True,
) -> LadderRecord:
    """Return the record of a ladder.

    Args:
        ladder: The ladder.
        outcomes: Of its cells; rungs without any are left out.
        command: The command that trained them.
        reduced: How the study differs from the ladder's file, a phrase each; with any, claims are not compared, and
            with another source of images they are left out.
        before: Its record when it was last climbed, whose looks and verdicts count.
        planned: All rungs, trained or not.
        once: Its number of seeds is fixed, so that its differences are judged once, at 5 %.
        looking: Whether differences may be judged now: not while the ladder is climbed.

    Raises:
        UserError: No cell finished, or cells of the same seed and settings saw different data.
    """
    record = _unjudged(ladder, outcomes, command, reduced, planned)
    compared = changes(record.rungs, outcomes, record.data, record.folds)
    if once:
        return _with_verdicts(record, compare(compared, pools(record.rungs), margin=ladder.margin), {})
    earlier = {} if before is None else kept_verdicts(before, record.rungs)
    number = sum(parent(ladder, rung) is not None for rung in ladder.rungs)
    claims = {rung.name: rung.claims for rung in ladder.rungs}
    return judged(record, compared, claims, earlier, number, looking=looking)


def _unjudged(
    ladder: Ladder,
    outcomes: Sequence[Outcome],
    command: str,
    reduced: tuple[str, ...],
    planned: tuple[PlannedRung, ...],
) -> LadderRecord:
    """Return the record of a ladder without verdicts."""
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
            rungs.append(_rung(ladder, rung, mine))
    return LadderRecord(
        name=ladder.name,
        about=ladder.about,
        headline="" if of_other_data(reduced) else ladder.headline,
        source=ladder.source,
        builds_on=ladder.builds_on,
        command=command,
        reduced=reduced,
        seeds=tuple(sorted({outcome.cell.seed for outcome in outcomes})),
        planned=planned,
        margin=ladder.margin,
        recipe=whole[0].recipe,
        data=replace(whole[0].data, origin=Path(whole[0].data.origin).name),
        environment=replace(whole[0].environment, platform=system(whole[0].environment.platform)),
        rungs=tuple(rungs),
        started=min(record.started for record in records),
        finished=max(record.finished for record in records),
        train_s=sum(row.train_s for record in records for row in record.history),
    )


def judged(
    record: LadderRecord,
    compared: Sequence[Change],
    claims: Mapping[str, Sequence[Claim]],
    earlier: Mapping[str, Difference] = MappingProxyType({}),
    planned: int = 0,
    *,
    looking: bool = True,
) -> LadderRecord:
    """Return a record with the verdicts on its differences and claims.

    Args:
        record: Without them.
        compared: What is compared.
        claims: By rung.
        earlier: The differences when the ladder was last judged, whose looks and verdicts count.
        planned: How many changes the ladder has, those without runs included; by default as many as the record plans.
        looking: Whether differences may be judged now.
    """
    planned = planned or max(0, len(record.planned) - 1)
    shared = pools(record.rungs)
    if record.folds:
        differences = judge_folds(compared, shared, record.margin, planned, looking=looking)
    else:
        differences = judge(compared, shared, record.margin, earlier, planned, looking=looking)
    return _with_verdicts(record, differences, answers_of(record, claims))


def _with_verdicts(
    record: LadderRecord, differences: Mapping[str, Difference], answers: Mapping[str, tuple[Answer, ...]]
) -> LadderRecord:
    rungs = tuple(
        replace(rung, difference=differences.get(rung.name), answers=answers.get(rung.name, ()))
        for rung in record.rungs
    )
    looks_at = {n for found in differences.values() for n in found.looks}
    return replace(record, rungs=rungs, looks=tuple(sorted(looks_at)))


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


def _rung(ladder: Ladder, rung: Rung, outcomes: Sequence[Outcome]) -> RungRecord:
    cells = tuple(_cell(outcome) for outcome in outcomes)
    whole = [o.record for o in outcomes if o.record is not None and o.record.status == "finished"]
    some = next((o.record for o in outcomes if o.record is not None), None)
    values = {
        name: [c.values[name] for c in cells if c.status == "finished" and name in c.values] for name in CELL_VALUES
    }
    values = {name: found for name, found in values.items() if found}
    ratio = ratio_of(cells, outcomes[0].cell.recipe.data.folds or 0)
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
        estimates={
            name: statistics.estimate(found, _of_one(whole, name), ratio if is_score(name) else 0.0)
            for name, found in values.items()
        },
        difference=None,
        answers=(),
        claims=rung.claims,
        confusion=_confusion([result for record in whole if (result := record.test or record.validation)]),
    )


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
        machine=machine_words(record.environment),
        commit=record.environment.commit or "",
        data_hash=record.data.hash,
        hashes=record.data.hashes,
        fold_ratio=fold_ratio(record),
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
