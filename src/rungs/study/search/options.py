"""The options of a search, and the plan that they make."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rungs.data import require_known
from rungs.errors import UserError, require_between, require_one_of, require_share
from rungs.recipe import shorten
from rungs.recipe import toml as recipes
from rungs.recipe.spec import Recipe
from rungs.run.looks import without_password
from rungs.study.search import space as spaces
from rungs.study.search import study as asking
from rungs.study.search.record import SearchDir
from rungs.study.search.trial import closed
from rungs.study.search.values import check, grid

TRIALS, TOP, SEEDS = 30, 3, 3
"""By default: trials of a search, the best of them that are re-run, and fresh seeds for each."""
MOST_TRIALS, MOST_EPOCHS, MOST_TOP, MOST_SEEDS = 10_000, 1_000_000, 50, 100
METRICS = ("validation_accuracy", "validation_loss")


def prepare(
    recipe: str | Path | Recipe,
    space: str | Path | spaces.Space,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    trials: int | None = None,
    sampler: str = "tpe",
    pruner: str = "median",
    metric: str = "validation_accuracy",
    epochs: int | None = None,
    images: float | None = None,
    storage: str | None = None,
    top: int = TOP,
    seeds: int = SEEDS,
    sampler_seed: int = 0,
    folder: str | Path | None = None,
    skip_unreadable: bool = False,
) -> asking.Search:
    """Read a recipe and a space and decide what is searched and where; nothing is written. Arguments as of `tune`.

    Raises:
        UserError: No such recipe or space, a field that the recipe does not have, a value that does not fit it, a
            number out of range, a metric of the test set.
    """
    _require_metric(metric)
    require_one_of(sampler, asking.SAMPLERS, "--sampler")
    require_one_of(pruner, asking.PRUNERS, "--pruner")
    require_between(trials, 1, MOST_TRIALS, "--trials")
    require_between(epochs, 1, MOST_EPOCHS, "--epochs")
    require_between(top, 1, MOST_TOP, "--top")
    require_between(seeds, 1, MOST_SEEDS, "--seeds")
    require_share(images, "--images")
    usual = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
    chosen = recipes.choose(usual, overrides, data=data)
    require_known(chosen.data.source)
    asked = space if isinstance(space, spaces.Space) else spaces.load(space)
    spaces.require_sane(asked, f"space {asked.name}")
    made = closed(shorten.reduced(chosen, epochs, images))
    check(asked, made, metric)
    goal = asking.goal(made, asked, metric, sampler, pruner, sampler_seed)
    name = f"{made.name}-{asked.name}-{asking.digest(goal)}".replace(" ", "-")
    place = SearchDir(folder or Path("searches") / name)
    work = asking.Work(
        name=name,
        address=storage or str(place.journal),
        recipe=made,
        space=asked,
        metric=metric,  # type: ignore[arg-type]
        trials=_trials(asked, sampler, trials),
        sampler=sampler,
        pruner=pruner,
        sampler_seed=sampler_seed,
        folder=place.path,
        skip_unreadable=skip_unreadable,
    )
    return asking.Search(
        work=work,
        goal=goal,
        folder=place,
        command=_command(
            [getattr(recipe, "name", recipe), "--space", getattr(space, "name", space)],
            overrides,
            [
                ("--data", data, None),
                ("--trials", trials, None),
                ("--sampler", sampler, "tpe"),
                ("--pruner", pruner, "median"),
                ("--metric", metric, METRICS[0]),
                ("--epochs", epochs, None),
                ("--images", images, None),
                ("--storage", storage, None),
                ("--top", top, TOP),
                ("--seeds", seeds, SEEDS),
                ("--sampler-seed", sampler_seed, 0),
                ("--out", folder, None),
            ],
            skip_unreadable=skip_unreadable,
        ),
        reduced=shorten.reductions(usual, chosen, overrides, epochs=epochs, images=images),
        top=top,
        seeds=seeds,
        score_test=chosen.evaluation.score_test,
    )


def _command(
    words: list[Any], overrides: Sequence[str], options: list[tuple[str, Any, Any]], *, skip_unreadable: bool
) -> str:
    """Return the command line that makes a search, without what is usual and without a password."""
    given = [(flag, value) for flag, value, usual in options if value not in (None, usual)]
    flags = [*(("--set", one) for one in overrides), *given]
    last = ["--skip-unreadable"] * skip_unreadable
    every = ["rungs", "tune", *words, *(w for pair in flags for w in pair), *last]
    return without_password(shlex.join(map(str, every)))


def _require_metric(metric: str) -> None:
    if metric in METRICS:
        return
    if "test" in metric:
        what = "a search never reads the test set: what is chosen by it is not tested by it"
        do = "search by validation_accuracy or validation_loss; the winner is scored on the test set, once"
        raise UserError(what, where=f"--metric {metric}", do=do)
    require_one_of(metric, METRICS, "--metric")


def _trials(space: spaces.Space, sampler: str, asked: int | None) -> int:
    """Return how many trials a search has: of a grid all its points."""
    if sampler != "grid":
        return asked or TRIALS
    points = len(grid(space))
    if points > MOST_TRIALS or (asked is not None and asked < points):
        what = f"the grid of {space.name} has {points} points"
        do = f"give --trials {points} or none" if points <= MOST_TRIALS else "--sampler tpe or random"
        raise UserError(what, where="--trials", do=f"{do}; or fewer points, choices or steps in the space")
    return points
