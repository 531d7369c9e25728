"""Ladders: TOML parsed into frozen structs, and from these the recipe of every cell.

A ladder is a base recipe and its rungs, each a named change, times seeds. It is data: no conditions, no expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from rungs.errors import UserError, did_you_mean
from rungs.recipe import identity, presets
from rungs.recipe import toml as recipes
from rungs.recipe.base import Count, Name, Spec
from rungs.recipe.explain import explain
from rungs.recipe.roles import has_role
from rungs.recipe.shorten import stretched, thinned
from rungs.recipe.spec import Claim, Recipe

RungName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=40)]


WITHOUT_VALIDATION = ("cifar10", "cifar100", "digits")
"""Sources without a validation set of their own: it is split off, or there is none."""


class Rung(Spec, kw_only=True, frozen=True):
    """A named change.

    `set` holds assignments as for `--set`, applied on top of those of the rung that this one builds on: `on`, by
    default according to the ladder's `builds_on`. `seeds`: how many, where not the ladder's number.
    """

    name: RungName
    about: str  # what changed, and why
    set: tuple[str, ...] = ()
    on: str | None = None
    seeds: Count | None = None
    claims: tuple[Claim, ...] = ()
    assumptions: tuple[str, ...] = ()


class Ladder(Spec, kw_only=True, frozen=True):
    """A base recipe and its rungs. The first rung measures the base.

    `builds_on`: whether each further rung builds on the "previous" one (cumulative changes) or on the "base", the
    first (one change at a time, a sweep). `seeds`: how many, counted from 0. `margin`: a difference is called none
    where its whole interval lies within so much accuracy of zero.
    """

    name: Name
    about: str
    headline: str = ""  # what it claims, in a few words
    source: str = ""
    base: str  # a shipped recipe, or a path relative to the ladder's file
    builds_on: Literal["previous", "base"]
    seeds: Count = 3
    margin: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    rungs: Annotated[tuple[Rung, ...], Meta(min_length=1)]


@dataclass(frozen=True)
class Cell:
    """One rung with one seed, or one fold: an ordinary recipe."""

    rung: str
    seed: int  # or the fold, counted from 0: what is paired
    recipe: Recipe

    @property
    def folder(self) -> str:
        """Name of its run folder: it changes with everything that changes the result."""
        return f"{self.rung}-{self.unit}{self.seed}-{identity.digest(self.recipe)[:8]}"

    @property
    def of(self) -> str:
        """ "seed 0" or "fold 1": folds are counted from 1 for people."""
        return f"{self.unit} {self.seed + (self.unit == 'fold')}"

    @property
    def unit(self) -> str:
        """ "seed" or "fold"."""
        return "seed" if self.recipe.data.fold is None else "fold"


def shipped() -> dict[str, Path]:
    """Return the ladders that come with the package, name -> file."""
    return presets.shipped("rungs.study.ladder")


def load(name: str | Path) -> tuple[Ladder, Recipe]:
    """Read a shipped ladder by its name, or any by its path; return it with its base recipe.

    Raises:
        UserError: No such ladder, bad TOML, a wrong field or value, two rungs with the same name, a change that does
            not fit the recipe.
    """
    if str(name) in recipes.shipped() and str(name) not in shipped():
        raise UserError(f"{name} is a recipe, not a ladder", do=f"rungs train {name}; for ladders: rungs list ladders")
    path = presets.find(name, shipped(), "ladder")
    ladder = parse(presets.read_text(path, "ladder"), str(path))
    base = _base(ladder, path)
    cells(ladder, base, seeds=1)  # so that a wrong override is found before anything runs
    return ladder, base


def _base(ladder: Ladder, path: Path) -> Recipe:
    """Load the base recipe of a ladder: a file relative to the ladder's, or a shipped recipe."""
    local = path.parent / ladder.base
    try:
        return recipes.load(local if local.is_file() else ladder.base)
    except UserError as error:
        raise UserError(error.what, where=error.where or f"{path}, base", do=error.do) from error


