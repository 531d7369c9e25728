"""Search a space: `rungs.tune`."""

from __future__ import annotations

from pathlib import Path

from rungs.data import require_known
from rungs.errors import UserError
from rungs.recipe import shorten
from rungs.recipe import toml as recipes
from rungs.recipe.flags import door, echo
from rungs.recipe.spec import Recipe
from rungs.run.looks import without_password
from rungs.study.processes import require_startable
from rungs.study.search import space as search_space
from rungs.study.search import study as search_study
from rungs.study.search.conclude import conclude
from rungs.study.search.options import MOST_TRIALS, SearchOptions
from rungs.study.search.record import SearchDir, SearchRecord
from rungs.study.search.storage import optuna
from rungs.study.search.study import Search, Work
from rungs.study.search.trial import closed
from rungs.study.search.values import check, grid
from rungs.study.search.workers import search
from rungs.training.dataset import load_dataset
from rungs.training.interrupt import Interrupts

TRIALS = 30
"""Default for all samplers but the grid."""


def prepare(options: SearchOptions) -> Search:
    """Plan a search from a recipe and a space; nothing is written.

    Raises:
        UserError: No such recipe or space, a field that the recipe does not have, a value that is invalid for it.
    """
    usual = options.recipe if isinstance(options.recipe, Recipe) else recipes.load(options.recipe)
    chosen = recipes.choose(usual, options.overrides, data=options.data)
    require_known(chosen.data.source)
    if chosen.data.folds is not None:
        do = "leave data.folds out; then cross-validate the winner: rungs train … --folds 5"
        raise UserError("a search is judged on validation, not by folds", where="data.folds", do=do)
    space = options.space if isinstance(options.space, search_space.Space) else search_space.load(options.space)
    search_space.require_sane(space, f"space {space.name}")
    recipe = closed(shorten.reduced(chosen, options.epochs, options.images))
    check(space, recipe, options.metric)
    goal = search_study.goal_of(recipe, space, options)
    name = f"{recipe.name}-{space.name}-{goal.digest}".replace(" ", "-")
    folder = SearchDir(options.folder or Path("searches") / name)
    work = Work(
        name=name,
        address=options.storage or str(folder.journal),
        recipe=recipe,
        space=space,
        metric="validation_loss" if options.metric == "validation_loss" else "validation_accuracy",
        trials=_trials(space, options),
        sampler=options.sampler,
        pruner=options.pruner,
        sampler_seed=options.sampler_seed,
        folder=folder.path,
        skip_unreadable=options.skip_unreadable,
    )
    epochs, images = options.epochs, options.images
    return Search(
        options=options,
        work=work,
        goal=goal,
        folder=folder,
        command=without_password(echo("tune", options)),
        reduced=shorten.reductions(usual, chosen, options.overrides, epochs=epochs, images=images),
        score_test=chosen.evaluation.score_test,
    )


def _trials(space: search_space.Space, options: SearchOptions) -> int:
    """Return the number of trials of a search: for a grid, all its points."""
    asked = options.trials
    if options.sampler != "grid":
        return asked or TRIALS
    points = len(grid(space))
    if points > MOST_TRIALS or (asked is not None and asked < points):
        what = f"the grid of {space.name} has {points} points"
        do = f"give --trials {points} or leave --trials out" if points <= MOST_TRIALS else "use --sampler tpe or random"
        raise UserError(what, where="--trials", do=f"{do}; or reduce points, choices or steps in the space")
    return points


def run(plan: Search) -> SearchRecord:
    """Search, re-run the best trials on fresh seeds, name a winner, score it on the test set; return the record.

    Raises:
        UserError: No Optuna, no validation images, a storage that cannot be opened, no successful trial.
        rungs.training.interrupt.Interrupted: SIGINT or SIGTERM; progress is kept, and the same call resumes.
    """
    require_startable("tune")
    optuna()
    resolved, dataset = load_dataset(plan.work.recipe, plan.work.skip_unreadable)
    if dataset.record.counts.get("validation") is None:
        do = "give the recipe a validation set: --set data.validation=0.1"
        raise UserError("a search needs validation images", where=plan.work.recipe.name, do=do)
    plan.folder.prepare()
    with Interrupts().handled():
        try:
            study = search_study.create_or_load(plan.work, plan.goal, dataset.record.hash)
        except UserError:
            plan.folder.remove_empty()
            raise
        search(plan.work, study, plan.workers, plan.options.tell)
        return conclude(plan, study, resolved, dataset)


tune = door("tune", SearchOptions, prepare, run)
