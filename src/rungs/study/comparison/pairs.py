"""Compare runs, and record the result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import cast

from msgspec.structs import replace

from rungs.run.predictions import Predictions, decode
from rungs.run.record import Difference, EvalResult
from rungs.study import statistics, variation
from rungs.study.comparison import comparable, paired
from rungs.study.comparison.candidates import Given, Group, key
from rungs.study.comparison.flips import flips
from rungs.study.comparison.needed import needed
from rungs.study.comparison.pairing import Runs, runs_on, same_set
from rungs.study.comparison.record import CompareRecord, Pair, Part, PartResult
from rungs.study.comparison.results import compared
from rungs.study.comparison.rows import fields, others
from rungs.study.comparison.words import words
from rungs.study.differences import Change, ImageVariance
from rungs.study.differences import compare as compare_seeds
from rungs.study.ladder.changes import pools
from rungs.study.matched import match, variance_over_images
from rungs.study.measures import fold_ratio
from rungs.study.same_images import place_free

PARTS: tuple[Part, ...] = ("test", "validation")


def compare(groups: Sequence[Group], command: str) -> CompareRecord:
    """Compare each candidate with the first.

    Args:
        groups: From `rungs.study.comparison.candidates.read_candidates`, two or more.
        command: The command that compares them.

    Raises:
        UserError: They were trained on different data or classes.
    """
    first, *rest = groups
    for group in groups:
        for run in group.runs:
            comparable.require_same_data(first.runs[0], run)
    part = judged_on(groups)
    candidates = compared(groups, part)
    pairs = _with_verdicts([_pair(first, second) for second in rest])
    data = first.runs[0].record.data
    return CompareRecord(
        command=command,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        source=place_free(data.source),
        classes=data.classes,
        image_size=data.image_size,
        candidates=candidates,
        fields=fields(groups),
        others=others(groups),
        pairs=tuple(pairs),
        uses_test=any(run.record.test is not None for group in groups for run in group.runs),
    )


def judged_on(groups: Sequence[Group]) -> Part:
    """Return the part that decides: the test set where every candidate has a score there, else validation."""
    scored = [group for group in groups if any(run.record.status == "finished" for run in group.runs)]
    return "test" if all(not comparable.unscored(group, "test") for group in scored or groups) else "validation"


def _pair(first: Group, second: Group) -> Pair:
    parts: list[PartResult] = []
    reasons, notes, matched = list[tuple[str, str]](), comparable.notes(first, second), dict[Part, Runs]()
    folds = any(run.record.recipe.data.folds for group in (first, second) for run in group.runs)
    for part in PARTS[:1] if folds else PARTS:  # the validation images of one fold train another
        runs, reason = runs_on(first, second, part)
        if runs is None:
            reasons.append((part, reason))
            continue
        if not runs.pairs:
            reasons.append((f"image by image on {part}", runs.why_none))
            if part == "validation":
                continue
        matched[part] = runs
        notes += runs.notes
        parts.append(compare_part(runs, first.runs[0].record.data.classes))
    judge = parts[0].part if parts else None
    return Pair(
        first=first.name,
        second=second.name,
        same_recipe=key(first.recipe) == key(second.recipe),
        verdict="not comparable",
        words="",
        more=(),
        judged_on=judge,
        parts=tuple(parts),
        not_comparable=_sentences(reasons),
        notes=tuple(dict.fromkeys(notes)),
        flips=flips(judge, matched[judge].pairs[0]) if judge and matched[judge].pairs else None,
    )


def _sentences(reasons: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return what cannot be compared, and why; parts with the same reason together."""
    parts: dict[str, list[str]] = {}
    for part, reason in reasons:
        parts.setdefault(reason, []).append(part)
    joined = [(" and ".join(those), reason) for reason, those in parts.items()]
    return tuple(f"{those[0].upper()}{those[1:]}: {reason}." for those, reason in joined)


def compare_part(runs: Runs, classes: Sequence[str]) -> PartResult:
    """Compare two candidates on a part: image by image where they saw the same images, else as independent samples."""
    return _matched(runs, classes) if runs.pairs else _samples(runs)


def _matched(runs: Runs, classes: Sequence[str]) -> PartResult:
    part, pairs = runs.part, runs.pairs
    shared = same_set(pairs, part)
    matched = match([(_predictions(one, part), _predictions(two, part)) for one, two in pairs], same_set=shared)
    change, sampling = matched.change, variance_over_images(matched, same_set=shared)
    guessed = runs.guessed
    by_pair = (*matched.by_pair, *(two - one for one, two in guessed))
    first, second = (
        fmean((*(_score(run, part).accuracy for run in side), *(pair[i] for pair in guessed)))
        for i, side in enumerate(zip(*pairs, strict=True))
    )
    difference = fmean(by_pair)
    seeds, table = _seeds(runs, by_pair, (first, second), sampling), paired.table(matched)
    exact_p = 0.0 if guessed else sampling.exact_p  # that test knows nothing of runs that guess
    judged = variation.judge(difference, sampling.se, sampling.count, seeds, exact_p)
    return PartResult(
        part=part,
        images=len(change) if _folds(runs) else _score(pairs[0][0], part).n,
        pairs=len(pairs),
        seeds=tuple(one.seed for one, _ in pairs),
        folds=_folds(runs),
        first=first,
        second=second,
        difference=difference,
        images_interval=paired.bootstrap(change),
        interval=judged.interval,
        images_se=sampling.se,
        seeds_se=seeds.se,
        seed_sd=seeds.sd,
        seed_df=seeds.df,
        seed_from="ladder" if seeds.pooled_df else "",
        p=judged.p,
        p_holm=judged.p,
        first_loss=float(matched.first_loss.mean()),
        second_loss=float(matched.second_loss.mean()),
        loss_difference=float(matched.loss_change.mean()),
        loss_interval=paired.bootstrap(matched.loss_change),
        table=table,
        classes=paired.class_changes(matched, classes),
        by_seed=_by_seed(pairs, part),
        diverged=runs.diverged,
        needed=needed(difference, float((change**2).mean()), sampling.se, seeds, sets=1 if shared else len(pairs)),
    )