def parse(text: str, where: str) -> Ladder:
    """Turn TOML text into a `Ladder`; `where` names it in errors."""
    table = presets.parse_table(text, where)
    try:
        ladder = msgspec.convert(table, Ladder)
    except msgspec.ValidationError as error:
        _explain(error, table, where)
    names: list[str] = []
    for position, rung in enumerate(ladder.rungs):
        recipes.require_sane(rung.claims, f"{where}, rung {rung.name}")
        if not names and any(claim.change for claim in rung.claims):
            what, do = "the first rung builds on none, so it cannot claim a change", "claim its value"
            raise UserError(what, where=f"{where}, rung {rung.name}, claims", do=do)
        if rung.name in names:
            do = "give each rung a unique name"
            raise UserError(f"two rungs are called {rung.name!r}", where=f"{where}, rungs.{position}.name", do=do)
        if rung.on is not None and rung.on not in names:
            what = f"no rung {rung.on!r} before {rung.name!r}"
            do = did_you_mean(rung.on, names) if names else "leave it out: the first rung builds on the base recipe"
            raise UserError(what, where=f"{where}, rungs.{position}.on", do=do)
        names.append(rung.name)
    return ladder


def _explain(error: msgspec.ValidationError, table: dict[str, Any], where: str) -> NoReturn:
    """Raise the UserError for a bad field of a ladder, with rungs named instead of numbered."""
    try:
        explain(str(error), table, where, Ladder)
    except UserError as plain:
        place = plain.where or ""
        if found := re.search(r"rungs\.(\d+)\.", place):
            name = table["rungs"][int(found[1])].get("name") or f"number {int(found[1]) + 1}"
            place = place.replace(found[0], f"rung {name}, ")
        raise UserError(plain.what, where=place, do=plain.do) from error


def parent(ladder: Ladder, rung: Rung) -> str | None:
    """Return the name of the rung that a rung builds on and is compared with; None for the first."""
    if rung.on is not None:
        return rung.on
    position = ladder.rungs.index(rung)
    if position == 0:
        return None
    return ladder.rungs[position - 1 if ladder.builds_on == "previous" else 0].name


def assignments(ladder: Ladder, rung: Rung) -> tuple[str, ...]:
    """Return all assignments from the base recipe to the rung's, in order."""
    below = parent(ladder, rung)
    if below is None:
        return rung.set
    return (*assignments(ladder, next(other for other in ladder.rungs if other.name == below)), *rung.set)


def _assumptions(ladder: Ladder, rung: Rung) -> tuple[str, ...]:
    """Return what the rung and those that it builds on assume."""
    below = parent(ladder, rung)
    if below is None:
        return rung.assumptions
    return (*_assumptions(ladder, next(other for other in ladder.rungs if other.name == below)), *rung.assumptions)


def cells(
    ladder: Ladder,
    base: Recipe,
    *,
    seeds: int | None = None,
    only: Sequence[str] = (),
    epochs: int | None = None,
    images: float | None = None,
) -> list[Cell]:
    """Return every cell, seed by seed, so that an interrupted climb covers all rungs.

    If the base recipe has folds, there is a cell for each fold instead, all with the base recipe's seed.

    Args:
        ladder: The ladder.
        base: Its base recipe, perhaps with fields changed.
        seeds: How many for every rung, instead of the ladder's and the rungs' own.
        only: Names of rungs; empty for all.
        epochs: Of the base recipe; every rung and its schedule are scaled in proportion.
        images: Share of each rung's training images to use, above 0 and at most 1.

    Raises:
        UserError: An unknown rung, or changes that do not fit the recipe or touch what the ladder sets.
    """
    names = [rung.name for rung in ladder.rungs]
    for name in only:
        if name not in names:
            raise UserError(f"no rung {name!r} in {ladder.name}", where="--only", do=did_you_mean(name, names))
    chosen = [rung for rung in ladder.rungs if not only or rung.name in only]
    _require_validation(ladder, base)
    factor = 1.0 if epochs is None else epochs / base.training.epochs
    made = {rung.name: thinned(stretched(_recipe(ladder, rung, base), factor), images) for rung in chosen}
    folds = base.data.folds
    planned = seeds_of(ladder, seeds, folds)
    return [
        Cell(rung.name, seed, _with(made[rung.name], seed, folds))
        for seed in range(max(planned.values()))
        for rung in chosen
        if seed < planned[rung.name]
    ]


