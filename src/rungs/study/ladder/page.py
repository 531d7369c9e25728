"""The report of a ladder: one HTML file that needs no network, and its figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rungs.recipe import toml as recipes
from rungs.recipe.shorten import deviations
from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.page import Drawing, compact, lay_out
from rungs.report.run_tables import FOLDS_CITED
from rungs.run.record import Estimate, Finding, LayerRow
from rungs.study.ladder import curves
from rungs.study.ladder import origins as provenance
from rungs.study.ladder import words as ladder_words
from rungs.study.ladder.interim import EARLY_LEVEL, LOOK_LEVEL, LOOKS
from rungs.study.ladder.record import CellRecord, LadderDir, LadderRecord, RungRecord
from rungs.study.statistics import LEVEL


def write(record: LadderRecord, folder: LadderDir) -> Path:
    """Write the page of a ladder from its record alone, and return its path."""
    return lay_out("rungs.study.ladder/page.html", _facts(record), _drawn(record), folder.report)


def _drawn(record: LadderRecord) -> Iterator[Drawing]:
    """Yield the figures."""
    n = fmt.many(len(record.rungs), "rung")
    alt = f"Accuracy of {n}, with intervals; the table of rungs has the numbers"
    yield Drawing("staircase", alt, curves.staircase(record))
    if not any(ladder_words.finished(rung) for rung in record.rungs):
        return
    yield Drawing("cost", f"Accuracy of {n} against compute per image and training time", curves.cost(record))
    if any(cell.curves for rung in record.rungs for cell in rung.cells):
        yield Drawing("learning-curves", f"Accuracy and losses of {n} over the epochs", curves.curves(record))
    if shown := curves.confused(record):
        alt = f"Confusion matrices of {fmt.many(len(shown), 'rung')}, {len(record.data.classes)} classes"
        yield Drawing("confusions", alt, curves.confusions(record))


def _facts(record: LadderRecord) -> dict[str, Any]:
    """Return the template's variables."""
    return {
        "record": record,
        "ladder_words": ladder_words,
        "unit": ladder_words.unit(record),
        "seeds_note": ladder_words.seeds_note(record),
        "claims": ladder_words.claims(record),
        "differs": deviations(record.reduced),
        "reason": ladder_words.common_reason(record),
        "against": "the rung before" if record.builds_on == "previous" else "the first rung",
        "spread": report_metric.spread,
        "within": within,
        "curves_words": curves.curves_words(record),
        "confusions_words": curves.confusions_words(record),
        "diagnoses": _diagnoses(record),
        "unfinished": ladder_words.unfinished(record),
        "assumptions": _assumptions(record),
        "watched": [rung for rung in record.rungs if {"highest_test_accuracy", "test_accuracy"} <= set(rung.estimates)],
        "method": _method(record),
        "nets": _nets(record),
        "provenance": provenance,
        "origins": provenance.origins(record),
        "missing": provenance.missing_words(record),
        "hashes": _hashes(record),
        "cells": sum(len(rung.cells) for rung in record.rungs),
        "toml": compact(recipes.to_toml(record.recipe)),
    }


def within(metric: str, estimate: Estimate) -> str:
    """Return the 95 % interval of an estimate, formatted."""
    return report_metric.bounds(metric, estimate.low, estimate.high)


def _diagnoses(
    record: LadderRecord,
) -> list[tuple[RungRecord, CellRecord | None, tuple[tuple[Finding, int], ...], int]]:
    """Return the interpretation and findings of each rung, with its number of warnings; rungs with any first."""
    diagnoses = []
    for rung in record.rungs:
        found = ladder_words.found(rung)
        first = next((cell for cell in rung.cells if cell.interpretation), None)
        if first or found:
            diagnoses.append((rung, first, found, sum(finding.level == "warning" for finding, _ in found)))
    return sorted(diagnoses, key=lambda one: one[3] == 0)


def _assumptions(record: LadderRecord) -> list[tuple[str, list[str]]]:
    """Return every assumption with the rungs that rest on it, in order of first use."""
    by_words: dict[str, list[str]] = {}
    for rung in record.rungs:
        for words in rung.assumptions:
            by_words.setdefault(words, []).append(rung.name)
    return list(by_words.items())


