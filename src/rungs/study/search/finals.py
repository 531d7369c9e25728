"""The finals of a search: the best trials and the unchanged recipe, retrained on fresh seeds; then the test set, once.

The value of the best trial is optimistic: it is the highest of many noisy ones (Cawley and Talbot 2010, JMLR 11:2079).
Re-runs on fresh seeds do not share that bias, so the winner is chosen by them alone. That is a second choice, for which
`second_choice` corrects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.own import Own
from rungs.run import looks
from rungs.run.record import DataRecord, Estimate
from rungs.ship.bundle import load_weights
from rungs.ship.evaluate import evaluate
from rungs.study import statistics
from rungs.study.ladder.record import LadderRecord, RungRecord
from rungs.study.ladder.spec import Cell, Ladder, Rung
from rungs.study.ladder.summary import summarise
from rungs.study.ladder.workers import train_cells
from rungs.study.search import words
from rungs.study.search.ledger import run_of
from rungs.study.search.record import Finalist, SearchRecord
from rungs.study.search.study import Search, Work
from rungs.study.search.trial import recipe_of
from rungs.study.search.values import assignments
from rungs.study.search.words import RECIPE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Finals:
    """The outcome of the finals."""

    record: LadderRecord
    finalists: tuple[Finalist, ...]  # best first
    cells: tuple[Cell, ...]  # of the first of these, the winner


def best_distinct(work: Work, ranked: Sequence[FrozenTrial], top: int) -> list[FrozenTrial]:
    """Return the best trials, at most `top`, whose recipes differ from each other and from the unchanged recipe."""
    seen, chosen = {identity.digest(work.recipe)}, list["FrozenTrial"]()
    for trial in ranked:
        digest = identity.digest(recipe_of(work, trial))
        if digest not in seen and len(chosen) < top:
            chosen.append(trial)
            seen.add(digest)
    return chosen


def own_trial(work: Work, ranked: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial with the recipe's own values; None if no such trial finished successfully."""
    own = identity.digest(work.recipe)
    return next((trial for trial in ranked if identity.digest(recipe_of(work, trial)) == own), None)


def as_ladder(work: Work, chosen: Sequence[FrozenTrial], seeds: int) -> Ladder:
    """Return the finals as a ladder: each trial is a rung on top of the unchanged recipe."""
    rungs = [Rung(name=RECIPE, about="The unchanged recipe, without any value from the search.")]
    for trial in chosen:
        changes = assignments(work.space, trial.params)
        about = f"The values of trial {trial.number}."
        rungs.append(Rung(name=f"trial-{trial.number}", about=about, set=changes))
    return Ladder(
        name=f"{work.name}-finals",
        about="The best trials of a search and the unchanged recipe, on seeds that the search did not use.",
        base=work.recipe.name,
        builds_on="base",
        seeds=seeds,
        rungs=tuple(rungs),
    )


def cells(work: Work, ladder: Ladder) -> list[Cell]:
    """Return every finalist with every fresh seed: the seeds after the search's."""
    made = []
    for seed in range(work.recipe.seed + 1, work.recipe.seed + 1 + ladder.seeds):
        for rung in ladder.rungs:
            recipe = recipes.parse(recipes.to_toml(work.recipe), work.recipe.name, rung.set)
            made.append(Cell(rung.name, seed, replace(recipe, name=f"{work.recipe.name}-{rung.name}", seed=seed)))
    return made


def run(plan: Search, chosen: Sequence[FrozenTrial], own: FrozenTrial | None) -> Finals:
    """Train the finalists on fresh seeds, skipping those already trained, and choose the winner by their means.

    Args:
        plan: The search.
        chosen: The best trials.
        own: The trial with the recipe's own values.

    Raises:
        UserError: No finalist finished all its re-runs.
        Interrupted: A signal; what is trained is kept.
    """
    work, options, folder = plan.work, plan.options, plan.folder.finals
    ladder = as_ladder(work, chosen, options.seeds)
    every = cells(work, ladder)
    outcomes = train_cells(
        every,
        folder,
        jobs=plan.workers,
        skip_unreadable=work.skip_unreadable,
        tell=options.tell_final,
    )
    record = summarise(ladder, outcomes, command=plan.command, reduced=plan.reduced, once=True)
    finalists = rank(work, record, chosen, options.seeds, own)
    if not finalists:
        endings = sorted(
            {f"{o.cell.rung}, seed {o.cell.seed}: {o.ending}" for o in outcomes if not _is_whole(o.record)}
        )
        what = "no finalist finished with all its seeds" + "".join(f"\n  {line}" for line in endings[:5])
        raise UserError(what, where=folder, do="fix the errors above and run the same command again")
    winners = tuple(cell for cell in every if cell.rung == finalists[0].name)
    return Finals(record, finalists, winners)


