"""The claims of a ladder's rungs, each with its measurement and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rungs.recipe.shorten import of_other_data
from rungs.recipe.spec import Claim
from rungs.report.metric import is_accuracy
from rungs.report.run_tables import PUBLISHED
from rungs.study.ladder.changes import by_seed, pools
from rungs.study.ladder.claims import answer, claimed_changes, measured, measured_change
from rungs.study.ladder.record import Answer, LadderRecord, RungRecord
from rungs.study.variation import Pool


def answers_of(record: LadderRecord, claims: Mapping[str, Sequence[Claim]]) -> dict[str, tuple[Answer, ...]]:
    """Return the answer to each claim of each rung, and to each change that two of them imply.

    There is none where the climb has another source of images than its file: claims are about those.

    Args:
        record: The ladder's.
        claims: By rung.
    """
    if of_other_data(record.reduced):
        return {}
    metrics = sorted({claim.metric for of in claims.values() for claim in of} - {"parameters"})
    alone, paired = (pools(record.rungs, paired=one, metrics=metrics) for one in (False, True))
    by_name = {rung.name: rung for rung in record.rungs}
    found = {}
    for rung in record.rungs:
        mine, base = claims.get(rung.name, ()), by_name.get(rung.on or "")
        answers = [_value(record, rung, claim, alone.get(claim.metric)) for claim in mine if not claim.change]
        if base is not None:
            changed = [claim for claim in mine if claim.change]
            if not (_incomparable(record, rung) or _incomparable(record, base)):
                said = {claim.metric for claim in changed}
                implied = claimed_changes(mine, claims.get(base.name, ()))
                changed += [claim for claim in implied if claim.metric not in said]
            answers += [_change(record, rung, base, claim, paired.get(claim.metric)) for claim in changed]
        found[rung.name] = tuple(answers)
    return found


def _value(record: LadderRecord, rung: RungRecord, claim: Claim, pool: Pool | None) -> Answer:
    values = [*by_seed(rung, claim.metric).values()]
    if claim.metric == "parameters":
        values = [float(rung.parameters)] if rung.parameters else []
        same = values == [claim.value]
        return answer(claim, measured(claim.metric, values), None, "" if same else _incomparable(record, rung))
    part = claim.metric.removeprefix("highest_").partition("_")[0]
    images = sum(record.data.counts.get(part, ()))
    published = part == "test" and record.data.source.partition(":")[0] in PUBLISHED
    found = measured(claim.metric, values, pool, images, shared=published or part == "train")
    return answer(claim, found, None, _incomparable(record, rung))


def _change(record: LadderRecord, rung: RungRecord, base: RungRecord, claim: Claim, pool: Pool | None) -> Answer:
    name = claim.metric
    found = measured_change(name, by_seed(rung, name), by_seed(base, name), pool)
    margin = record.margin if is_accuracy(name) else None
    return answer(claim, found, margin, _incomparable(record, rung) or _incomparable(record, base))


def _incomparable(record: LadderRecord, rung: RungRecord) -> str:
    """Return why the claims of a rung cannot be compared; "" where they can."""
    if record.reduced:
        return ", ".join(record.reduced)
    done = sum(cell.status == "finished" for cell in rung.cells)
    if not done:
        return f"no seed finished: {', '.join(sorted({cell.status for cell in rung.cells}))}"
    return f"only {done} of {len(rung.cells)} seeds finished" if done < len(rung.cells) else ""
