"""Group the runs given on the command line into candidates: recipes, each with its runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import msgspec

from rungs.errors import UserError, did_you_mean
from rungs.recipe.base import Role
from rungs.recipe.identity import flat
from rungs.recipe.roles import has_role
from rungs.recipe.spec import Recipe
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import EvalResult, RunRecord
from rungs.study.comparison.record import ComparedRun, Part
from rungs.study.folds.record import FoldsDir
from rungs.study.ladder.record import LadderDir
from rungs.study.measures import CURVES, measured

NO_OTHER_RECIPE: tuple[Role, ...] = ("about", "seed", "place", "path", "speed", "rounding", "scores")
"""Roles of the fields that do not make a different candidate: where the same data lies, how the same is computed, up to
rounding, and how it is scored."""


@dataclass(frozen=True)
class Given:
    """A run, from its folder."""

    folder: RunDir
    record: RunRecord
    rung: str = ""  # its name, where it is a cell of a climb
    climb: LadderDir | None = None
    folds: FoldsDir | None = None  # the cross-validation that it is a fold of

    @property
    def seed(self) -> int:
        """Of its recipe; of a cross-validation the fold."""
        fold = self.record.recipe.data.fold
        return self.record.recipe.seed if fold is None else fold

    def on(self, part: Part) -> EvalResult | None:
        """Return its scores on a part, if its training finished."""
        result: EvalResult | None = getattr(self.record, part)
        return result if self.record.status == "finished" else None


@dataclass(frozen=True)
class Group:
    """A candidate: runs of one recipe."""

    name: str
    runs: tuple[Given, ...]  # one per seed
    left_out: tuple[Given, ...] = ()  # repeated runs of the same seed, which do not count

    @property
    def recipe(self) -> Recipe:
        """The recipe of its first run."""
        return self.runs[0].record.recipe


def read_candidates(words: Sequence[str | Path]) -> tuple[Group, ...]:
    """Read runs and group those of one recipe, in the order given.

    Of runs with the same seed and images only the first finished one is kept: copies must not count as seeds.

    Args:
        words: Run folders, those of cross-validations, or FOLDER:RUNG for all seeds of a rung of a climb.

    Raises:
        UserError: No such run or rung, the same one twice, or fewer than two that differ.
    """
    runs = [run for word in words for run in read(word)]
    places = [run.folder.path.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise UserError("given twice", where=run.folder.path, do="give each run once")
    if len(runs) < 2:
        what = "one run alone cannot be compared" if runs else "nothing to compare"
        raise UserError(what, where="rungs compare", do="give two: rungs compare runs/a runs/b (or FOLDER:RUNG)")
    groups: list[list[Given]] = []
    for run in runs:
        mine = next((g for g in groups if _together(g[0], run)), None)
        if mine is None:
            groups.append([run])
        else:
            mine.append(run)
    if len(groups) == 1 and runs[0].folds is not None:
        do = "give two: rungs compare FOLDER_A FOLDER_B"
        raise UserError("the folds of one cross-validation are one candidate", where=runs[0].folds.path, do=do)
    apart = len(groups) == 1  # all of one recipe: each run is a candidate
    kept = [_one_per_seed(group, apart=apart) for group in groups]
    if apart:
        kept = [([run], [other for other in kept[0][1] if _same(run, other, apart=True)]) for run in kept[0][0]]
    if len(kept) < 2:
        what = f"the same run as {runs[0].folder.path}, given {looks.times(len(runs))}: same recipe, seed and code"
        do = "give runs of another seed or recipe; a copy or repetition adds nothing"
        raise UserError(what, where=runs[1].folder.path, do=do)
    names = _names([group for group, _ in kept], apart=apart)
    return tuple(Group(name, tuple(group), tuple(left)) for name, (group, left) in zip(names, kept, strict=True))


def _together(one: Given, other: Given) -> bool:
    """Return whether two runs are of one candidate: of one cross-validation, or of one recipe."""
    if one.folds is not None or other.folds is not None:
        return one.folds is not None and other.folds is not None and one.folds.path == other.folds.path
    return key(one.record.recipe) == key(other.record.recipe)


def _one_per_seed(runs: Sequence[Given], *, apart: bool) -> tuple[list[Given], list[Given]]:
    """Return one run of each seed, finished ones before others, and those left out; each in the order given."""
    kept: list[Given] = []
    for run in sorted(runs, key=lambda run: run.record.status != "finished"):  # stable
        if not any(_same(run, other, apart=apart) for other in kept):
            kept.append(run)
    is_kept = [any(run is other for other in kept) for run in runs]
    ours, left = ([run for run, k in zip(runs, is_kept, strict=True) if k == want] for want in (True, False))
    return ours, left


def _same(one: Given, other: Given, *, apart: bool) -> bool:
    """Return whether two runs of one recipe are the same: same seed and, as far as is known, same images.

    Args:
        one: A run.
        other: Another one.
        apart: Each run is its own candidate, so that code, machine and training settings distinguish runs, too.
    """
    a, b = one.record, other.record
    if (one.seed, a.data.classes) != (other.seed, b.data.classes):
        return False
    if any(a.data.hashes[part] != b.data.hashes[part] for part in a.data.hashes.keys() & b.data.hashes.keys()):
        return False
    return not apart or (a.code, a.environment.device, a.recipe.training) == (
        b.code,
        b.environment.device,
        b.recipe.training,
    )


def key(recipe: Recipe) -> object:
    """Return what two runs of one recipe have in common."""
    leaves = flat(msgspec.to_builtins(recipe))
    return msgspec.json.encode({k: v for k, v in leaves.items() if not has_role(k, *NO_OTHER_RECIPE)}, order="sorted")


# --- reading ------------------------------------------------------------------------------------------


def read(word: str | Path) -> list[Given]:
    """Return the run in a folder, or all runs of a rung or of the folds of a cross-validation.

    Raises:
        UserError: There is none.
    """
    path = Path(word)
    folder, colon, rung = str(word).rpartition(":")
    if colon and not path.is_dir() and Path(folder).is_dir():
        return _of_rung(LadderDir(folder), rung)
    if not path.is_dir():
        do = "give a run folder, or FOLDER:RUNG for a rung of a climb"
        raise UserError("no such folder" if not path.exists() else "this is a file", where=path, do=do)
    folds = FoldsDir(path)
    if folds.record.is_file():
        places = [RunDir(path / fold.folder) for fold in folds.read_record().folds]
        return [Given(place, place.read_record(), folds=folds) for place in places]
    climbed = LadderDir(path)
    if climbed.record.is_file():
        names = ", ".join(f"{path}:{rung.name}" for rung in climbed.read_record().rungs)
        raise UserError("this is a climb of several rungs", where=path, do=f"name a rung: {names}")
    run = RunDir(path)
    if not run.record.is_file():
        do = "finish it first: rungs train … --resume" if run.holds_run() else "give the folder of a run"
        raise UserError("no run.json here", where=path, do=do)
    return [Given(run, run.read_record())]


def _of_rung(climbed: LadderDir, name: str) -> list[Given]:
    """Return the runs of all seeds of a rung."""
    record = climbed.read_record()
    rungs = {rung.name: rung for rung in record.rungs}
    if name not in rungs:
        raise UserError(f"no rung {name!r} in {record.name}", where=climbed.path, do=did_you_mean(name, list(rungs)))
    runs = []
    for cell in rungs[name].cells:
        folder = RunDir(climbed.path / cell.folder)
        if folder.record.is_file():
            runs.append(Given(folder, folder.read_record(), name, climbed))
    if not runs:
        do = "climb again: the run folders inside the climb's are needed"
        raise UserError(f"no run of rung {name!r} found", where=climbed.path, do=do)
    return runs


# --- names --------------------------------------------------------------------------------------------


def _names(groups: Sequence[Sequence[Given]], *, apart: bool) -> list[str]:
    """Return a unique name for each candidate."""
    names = [_name(group, apart=apart) for group in groups]
    for i, name in enumerate(names):
        if names.count(name) > 1:
            first, place = groups[i][0], groups[i][0].folder.path
            holder = first.climb or first.folds or first.folder
            names[i] = f"{holder.path.parent.name or place.parent.name}/{name}"
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]


def _name(group: Sequence[Given], *, apart: bool) -> str:
    first = group[0]
    if first.rung and {(run.rung, run.climb) for run in group} == {(first.rung, first.climb)}:
        return f"{first.rung}, seed {first.record.recipe.seed}" if apart else first.rung
    if first.folds is not None:
        return first.folds.path.resolve().name
    names = [run.folder.path.resolve().name for run in group]
    if len(names) == 1:
        return names[0]
    common = re.sub(r"[\W_]*(seed)?[\W_]*\d*$", "", _common_start(names))
    return common if len(common) >= 2 else names[0]


def _common_start(names: Sequence[str]) -> str:
    columns = zip(*names, strict=False)
    return "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


# --- into the record ----------------------------------------------------------------------------------


def brief(run: Given) -> ComparedRun:
    """Return what a comparison keeps of a run."""
    record, log = run.record, looks.read(run.folder.looks)
    curves: dict[str, list[Any]] = {name: [getattr(row, name) for row in record.history] for name in CURVES}
    return ComparedRun(
        folder=str(run.folder.path),
        seed=run.seed,
        status=record.status,
        ending=record.ending,
        best_epoch=record.best_epoch,
        planned_epochs=record.recipe.training.epochs,
        values=measured(record),
        curves={name: tuple(float(f"{v:.5g}") for v in c) for name, c in curves.items() if c and None not in c},
        openings=looks.openings(log),
        compared=sum(look.kind == "compared" for look in log),
    )