def _method(record: LadderRecord) -> list[str]:
    """Return sentences on how the numbers were obtained, as far as this record has them."""
    unit = ladder_words.unit(record)
    seeds = fmt.many(len(record.seeds), unit)
    every = all(len(ladder_words.finished(rung)) == len(record.seeds) for rung in record.rungs)
    which = "Rungs were" if provenance.missing(record) else "Every rung was"
    sentences = [f"{which} trained with {'' if every else 'up to '}{seeds}{_which(record)}."]
    if record.folds:
        sentences += _of_folds(record)
    elif len(record.seeds) > 1:
        sentences += [
            "Intervals of means are 95 % Student's t intervals over seeds; that of the best rung, in the headline, "
            "rests on the sd pooled over the ladder.",
            "Differences are paired by seed, so that shared variation cancels.",
        ]
    else:
        sentences.append("With one seed the interval of an accuracy accounts only for the number of images.")
    if any(rung.difference for rung in record.rungs):
        sentences += _of_differences(record)
    if any(answer.kind == "value" and answer.low is not None for rung in record.rungs for answer in rung.answers):
        sentences.append(
            "A claim is a run of another program, or the mean of several, so it is compared with the interval in which "
            "such a result is expected from ours; it is within the margin if that whole interval is."
        )
    if record.folds:
        sentences.append(
            "The same images choose the best rung and judge it, so its accuracy is slightly optimistic; a test set of "
            "its own would not be."
        )
    elif ladder_words.has(record, "validation_accuracy"):
        sentences.append(
            "Validation chose the epoch of each run and ranks the rungs, so it is slightly optimistic about the best."
        )
    else:
        sentences.append(
            "There is no validation set: weights are those of the last epoch, and rungs are not compared: choosing "
            "among them by the test set would be selecting on it."
        )
    if any(rung.difference and ladder_words.on_test(record, rung.difference) for rung in record.rungs):
        sentences.append("Rungs with different validation images are compared on test.")
    if ladder_words.has(record, "test_accuracy") and not record.folds:
        watched = ladder_words.has(record, "highest_test_accuracy")
        opened = [cell.test_openings for rung in record.rungs for cell in rung.cells if cell.test_openings]
        again = any(number > 1 for number in opened) and not watched
        once = "The test set was opened once per run, after its epoch was chosen"
        if again:
            once = f"The test set was opened {sum(opened)} times by {fmt.many(len(opened), 'run')}"
            once += ", more than once by some" * (len(opened) > 1)
        more = "; it was also scored after every epoch, only to show how optimistic a maximum is" if watched else ""
        sentences.append(f"{once}{more}.")
    return sentences


def _which(record: LadderRecord) -> str:
    """Return which seeds, in brackets; folds are all or the first."""
    return "" if record.folds else f" ({', '.join(map(str, record.seeds))})"


def _of_folds(record: LadderRecord) -> list[str]:
    """Return what folds are, and how their intervals are made."""
    return [
        'A rung has a net for each fold, and "test" is the fold that it left out: every image is tested once.',
        "Intervals allow for folds that share training images: the variance of a mean, and of a mean difference, is "
        f"(1/k + n_test/n_train) times that over the folds ({FOLDS_CITED}); n_train counts the images that a net was "
        "trained on, without those for validation.",
        "Differences are paired by fold.",
    ]


def _of_differences(record: LadderRecord) -> list[str]:
    """Return how differences were judged, and at how many seeds."""
    margin = report_metric.amount("validation_accuracy", record.margin)
    done = f" Judged at {fmt.listed(record.looks)} here." if record.looks else ""
    if record.folds:
        return [
            f"Differences are judged once, when all {record.folds} folds of both rungs are there: real if p is below "
            f"{LEVEL:g} after Holm's correction for all of them, none if the whole interval lies within {margin} of "
            "zero."
        ]
    if not record.looks:
        return ["Verdicts on differences are those of the version of rungs that made this record."]
    return [
        "The sd of a difference over seeds is shrunk towards what all rungs of the ladder share (4 degrees of "
        "freedom); where a ladder is too small to tell, towards that of other recipes.",
        f"A difference is real if p is below {LOOK_LEVEL:g} after Holm's correction for all differences of the look "
        f"({EARLY_LEVEL:g} with fewer than {LOOKS[0]} seeds), and none if its whole interval lies within {margin} of "
        f"zero. It may be judged at {fmt.listed(LOOKS)} seeds, and once before; a verdict once reached stays.{done}",
    ]


def _nets(record: LadderRecord) -> list[tuple[list[str], RungRecord]]:
    """Return every distinct net with the rungs that introduce it; rungs that build on them train it, too."""
    by_layers: dict[tuple[LayerRow, ...], tuple[list[str], RungRecord]] = {}
    for rung in record.rungs:
        if rung.layers:
            by_layers.setdefault(rung.layers, ([], rung))[0].append(rung.name)
    return list(by_layers.values())


def _hashes(record: LadderRecord) -> list[str]:
    """Return every hash of the data: each seed splits the images differently, so each may have its own."""
    found = dict.fromkeys(cell.data_hash for rung in record.rungs for cell in rung.cells if cell.data_hash)
    return list(dict.fromkeys([record.data.hash, *found]))
