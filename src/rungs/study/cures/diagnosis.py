"""The findings of a run, and which of their cures can be tried."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rungs.diagnose import examine
from rungs.errors import UserError, did_you_mean
from rungs.recipe.roles import has_role
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.looks import Look
from rungs.run.record import Finding, RunRecord
from rungs.study import folders
from rungs.study.bench.record import BenchDir
from rungs.study.ladder.record import LadderDir
from rungs.study.search.record import SearchDir

NOT_TRIED = {
    "calibration": "it corrects probabilities, which accuracy does not measure",
    "small-validation": "it changes the evaluation, not the net",
    "too-few-to-tell": "it changes the evaluation, not the net",
    "no-validation": "it changes the evaluation, not the net",
    "test-selection": "it is about how the net is evaluated",
    "augmented-test": "it is about how the net is evaluated; its cost is already measured",
    "interrupted": "the run is not finished: resume it first",
}


@dataclass(frozen=True)
class Diagnosis:
    """A run with its looks and findings."""

    record: RunRecord
    looks: tuple[Look, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Cures:
    """The cures of a run: those that can be tried, by rule, and why the others cannot."""

    to_try: dict[str, tuple[str, ...]]  # rule -> assignments
    left: dict[str, str]  # rule -> why not


def diagnose(run: str | Path) -> Diagnosis:
    """Read a run's record and its log of looks, and apply every rule.

    Raises:
        UserError: This is not the folder of a run that has ended.
    """
    place = folders.identify(run)
    if place is not None and not isinstance(place, RunDir):
        raise folders.not_a_run(place, _instead(place))
    folder = RunDir(run)
    record, seen = folder.read_record(), looks.read(folder.looks)
    return Diagnosis(record, seen, examine(record, seen))


def _instead(place: folders.AnyDir) -> str:
    """Return what to do where a study was given instead of a run."""
    if isinstance(place, LadderDir):
        cell = next(place.path.glob("*/run.json"), place.path / "CELL" / "run.json").parent
        return f"give one of its cells: rungs diagnose {cell}"
    if isinstance(place, SearchDir):
        one = next(place.path.glob("*/*/run.json"), place.path / "finals" / "RUN" / "run.json").parent
        return f"give one of its runs: rungs diagnose {one}"
    if isinstance(place, BenchDir):
        return f"its advice is in its report: rungs report {place.path}"
    return f"give the folder of a run; this one's results are in its report: rungs report {place.path}"


def cures(found: Diagnosis, only: Sequence[str] = ()) -> Cures:
    """Decide which cures can be tried; cures that two findings share are tried once.

    Args:
        found: The diagnosis of the run.
        only: Rules whose cures are wanted; all by default. A cure has the name of the first finding that offers it,
            wanted or not, so that its rung does not depend on `only`.

    Raises:
        UserError: A rule of `only` that found nothing.
    """
    names = [finding.rule for finding in found.findings]
    for rule in only:
        if rule not in names:
            raise UserError(f"no finding {rule!r} in this run", where="--only", do=did_you_mean(rule, names))
    to_try: dict[str, tuple[str, ...]] = {}
    left: dict[str, str] = {}
    same: dict[str, str] = {}  # rule -> the first rule with its cure
    for finding in found.findings:
        if finding.cure is None:
            continue
        words = shlex.split(finding.cure)
        assignments = tuple(words[1::2]) if set(words[::2]) == {"--set"} else ()
        if why := _why_not(finding.rule, finding.cure, assignments, found.record):
            left[finding.rule] = why
        elif assignments in to_try.values():
            same[finding.rule] = next(rule for rule, one in to_try.items() if one == assignments)
            left[finding.rule] = f"same fix as {same[finding.rule]}"
        else:
            to_try[finding.rule] = assignments
    if only:
        rungs = {same.get(rule, rule) for rule in only}
        to_try = {rule: one for rule, one in to_try.items() if rule in rungs}
        left = {rule: why for rule, why in left.items() if rule in only}
    return Cures(to_try, left)


def _why_not(rule: str, cure: str, assignments: tuple[str, ...], record: RunRecord) -> str:
    """Return why a cure is not tried; "" where it can be."""
    if why := NOT_TRIED.get(rule):
        return why
    if not assignments:
        return f"it does not change the recipe: {cure}"
    if any(has_role(one.partition("=")[0].strip(), "judge") for one in assignments):
        return "it changes the evaluation, not the net"
    if not sum(record.data.counts.get("validation", ())):
        return "no validation images to compare by, and the test set stays closed"
    return ""