def _with(recipe: Recipe, seed: int, folds: int | None) -> Recipe:
    """Return the recipe of a cell."""
    return replace(recipe, seed=seed) if folds is None else replace(recipe, data=replace(recipe.data, fold=seed))


def seeds_of(ladder: Ladder, seeds: int | None = None, folds: int | None = None) -> dict[str, int]:
    """Return how many seeds each rung is to have: `seeds`, else the rung's own number, else the ladder's.

    With folds all of them, or the first `seeds`.
    """
    if folds is not None:
        return {rung.name: min(folds, seeds or folds) for rung in ladder.rungs}
    return {rung.name: seeds or rung.seeds or ladder.seeds for rung in ladder.rungs}


def _recipe(ladder: Ladder, rung: Rung, base: Recipe) -> Recipe:
    for one in rung.set:
        require_not_reserved(one, f"ladder {ladder.name}, rung {rung.name}, {one}")
    try:
        made = recipes.parse(recipes.to_toml(base), ladder.base, assignments(ladder, rung))
    except UserError as error:
        where = f"ladder {ladder.name}, rung {rung.name}, {error.where}"
        raise UserError(error.what, where=where, do=error.do) from error
    if made.data.folds != base.data.folds:
        where = f"ladder {ladder.name}, rung {rung.name}, data.folds"
        raise UserError("rungs with other folds cannot be compared", where=where, do="set it in the base recipe")
    if any(claim.metric == "highest_test_accuracy" for claim in rung.claims) and not made.evaluation.watch_test:
        where = f"ladder {ladder.name}, rung {rung.name}, claims"
        do = 'add "evaluation.watch_test=true" to the rung\'s set'
        raise UserError("highest_test_accuracy needs a test score after every epoch", where=where, do=do)
    return replace(
        made,
        name=f"{ladder.name}-{rung.name}",
        about=rung.about,
        source=ladder.source,
        assumptions=(*base.assumptions, *_assumptions(ladder, rung)),
        claims=rung.claims,
    )


def _require_validation(ladder: Ladder, base: Recipe) -> None:
    """Refuse rungs that only the test set could compare: choosing among them would be selecting on it.

    A folder or a table may have a validation set of its own, which is known only once it is loaded; without one
    `rungs.study.ladder.summary` compares nothing.
    """
    for rung in ladder.rungs if len(ladder.rungs) > 1 else ():
        data = _recipe(ladder, rung, base).data
        if data.validation == 0 and data.folds is None and data.source.partition(":")[0] in WITHOUT_VALIDATION:
            what = "no validation set to compare this rung by, and the test set must not choose"
            where = f"ladder {ladder.name}, rung {rung.name}, data.validation"
            raise UserError(what, where=where, do="set data.validation=0.1")


def require_not_reserved(assignment: str, where: str) -> None:
    """Refuse an assignment to a field that the ladder sets for each cell and would overwrite."""
    if assignment.partition("=")[0].strip() == "data.fold":
        raise UserError(
            "'data.fold' is set by the ladder for each cell", where=where, do="set data.folds, for all rungs"
        )
    field = assignment.partition("=")[0].strip().partition(".")[0]
    if has_role(field, "seed", "about"):
        do = "use --seeds: seeds are counted from 0" if field == "seed" else f"set the rung's {field}"
        raise UserError(f"{field!r} is set by the ladder for each cell", where=where, do=do)
