"""Give the records in results/ their ladders' plans, and the verdicts that their numbers have by the present rules.

Run it as `python docs/judge_again.py` after a change of the rules or of a ladder, then `python docs/make_seeds.py`.
What was measured stays as it is.
"""

from __future__ import annotations

import make_seeds
from msgspec.structs import replace

from rungs.run.record import to_json
from rungs.study.ladder import climb
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.origins import stamped
from rungs.study.ladder.record import LadderRecord
from rungs.study.ladder.summary import judged_again


def main() -> None:
    """Rewrite each record of a ladder."""
    for path in sorted(make_seeds.RESULTS.glob("*.json")):
        again = judged(make_seeds.read(path.stem))
        path.write_bytes(to_json(again))
        print(f"{path.stem}: {len(again.rungs)} rungs, judged at {again.looks or 'no'} seeds")


def judged(record: LadderRecord) -> LadderRecord:
    """Return a record with its ladder's plan and claims, judged at a first look."""
    plan = climb.prepare(ClimbOptions(record.name))
    claims = {rung.name: rung.claims for rung in plan.ladder.rungs}
    about = {rung.name: rung.about for rung in plan.ladder.rungs}
    order = [*about]
    rungs = (replace(rung, claims=claims[rung.name], about=about[rung.name]) for rung in record.rungs)
    ordered = tuple(sorted(rungs, key=lambda rung: order.index(rung.name)))
    known = replace(stamped(record), about=plan.ladder.about, headline=plan.ladder.headline)
    return judged_again(replace(known, planned=plan.planned, rungs=ordered), claims)


if __name__ == "__main__":
    main()
