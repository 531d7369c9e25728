"""What the seeds of a ladder can find, before anything is trained."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

from rungs.report import format as fmt
from rungs.report.seeds import SEED_SD
from rungs.study.ladder.changes import by_seed, pools
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.interim import LOOKS, POWER, detectable
from rungs.study.ladder.spec import parent
from rungs.study.variation import weight

HOPELESS = 50.0
"""Points: more than a single change is likely to gain."""
USUAL = 0.7
"""The accuracy at which `SEED_SD` is taken where nothing was trained yet: sd 0.92 points."""


def findable(plan: ClimbPlan) -> str:
    """Return "With 3 seeds and 7 changes, a look finds differences above about 2.6 points …"; "" for a single rung."""
    names = {cell.rung for cell in plan.cells} | {cell.rung for cell in plan.others}
    changes = sum(parent(plan.ladder, rung) is not None for rung in plan.ladder.rungs if rung.name in names)
    numbers = Counter(Counter(cell.rung for cell in plan.cells).values())
    seeds = min(numbers, key=lambda n: (-numbers[n], n), default=0)  # what most rungs have
    if not changes or not seeds or plan.base.data.folds:
        return ""
    sd, source = _seed_sd(plan)
    size = 100 * detectable(seeds, changes, sd)
    what = f"With {fmt.many(seeds, 'seed')} and {fmt.many(changes, 'change')}, a look finds"
    how = f"{100 * POWER:.0f} % power; {source}, the choice of images not counted"
    found = f"differences above about {size:.1f} points" if size < HOPELESS else "hardly any difference"
    words = f"{what} {found} ({how})"
    more = next((look for look in LOOKS if look > seeds), None)
    if more is None:
        return f"{words}."
    those = "" if size < HOPELESS else "those "
    return f"{words}; with {more} seeds {those}above {100 * detectable(more, changes, sd):.1f} points."


def _seed_sd(plan: ClimbPlan) -> tuple[float, str]:
    """Return the sd of one run over seeds, and where it is from: cells trained before, else other recipes."""
    if plan.folder.record.is_file():
        record, metric = plan.folder.read_record(), "validation_accuracy"
        means = [fmean(values.values()) for rung in record.rungs if (values := by_seed(rung, metric))]
        shared = pools(record.rungs, metrics=(metric,))[metric]
        if shared.df:
            sd = math.sqrt(shared.variance * fmean(weight(metric, mean) for mean in means))
            return sd, f"seed sd {100 * sd:.2f} points, of the cells trained so far"
    sd = SEED_SD * math.sqrt(USUAL * (1 - USUAL))
    return sd, f"seed sd taken as {100 * sd:.2f} points, as of measured recipes at {100 * USUAL:.0f} %"
