"""Give the records in results/ their ladders' plans, and verdicts by the present rules; what was measured stays.

Run it as `python docs/judge_again.py` after a record or a ladder has changed, then `python docs/make_seeds.py`.
Verdicts that were reached and looks that were made stay; after a change of the rules, `--anew` judges every record at a
first look.
"""

from __future__ import annotations

import sys

import make_seeds
from msgspec.structs import replace

from rungs.run.record import to_json
from rungs.study.ladder import climb
from rungs.study.ladder.changes import kept_verdicts
from rungs.study.ladder.join import judge_united
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.origins import stamped
from rungs.study.ladder.record import LadderRecord, RungRecord


def main() -> None:
    """Rewrite each record of a ladder."""
    for path in sorted(make_seeds.RESULTS.glob("*.json")):
        again = judged(make_seeds.read(path.stem), anew="--anew" in sys.argv[1:])
        path.write_bytes(to_json(again))
        print(f"{path.stem}: {len(again.rungs)} rungs, judged at {again.looks or 'no'} seeds")


def judged(record: LadderRecord, *, anew: bool = False) -> LadderRecord:
    """Return a record with its ladder's plan and claims, and its verdicts.

    Raises:
        SystemExit: A rung was trained by another recipe than the ladder's.
    """
    plan = climb.prepare(ClimbOptions(record.name))
    recipes = {rung.name: rung.recipe for rung in plan.planned}
    stale = [rung.name for rung in record.rungs if _is_stale(rung, recipes.get(rung.name, ""))]
    if stale:
        sys.exit(
            f"results of {record.name}: other recipes than in the ladder trained {', '.join(stale)}: climb it again"
        )
    of_ladder = {rung.name: rung for rung in plan.ladder.rungs}
    rungs = [
        replace(rung, claims=of_ladder[rung.name].claims, about=of_ladder[rung.name].about) for rung in record.rungs
    ]
    rungs.sort(key=lambda rung: [*of_ladder].index(rung.name))
    known = replace(stamped(record), about=plan.ladder.about, headline=plan.ladder.headline, planned=plan.planned)
    earlier = {} if anew else kept_verdicts(record, rungs)
    return judge_united(replace(known, rungs=tuple(rungs)), earlier)


def _is_stale(rung: RungRecord, planned: str) -> bool:
    """Return whether a rung is not in the ladder, or its cell with seed 0 has another digest than planned."""
    return not planned or any(cell.seed == 0 and not cell.folder.endswith(planned[:8]) for cell in rung.cells)


if __name__ == "__main__":
    main()
