"""What a ladder compares: each rung with the one that it builds on, seed by seed, and what images add to chance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from msgspec.structs import replace

from rungs.report import format as fmt
from rungs.report.run_tables import PUBLISHED
from rungs.run import looks
from rungs.run.predictions import Predictions, decode
from rungs.run.record import DataRecord, Difference, EvalResult, RunRecord
from rungs.study.differences import Change, ImageVariance
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import CellRecord, LadderDir, LadderRecord, RungRecord
from rungs.study.matched import match, variance_over_images
from rungs.study.measures import guessing_accuracy
from rungs.study.same_images import same_images
from rungs.study.variation import Pool, pool


def changes(rungs: Sequence[RungRecord], outcomes: Sequence[Outcome], data: DataRecord, folds: int = 0) -> list[Change]:
    """Return each rung with the one that it builds on, compared on validation where both have the same images there.

    With folds they are compared on the images that each fold leaves out.

    Rungs with different validation images are compared on the test set, which they share: a look that is logged
    (`rungs.run.looks`). A rung without any is not compared: that would be selecting on test.
    """
    by_name = {rung.name: rung for rung in rungs}
    runs: dict[str, dict[int, Outcome]] = {}
    judged: dict[str, object] = {}
    for outcome in outcomes:
        if outcome.record is not None and outcome.record.status != "interrupted":
            judged.setdefault(outcome.cell.rung, _judged_on(outcome.record))
        if outcome.record is not None and outcome.record.status == "finished":
            runs.setdefault(outcome.cell.rung, {})[outcome.cell.seed] = outcome
    found = []
    for rung in rungs:
        base = by_name.get(rung.on or "")
        if base is not None and None not in (judged.get(rung.name), judged.get(base.name)):
            same = judged[rung.name] == judged[base.name]
            metric = "validation_accuracy" if same and not folds else "test_accuracy"
            sampling = _sampling(runs.get(rung.name, {}), runs.get(base.name, {}), metric)
            found.append(_change(rung, base, metric, data, sampling, folds))
    return found


def changes_again(record: LadderRecord) -> list[Change]:
    """Return the comparisons of a record, from its numbers alone.

    It does not hold the predictions for each image, so where all seeds share their images, the two rungs are taken
    as independent there: an upper bound of what the choice of images can do.
    """
    by_name = {rung.name: rung for rung in record.rungs}
    found = []
    for rung in record.rungs:
        base = by_name.get(rung.on or "")
        if base is None or not (_is_judged(record, rung) and _is_judged(record, base)):
            continue
        metric = "test_accuracy" if record.folds or _changes_validation(rung) else "validation_accuracy"
        found.append(_change(rung, base, metric, record.data, at_most(record, rung, base, metric), record.folds))
    return found


def _is_judged(record: LadderRecord, rung: RungRecord) -> bool:
    """Return whether a rung has runs that ended, and validation images."""
    ended = [cell for cell in rung.cells if cell.has_ended]
    if record.folds:
        return bool(ended)
    blind = any(cell.status == "finished" and "validation_accuracy" not in cell.values for cell in ended)
    return bool(ended) and not blind and sum(record.data.counts.get("validation", ())) > 0


def _changes_validation(rung: RungRecord) -> bool:
    """Return whether a rung changes the validation images of the one that it builds on, or how they are scored."""
    fields = {change.partition("=")[0].strip() for change in rung.changes}
    return bool(fields & {"data", "data.source", "data.validation", "augment", "augment.validation"})


def _change(
    rung: RungRecord, base: RungRecord, metric: str, data: DataRecord, sampling: ImageVariance, folds: int
) -> Change:
    diverged = tuple(filter(None, (_diverged(one) for one in (rung, base))))
    if diverged:  # the exact test over images knows nothing of runs that guess
        sampling = dataclasses.replace(sampling, exact_p=0.0)
    return Change(
        rung=rung.name,
        against=base.name,
        metric=metric,
        values=scores(rung, metric, data),
        base=scores(base, metric, data),
        sampling=sampling,
        diverged=diverged,
        folds=folds,
        ratio=max(ratio_of(rung.cells, folds), ratio_of(base.cells, folds)),
    )


def ratio_of(cells: Sequence[CellRecord], folds: int) -> float:
    """Return n_test / n_train, the mean over the folds of a rung, for `rungs.study.statistics.of_folds`; else 0.

    Records of earlier versions do not hold it: there it is 1/(k - 1), as without validation images.
    """
    if not folds:
        return 0.0
    known = [cell.fold_ratio for cell in cells if cell.fold_ratio]
    return fmean(known) if known else 1 / (folds - 1)


def by_seed(rung: RungRecord, metric: str) -> dict[int, float]:
    """Return a metric of the finished cells, by seed."""
    return {c.seed: c.values[metric] for c in rung.cells if c.status == "finished" and metric in c.values}


def scores(rung: RungRecord, metric: str, data: DataRecord) -> dict[int, float]:
    """Return an accuracy by seed; a run that diverged counts as guessing, always the most frequent class."""
    guess = guessing_accuracy(data, metric.partition("_")[0])
    return by_seed(rung, metric) | {c.seed: guess for c in rung.cells if c.status == "diverged"}


def pools(rungs: Sequence[RungRecord], *, paired: bool = True, metrics: Sequence[str] = ()) -> dict[str, Pool]:
    """Return, by metric, the variance over seeds that the rungs share; diverged runs would be its outliers."""
    metrics = metrics or ("validation_accuracy", "test_accuracy")
    tables: dict[str, dict[str, Mapping[int, float]]] = {
        metric: {rung.name: by_seed(rung, metric) for rung in rungs} for metric in metrics
    }
    return {metric: pool(table, metric, paired=paired) for metric, table in tables.items()}


def kept_verdicts(before: LadderRecord, rungs: Sequence[RungRecord]) -> dict[str, Difference]:
    """Return the differences of an earlier record that compare the same cells as now, perhaps with more or fewer seeds.

    A record that does not say when it was judged is of an earlier version, judged once, with the seeds that it has; or
    of a climb that was stopped, and not judged yet.
    """
    now = {rung.name: {cell.folder for cell in rung.cells} for rung in rungs}
    then = {rung.name: {cell.folder for cell in rung.cells} for rung in before.rungs}
    on = {rung.name: rung.on for rung in rungs}
    kept = {}
    for rung in before.rungs:
        found = rung.difference
        if found is None or found.against != on.get(rung.name):
            continue
        both = (rung.name, found.against)
        sets = [(then.get(name, set()), now.get(name, set())) for name in both]
        if all(a and b and (a <= b or b <= a) for a, b in sets):
            kept[rung.name] = found if found.looks or before.planned else replace(found, looks=(found.n,))
    return kept


def _judged_on(record: RunRecord) -> object:
    """Return what determines the images that compare rungs and how they are scored; None without any."""
    if record.recipe.data.folds is not None:
        return record.recipe.data.source
    if not sum(record.data.counts.get("validation", ())):
        return None
    recipe = record.recipe
    return recipe.data.source, recipe.data.validation, recipe.augment.validation


def _diverged(rung: RungRecord) -> str:
    """Return "2 of 5 runs of rate-0.3", or ""."""
    n = sum(cell.status == "diverged" for cell in rung.cells)
    return f"{n} of {len(rung.cells)} runs of {rung.name}" if n else ""


def note_comparisons(record: LadderRecord, folder: LadderDir) -> None:
    """Log the rungs that were compared by their test scores, once each."""
    if record.folds:  # no test set is kept apart: each image is left out once
        return
    known = {look.purpose for look in looks.read(folder.looks)}
    for rung in record.rungs:
        found = rung.difference
        if found is not None and found.metric.startswith("test"):
            seeds = fmt.many(found.n, "seed")
            purpose = f"{rung.name} against {found.against}, whose validation images are others; {seeds}"
            images = sum(record.data.counts.get("test", ()))
            if purpose not in known:
                looks.note(folder.looks, "compared", purpose, images, record.data.hashes.get("test", ""))


# --- images -------------------------------------------------------------------------------------------


def _sampling(rung: Mapping[int, Outcome], base: Mapping[int, Outcome], metric: str) -> ImageVariance:
    """Return what the choice of images adds, from the predictions for each image of every pair of runs."""
    part = metric.partition("_")[0]
    pairs, hashes = list[tuple[Predictions, Predictions]](), set[str | None]()
    for seed in sorted(rung.keys() & base.keys()):
        one, two = rung[seed].record, base[seed].record
        assert one is not None and two is not None
        first, second = _of_images(two, base[seed].folder, part), _of_images(one, rung[seed].folder, part)
        hashes.add(one.data.hashes.get(part))
        if first is None or second is None:
            continue
        if same_images(one, two, part, same_labels=np.array_equal(first.truth, second.truth)):
            pairs.append((first, second))
    same_set = len(hashes) == 1
    if pairs:
        return variance_over_images(match(pairs, same_set=same_set), same_set=same_set)
    results = [getattr(outcome.record, part) for side in (rung, base) for outcome in side.values()]
    return _independent([(result.accuracy, result.n) for result in results if result is not None], same_set)


def _of_images(record: RunRecord, folder: Path, part: str) -> Predictions | None:
    result: EvalResult | None = getattr(record, part)
    return None if result is None or result.per_image is None else decode(result.per_image, folder)


def _independent(scores: Sequence[tuple[float, int]], shared: bool) -> ImageVariance:
    """Return what images add at most: as if the two rungs were scored on different ones.

    Args:
        scores: Accuracy and number of images of every run.
        shared: Whether the seeds share their images.
    """
    images = min((n for _, n in scores), default=0)
    if not images:
        return ImageVariance()
    variance = 2 * fmean(p * (1 - p) for p, _ in scores) / images
    return ImageVariance(images, se=math.sqrt(variance)) if shared else ImageVariance(images, pair_variance=variance)


def at_most(record: LadderRecord, rung: RungRecord, base: RungRecord, metric: str) -> ImageVariance:
    """Return what images add at most to a difference in a record, which has no predictions."""
    part = metric.partition("_")[0]
    images = sum(record.data.counts.get(part, ()))
    sets = {cell.hashes.get(part, cell.data_hash) for cell in rung.cells if cell.data_hash}
    published = part == "test" and record.data.source.partition(":")[0] in PUBLISHED
    own = len(sets) > 1 and not published
    values = [*by_seed(rung, metric).values(), *by_seed(base, metric).values()]
    return _independent([(value, images) for value in values], shared=not own)