def _is_whole(record: object) -> bool:
    return getattr(record, "status", None) == "finished"


def rank(
    work: Work, record: LadderRecord, chosen: Sequence[FrozenTrial], seeds: int, own: FrozenTrial | None = None
) -> tuple[Finalist, ...]:
    """Return the finalists whose re-runs all finished, best first; the unchanged recipe wins ties."""
    by_name = {f"trial-{trial.number}": trial for trial in chosen}
    found = []
    for rung in record.rungs:
        rerun = rung.estimates.get(work.metric)
        if rerun is None or rerun.n < seeds:
            continue
        trial = by_name.get(rung.name)
        tried = own if rung.name == RECIPE else trial
        run_ = None if tried is None else run_of(tried)
        searched = None if run_ is None else run_.value
        optimism = None if searched is None else _optimism(work, rung, searched)
        number = None if trial is None else trial.number
        found.append(
            Finalist(
                name=rung.name, trial=number, overrides=rung.changes, searched=searched, rerun=rerun, optimism=optimism
            )
        )
    sign = -1 if work.maximise else 1
    return tuple(sorted(found, key=lambda finalist: sign * finalist.rerun.mean))  # a sort keeps the order of equals


def _optimism(work: Work, rung: RungRecord, searched: float) -> Estimate:
    """Return how optimistic a trial's search value was, over its re-runs; positive is optimistic, for losses too."""
    sign = 1 if work.maximise else -1
    return statistics.estimate([sign * (searched - value) for value in words.values(rung, work.metric).values()])


def score_once(
    plan: Search, finals: Finals, data: DataRecord, before: SearchRecord | None
) -> tuple[Estimate | None, tuple[float, ...]]:
    """Score the winner's re-runs on the test set, noted in the log first; skip it if already done.

    Args:
        plan: The search.
        finals: Its finals.
        data: Its images.
        before: The record left by an earlier run of the same command, if any.

    Returns:
        The test accuracy over the fresh seeds, and per seed; (None, ()) without a test set, or if it stays closed.
    """
    if before is not None and before.test is not None and _same_winner(before, finals):
        return before.test, before.test_accuracies
    counts = data.counts.get("test")
    if counts is None or not plan.score_test:
        return None, ()
    folder, work = plan.folder, plan.work
    runs = f"{len(finals.cells)} re-run{'s' * (len(finals.cells) != 1)}"
    purpose = f"score of {finals.finalists[0].name}, which was chosen without it; {runs}"
    looks.note(folder.looks, "scored", purpose, sum(counts), data.hashes.get("test", ""))
    results = []
    for cell in finals.cells:
        model = cell.recipe.model
        named = model.file if isinstance(model, Own) else None  # the file named in the user's recipe
        weights = load_weights(folder.finals / cell.folder, open_device(), named)
        results.append(evaluate(weights, part="test", skip_unreadable=work.skip_unreadable))
    accuracies = tuple(result.accuracy for result in results)
    return statistics.estimate(accuracies, results[0].accuracy_interval), accuracies


def _same_winner(before: SearchRecord, finals: Finals) -> bool:
    """Return whether a record has the same winner with the same re-runs."""
    if before.finals is None or before.winner is None or before.finals.seeds != finals.record.seeds:
        return False
    old = next((finalist for finalist in before.finalists if finalist.name == before.winner), None)
    new = finals.finalists[0]
    return old is not None and (old.overrides, old.rerun) == (new.overrides, new.rerun)