def _seeds(
    runs: Runs, differences: Sequence[float], means: tuple[float, float], sampling: ImageVariance
) -> variation.Seeds:
    """Return the variation over seeds: of the pairs, or for a single pair of all runs of each candidate."""
    metric = f"{runs.part}_accuracy"
    shared = _pool(runs, metric)
    if len(differences) == 1 and shared is None:
        sides = (runs.first, runs.second)
        return variation.seeds_apart([[_score(run, runs.part).accuracy for run in side] for side in sides])
    spread, ratio = sampling.pair_variance, _ratio(runs.pairs) if _folds(runs) else 0.0
    return variation.seeds_of_pairs(differences, means, metric, pool=shared, image_variance=spread, ratio=ratio)


def _folds(runs: Runs) -> int:
    """Return the number of folds whose images the pairs of runs were tested on; 0 for any other runs, or validation."""
    return (runs.pairs[0][0].record.recipe.data.folds or 0) if runs.part == "test" and runs.pairs else 0


def _ratio(pairs: Sequence[tuple[Given, Given]]) -> float:
    """Return n_test / n_train, the mean over folds, of the candidate with fewer training images; 0 without folds."""
    return max(fmean(fold_ratio(run.record) for run in side) for side in zip(*pairs, strict=True))


def _pool(runs: Runs, metric: str) -> variation.Pool | None:
    """Return what the rungs of a climb share, where both candidates are rungs of the same one; as `climb` uses it."""
    climbs = {run.climb.path.resolve() if run.climb else None for run in (*runs.first, *runs.second)}
    climbed = runs.first[0].climb
    if len(climbs) > 1 or climbed is None:
        return None
    return pools(climbed.read_record().rungs, metrics=(metric,))[metric]


def _samples(runs: Runs) -> PartResult:
    """Compare two candidates that were scored on different images, which is less precise."""
    scores = [[_score(run, runs.part) for run in side] for side in (runs.first, runs.second)]
    groups = [[*(one.accuracy for one in side), *own] for side, own in zip(scores, runs.guesses, strict=True)]
    first, second = (fmean(group) for group in groups)
    per_image = [fmean(side) * (1 - fmean(side)) for side in groups]
    n = min(side[0].n for side in scores)
    images_se = math.sqrt(sum(v / side[0].n for v, side in zip(per_image, scores, strict=True)))
    seeds = variation.seeds_apart(groups)
    judged = variation.judge(second - first, images_se, n, seeds)
    losses = [fmean(result.loss for result in side) for side in scores]
    half = paired.Z_LEVEL * images_se
    return PartResult(
        part=runs.part,
        images=n,
        pairs=0,
        seeds=(),
        first=first,
        second=second,
        difference=second - first,
        images_interval=(second - first - half, second - first + half),
        interval=judged.interval,
        images_se=images_se,
        seeds_se=seeds.se,
        seed_sd=seeds.sd,
        seed_df=seeds.df,
        p=judged.p,
        p_holm=judged.p,
        first_loss=losses[0],
        second_loss=losses[1],
        loss_difference=losses[1] - losses[0],
        loss_interval=None,
        table=None,
        diverged=runs.diverged,
        needed=needed(second - first, sum(per_image), images_se, seeds),
    )


def _score(run: Given, part: Part) -> EvalResult:
    return cast(EvalResult, run.on(part))


def _predictions(run: Given, part: Part) -> Predictions:
    kept = _score(run, part).per_image
    assert kept is not None  # ensured by `comparable.images`
    return decode(kept, run.folder.record)


def _by_seed(pairs: Sequence[tuple[Given, Given]], part: Part) -> Difference | None:
    """Return the paired t test over seeds, where two or more pairs have a seed in common."""
    common = [(a, b) for a, b in pairs if a.seed == b.seed]
    if len({one.seed for one, _ in common}) < 2:
        return None
    first, second = (_by(side, part) for side in zip(*common, strict=True))
    folds, ratio = common[0][0].record.recipe.data.folds or 0, _ratio(common)
    change = Change("second", "first", f"{part}_accuracy", second, first, folds=folds, ratio=ratio)
    return compare_seeds([change])["second"]


def _by(runs: Sequence[Given], part: Part) -> Mapping[int, float]:
    """Return the accuracy by seed, the mean where a seed has been trained on several cuts of the data."""
    scores: dict[int, list[float]] = {}
    for run in runs:
        scores.setdefault(run.seed, []).append(_score(run, part).accuracy)
    return {seed: fmean(of_seed) for seed, of_seed in scores.items()}


def _with_verdicts(pairs: Sequence[Pair]) -> list[Pair]:
    """Correct the p of all pairs for their number (Holm), and add the verdicts."""
    corrected = {
        part: statistics.holm([next((one.p for one in pair.parts if one.part == part), None) for pair in pairs])
        for part in PARTS
    }
    judged = []
    for i, pair in enumerate(pairs):
        parts = tuple(replace(one, p_holm=corrected[one.part][i]) for one in pair.parts)
        pair = replace(pair, parts=parts)
        outcome, sentence, more = words(pair)
        judged.append(replace(pair, verdict=outcome, words=sentence, more=more))
    return judged
