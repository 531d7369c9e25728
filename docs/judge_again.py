"""Give the records in results/ the verdicts that their numbers have by the present rules.

Run it as `python docs/judge_again.py` after a change of the rules, then `python docs/make_seeds.py`. What was measured
stays as it is.
"""

from __future__ import annotations

import make_seeds

from rungs.run.record import to_json
from rungs.study.ladder import spec
from rungs.study.ladder.summary import judged_again


def main() -> None:
    """Rewrite each record of a ladder."""
    for path in sorted((make_seeds.ROOT / "results").glob("*.json")):
        record = make_seeds.read(path.stem)
        ladder, _ = spec.load(record.name)
        again = judged_again(record, {rung.name: rung.claims for rung in ladder.rungs})
        path.write_bytes(to_json(again))
        print(f"{path.stem}: {len(again.rungs)} rungs, judged at {again.looks or 'no'} seeds")


if __name__ == "__main__":
    main()
